"""redis-py's connections, as a channel needs them: with an end to every wait, and to be cut.

A channel has three: for commands, for what it takes from lists, and for the fan-outs. All are made
by redis-py's pool, from the class that ``bounded`` returns.
"""

from __future__ import annotations

import weakref
from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError

from bus.wire.tls import Tls


def bounded(base: type[Any], channel: Any, tls: Tls | None) -> type[Any]:
    """redis-py's class of (plain) connections, for this channel, encrypted or not.

    Asked of it: ``is_cut`` (there are to be no connections any more), ``patience`` (seconds
    for each answer from now on, or None). Told: ``add``, each connection that is made.
    """
    return type(base.__name__, (_Line, base), {"channel": weakref.proxy(channel), "tls": tls})


def has_something(line: Any) -> bool:
    """Whether there is something to read: then we were late, and not Redis."""
    return line._sock is not None and bool(redis._socket_readable(line._sock))  # noqa: SLF001


class _Line:
    """On top of a connection: it can be cut, or hurried, and is not long about its hello."""

    channel: Any
    #: Not redis-py's own way: what that trusts, and what it verifies, differs between releases.
    tls: Tls | None
    _sock: Any
    socket_timeout: Any

    def _connect(self) -> Any:
        line = super()._connect()  # type: ignore[misc]
        if self.tls is None:
            return line
        try:
            line = self.tls.wrap(line)
            line.settimeout(getattr(self, "socket_connect_timeout", None) or self.socket_timeout)
            line.do_handshake()
            line.settimeout(self.socket_timeout)
        except BaseException:
            line.close()
            raise
        return line

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect, if it is not connected."""
        if self.channel.is_cut:  # the library connects again by itself, at once
            raise ConnectionError("the line to Redis has been cut")
        super().connect_check_health(*args, **kwargs)  # type: ignore[misc]

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Say hello."""
        self.channel.add(self)
        patience = getattr(self, "socket_connect_timeout", None) or self.socket_timeout
        self._sock.settimeout(patience)
        super().on_connect_check_health(*args, **kwargs)  # type: ignore[misc]
        self._sock.settimeout(self.socket_timeout)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to a command."""
        patience = self.channel.patience
        if patience is not None and self._sock is not None:
            # Now, not once for all: a look whether there is anything sets it back.
            self._sock.settimeout(patience)
        return super().read_response(*args, **kwargs)  # type: ignore[misc]
