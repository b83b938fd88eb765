"""A message on its way out, as AMQP frames: basic.publish, the header, the body in pieces.

py-amqp writes what any client may want to say, item by item, and asks the system once for each
message; kombu's producer stands before it. What we say is always the same few properties, and a
list of messages is written at once.

Decided here: how that is laid out (AMQP 0-9-1, 4.2.3 to 4.2.6 and ``basic.publish``). Pure; called
by the channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, Final

_FRAME: Final = Struct(">BHI")  # type, channel, size of what follows
_END: Final = b"\xce"
_METHOD: Final = 1
_HEADER: Final = 2
_BODY: Final = 3
_AROUND: Final = _FRAME.size + len(_END)

_PUBLISH: Final = Struct(">HHH").pack(60, 40, 0)  # class, method, reserved
_MANDATORY: Final = {False: b"\0", True: b"\1"}
_ABOUT: Final = Struct(">HHQH")  # class, weight, size of the body, which properties follow
#: The properties we use, in the order they are written, each with its flag.
_TEXTS: Final = (
    *(("content_type", 1 << 15), ("content_encoding", 1 << 14)),
    *(("headers", 1 << 13), ("delivery_mode", 1 << 12)),
    *(("correlation_id", 1 << 10), ("reply_to", 1 << 9), ("type", 1 << 5)),
)
_LONG: Final = Struct(">I")


def frames(
    channel: int, frame_max: int, body: bytes, said: Mapping[str, Any], *, mandatory: bool
) -> Iterator[bytes]:
    """The pieces to be written for this message, in order.

    ``said``: all but the body, as ``outgoing.properties_of`` says it; texts are of 255 bytes at
    most. ``frame_max``: bytes of the longest frame that was agreed on; nought is any.
    """
    method = b"".join(
        (_PUBLISH, _short(said["exchange"]), _short(said["routing_key"]), _MANDATORY[mandatory])
    )
    flags, written = 0, [b""]
    for name, flag in _TEXTS:
        value = said.get(name)
        if value is None:
            continue
        flags |= flag
        if name == "headers":
            written.append(_table(value))
        else:
            written.append(bytes((value,)) if name == "delivery_mode" else _short(value))
    written[0] = _ABOUT.pack(60, 0, len(body), flags)
    about = b"".join(written)
    yield b"".join(
        (
            *(_FRAME.pack(_METHOD, channel, len(method)), method, _END),
            *(_FRAME.pack(_HEADER, channel, len(about)), about, _END),
        )
    )
    most = frame_max - _AROUND if frame_max else len(body)
    for begin in range(0, len(body), most or 1):
        piece = body if len(body) <= most else body[begin : begin + most]
        yield _FRAME.pack(_BODY, channel, len(piece))
        yield piece
        yield _END


def _short(text: str) -> bytes:
    said = text.encode("utf-8")
    return bytes((len(said),)) + said


def _table(headers: Mapping[str, str]) -> bytes:
    items = []
    for name, text in headers.items():
        said = text.encode("utf-8")
        items += [_short(name), b"S", _LONG.pack(len(said)), said]
    table = b"".join(items)
    return _LONG.pack(len(table)) + table
