"""kombu's AMQP transport, cured of one thing: a message that cannot be read comes in all the same.

AMQP's short strings are UTF-8 by agreement only, and RabbitMQ passes on whatever bytes a sender put
there. py-amqp raises out of the connection when it meets others, in a property or in a routing key;
the message goes back to the front of its queue, and the next connection ends by it as well. Here
such a message loses what cannot be read, and is delivered: the dispatcher refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from
from typing import Any, Final

from amqp import spec
from amqp.method_framing import frame_handler
from kombu.transport import pyamqp

_METHOD: Final = 1  # frame types (AMQP 0-9-1, 4.2.3)
_HEADER: Final = 2
#: Class, weight and size of the body: what comes before the properties in a header frame (4.2.6.1).
_BEFORE_PROPERTIES: Final = 12
_NO_PROPERTIES: Final = b"\0\0"
#: Class and method: what comes before the arguments in a method frame (4.2.4).
_BEFORE_ARGUMENTS: Final = 4
_TAG_AND_FLAGS: Final = 9  # of basic.deliver: delivery tag and "redelivered"

_Frame = tuple[int, int, bytes]


def _tolerant(connection: Any, callback: Callable[..., Any]) -> Callable[[_Frame], Any]:
    """py-amqp's reader of frames, for frames in which there may be anything."""
    read = frame_handler(connection, callback)

    def on_frame(frame: _Frame) -> Any:
        kind, channel, payload = frame
        if kind == _METHOD and unpack_from(">HH", payload) == spec.Basic.Deliver:
            return read((kind, channel, _readable(payload)))
        if kind != _HEADER:
            return read(frame)
        try:
            return read(frame)
        except (ValueError, TypeError, ArithmeticError, LookupError, OSError, RecursionError):
            # Nothing has been read of it yet. It is what a delivery tag stands for all the same.
            bare = bytes(payload[:_BEFORE_PROPERTIES]) + _NO_PROPERTIES
            return read((kind, channel, bare))

    return on_frame


def _readable(payload: bytes) -> bytes:
    """A basic.deliver, without its routing key if that is no text."""
    end = _BEFORE_ARGUMENTS
    end += 1 + payload[end]  # the consumer tag
    end += _TAG_AND_FLAGS
    end += 1 + payload[end]  # the exchange
    try:
        bytes(payload[end + 1 :]).decode()
    except UnicodeDecodeError:
        return bytes(payload[:end]) + b"\0"
    return payload


class Connection(pyamqp.Connection):
    """One thread only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, frame_handler=_tolerant, **kwargs)


class Transport(pyamqp.Transport):
    """Chosen by ``bus.wire.urls`` for ``amqp://``."""

    Connection = Connection
