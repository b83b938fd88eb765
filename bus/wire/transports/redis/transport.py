"""kombu's Transport for Redis: its channels, and the look at them before each wait."""

from __future__ import annotations

from queue import Empty
from typing import Any

from kombu.transport import redis

from bus.wire.transports.redis.channel import Channel

_NO_WAIT = 0.0001  # seconds


class Poller(redis.MultiChannelPoller):
    """Waits for whatever comes to a transport's channels."""

    #: Whether the lists had their turn last.
    _lists_were_first = False
    #: Whether more of one list was taken last.
    _took_more = False

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Deliver what comes first; raises ``Empty`` if nothing does within ``timeout`` seconds.

        What is left of the fan-outs and what comes otherwise have every other turn, and so have
        more messages of one list and what else there is.
        """
        for channel in self._channels:
            channel.qos.note_now()
        took = [channel.take_more() for channel in self._channels] if not self._took_more else []
        self._took_more = any(took)
        if self._took_more:
            return
        left = [channel for channel in self._channels if channel.has_more]
        if not left:
            super().get(callback, timeout=timeout)
            return
        self._lists_were_first = not self._lists_were_first
        if self._lists_were_first:
            try:
                super().get(callback, timeout=_NO_WAIT)
            except Empty:
                pass
            else:
                return
        found = [channel._receive() for channel in left]  # noqa: SLF001 - kombu's own way
        if not any(found):
            raise Empty

    def on_poll_start(self) -> None:
        """Before each wait."""
        for channel in self._channels:
            channel.check_answers()
        super().on_poll_start()


class Transport(redis.Transport):
    """Chosen by ``bus.wire.urls`` for ``redis://``."""

    Channel = Channel
    #: The channel made last, also while it is being made.
    newest: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def hurry(self) -> None:
        """From now on, wait for no answer longer than a moment."""
        for channel in self.channels:
            channel.hurry()

    def abort(self) -> None:
        """Cut all lines; whoever is in a call returns from it. Any thread."""
        for channel in {*self.channels, self.newest} - {None}:
            channel.abort()
