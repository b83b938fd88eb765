"""A message as it came: kombu's own message class, kept from opening what nobody has looked at.

kombu unpacks a compressed body while it builds the message, of whatever size, and stumbles over
headers that are no table. Peers of this protocol do neither, so nothing is unpacked here, and such
a message arrives like any other, for the dispatcher to refuse. Called by ``broker`` for each
channel it opens.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from kombu.message import Message

#: Under this name a sender of kombu's says how the body is compressed.
COMPRESSION = "compression"


class _Unopened(Message):
    """Stands between a transport's message class and kombu's, and keeps headers from the latter."""

    __slots__ = ()

    def __init__(self, body: Any = None, *, headers: Any = None, **kwargs: Any) -> None:
        super().__init__(body=body, headers={}, **kwargs)  # type: ignore[no-untyped-call]
        self.headers = headers if isinstance(headers, dict) else {}
        if headers is not None and not isinstance(headers, dict):
            error = TypeError(f"headers of type {type(headers).__name__}, a table expected")
            # Like sys.exc_info(), which is how kombu keeps its own.
            self.errors.append((TypeError, error, None))  # type: ignore[arg-type]


def keep_closed(channel: Any) -> None:
    """Have this channel, of any transport, make messages that are not opened."""
    channel.Message = _unopened(channel.Message)


@cache
def _unopened(kind: type[Message]) -> type[Message]:
    return type(kind.__name__, (kind, _Unopened), {"__slots__": ()})
