"""kombu's Redis transport, cured of two things; what is written to Redis is the same.

kombu makes a ``redis.Redis`` for every command it sends, six for each task, and redis-py takes
some 80 µs of CPU to make one: almost half of what a submitter spends. A channel belongs to one
thread, so it can keep the one it has. And what a closing consumer gives back keeps its order:
kombu's, pushed back oldest first onto the end that is read, came out newest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from kombu.transport import redis


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

    @cached_property
    def _commands(self) -> Any:
        """The client for everything but BRPOP and SUBSCRIBE, which have their own connections."""
        return self._create_client()

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """The client given, or this channel's own."""
        yield client or self._commands


class Transport(redis.Transport):
    """Chosen by ``bus.wire.urls`` for ``redis://``."""

    Channel = Channel
