"""What a channel has taken from Redis and not acknowledged, and the notes of it over there.

A note lets another consumer give back what a killed one held. It is a help and no condition: who
cannot write one delivers all the same. Of what was taken alone from a list that only our own peers
use the note is written when its taker comes round again and has not acknowledged it
(docs/decisions/015). Called by kombu, on the channel's thread.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis, virtual
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from bus.wire import deadlines

logger = logging.getLogger("taskline.bus.wire.transports.redis.held")

#: What Redis, or the way to it, has against a command that is as it should be.
_NOT_NOW = (ConnectionError, ResponseError, TimeoutError)


class QoS(redis.QoS):
    """What is delivered and not acknowledged."""

    #: How many were delivered without a note of it in Redis.
    unnoted = 0

    #: Whether what is delivered now has its note already.
    _is_noted = False

    #: What is delivered next, if its note can wait: the list it comes from, and all of it.
    raw: tuple[str, bytes] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: What has no note yet, by delivery tag.
        self._later: dict[str, tuple[str, bytes]] = {}

    @contextmanager
    def pipe_or_acquire(self, pipe: Any = None, client: Any = None) -> Iterator[Any]:
        """The pipeline given, or one that is no transaction.

        A Redis without memory refuses every transaction, also one that only removes something.
        """
        if pipe:
            yield pipe
        else:
            with self.channel.conn_or_acquire(client) as client:
                yield client.pipeline(transaction=False)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note that this was taken; if Redis will not have it, we have the message all the same."""
        if self._is_noted:
            virtual.QoS.append(self, message, delivery_tag)
            return
        raw, self.raw = self.raw, None
        if raw is not None:
            if not isinstance(delivery_tag, str):  # what Redis would have refused
                raise TypeError(f"a delivery tag of type {type(delivery_tag).__name__}")
            virtual.QoS.append(self, message, delivery_tag)
            self._later[delivery_tag] = raw
            return
        try:
            super().append(message, delivery_tag)
        except _NOT_NOW as error:
            self.unnoted += 1
            logger.debug("delivered without a note: %s: %s", type(error).__name__, error)
            virtual.QoS.append(self, message, delivery_tag)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """What is delivered within has its note already."""
        self._is_noted = True
        try:
            yield
        finally:
            self._is_noted = False

    def ack_all(self, delivery_tags: Sequence[str]) -> None:
        """Acknowledge these, in one round trip; in none if nothing was noted."""
        noted = [tag for tag in delivery_tags if self._later.pop(tag, None) is None]
        if noted:
            self.drop_notes(noted)
        for tag in delivery_tags:
            virtual.QoS.ack(self, tag)

    def note_now(self) -> None:
        """Note what has not been acknowledged meanwhile."""
        if not self._later:
            return
        now = time.time()
        try:
            with self.pipe_or_acquire() as pipe:
                for tag, (queue, raw) in self._later.items():
                    where = f',"",{json.dumps(queue)}]'.encode()  # as ``bulk`` does
                    pipe.zadd(self.unacked_index_key, {tag: now})
                    pipe.hset(self.unacked_key, tag, b"[" + raw + where)
                pipe.execute()
        except _NOT_NOW as error:
            self.unnoted += len(self._later)
            logger.debug("held without a note: %s: %s", type(error).__name__, error)
        else:
            self._later.clear()

    def drop_notes(self, delivery_tags: Sequence[str]) -> None:
        """Nobody is to be given these any more."""
        with self.pipe_or_acquire() as pipe:
            pipe.zrem(self.unacked_index_key, *delivery_tags)
            pipe.hdel(self.unacked_key, *delivery_tags)
            pipe.execute()

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give this back; if it is nonsense that somebody took and could not drop, drop it."""
        raw = self._later.pop(tag, None)
        if raw is not None:
            self.channel.give_back(*raw)
            return
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            logger.debug("dropping a note of what is no message: %s", error)
            self.drop_notes([tag])

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Give back what a killed consumer held; later, if Redis takes nothing at present."""
        try:
            super().restore_visible(*args, **kwargs)
        except ResponseError as error:
            logger.debug("looking for what was left: %s: %s", type(error).__name__, error)

    def restore_unacked(self, client: Any = None) -> None:
        """Give it all back: the oldest last, because it is the last that is read next.

        What there is no time for comes back like what a killed consumer held.
        """
        self._flush()
        until = time.monotonic() + deadlines.CLOSING
        with self.channel.conn_or_acquire(client) as client:
            for tag in reversed(self._delivered):
                self.restore_by_tag(tag, client=client)
                if time.monotonic() > until:
                    break
        self._delivered.clear()
