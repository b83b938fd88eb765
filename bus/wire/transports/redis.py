"""kombu's Redis transport, cured of three things; what is written to Redis is the same.

kombu makes a ``redis.Redis`` for every command it sends, six for each task, and redis-py takes
some 80 µs of CPU to make one: almost half of what a submitter spends. A channel belongs to one
thread, so it can keep the one it has. And what a closing consumer gives back keeps its order:
kombu's, pushed back oldest first onto the end that is read, came out newest first.

And what somebody pushed into a list that is no message of kombu's ends no connection: it is
delivered as a message without a kind, for the dispatcher to refuse. It has left the list already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from kombu.transport import redis
from kombu.utils.uuid import uuid
from redis.exceptions import DataError

#: What comes out of kombu's reading of a list's entry, or of what was published to a fan-out, that
#: is no JSON, or JSON of another shape.
_NONSENSE = (TypeError, ValueError, LookupError, AttributeError, RecursionError, DataError)


class QoS(redis.QoS):
    """What is delivered and not acknowledged."""

    def restore_unacked(self, client: Any = None) -> None:
        """Give it all back: the oldest last, because it is the last that is read next."""
        with self.channel.conn_or_acquire(client) as client:
            for tag in reversed(self._delivered):
                self.restore_by_tag(tag, client=client)
        self._delivered.clear()


class Channel(redis.Channel):
    """One thread only."""

    QoS = QoS
    _has_taken = False

    @cached_property
    def _commands(self) -> Any:
        """The client for everything but BRPOP and SUBSCRIBE, which have their own connections."""
        return self._create_client()

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """The client given, or this channel's own."""
        yield client or self._commands

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        client.set_response_callback("BRPOP", self._note)
        return client

    def _note(self, reply: Any, **_: Any) -> Any:
        """redis-py's own callback for it, but that it is remembered whether anything came."""
        self._has_taken = bool(reply)
        return tuple(reply) if reply else None

    def _brpop_read(self, **options: Any) -> Any:
        self._has_taken = False
        try:
            return super()._brpop_read(**options)
        except _NONSENSE as error:
            if not self._has_taken:  # then it is the connection's
                raise
            return self._deliver_nonsense(error)

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)
        except _NONSENSE as error:
            return self._deliver_nonsense(error)

    def _deliver_nonsense(self, error: Exception) -> bool:
        """In the place of what could not be read, which was never among what is held."""
        queue = next(iter(self.active_queues or self.active_fanout_queues), None)
        if queue is None:
            raise error
        delivery = {"exchange": "", "routing_key": queue}
        properties = {"delivery_tag": uuid(), "delivery_info": delivery, "priority": 0}
        message = {"body": "", "headers": {}, "properties": properties}
        self.connection._deliver(message, queue)  # noqa: SLF001 - kombu's way from one to the other
        return True


class Transport(redis.Transport):
    """Chosen by ``bus.wire.urls`` for ``redis://``."""

    Channel = Channel
