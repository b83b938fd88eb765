"""Messages into lists, without kombu's detour; what stands in a list is what kombu reads.

kombu makes base64 of a body and JSON of that, and each message takes its way through a pipeline of
redis-py's: a megabyte costs fourteen milliseconds of CPU, a small message a third of one. Bodies
here are JSON, which is text, and stand in the entry as such. What goes into one list is one
command, and all of it one round trip, on a connection that is kept.

Decided here: what an entry says (kombu's ``virtual.Message``), and that the answers to all commands
are read before the error of one is raised, so that the line stays of use. Channel's thread.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kombu.utils.uuid import uuid
from redis.exceptions import ResponseError

from bus.wire.transports.virtual_message import properties_in

#: Made once: ``json.dumps`` makes an encoder a call.
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
#: What JSON does not allow in a text.
_CONTROLS: Final = bytes(range(32))


def entry(body: bytes, said: Mapping[str, Any]) -> bytes:
    """The entry for this body; ``said``: all but the body, as ``Producer.publish`` wants it."""
    inner = properties_in(said)
    inner["delivery_info"] = {"exchange": said["exchange"], "routing_key": said["routing_key"]}
    inner["priority"] = 0
    inner["delivery_tag"] = uuid()
    try:
        text = _quoted(body)
    except UnicodeDecodeError:
        text = b'"%s"' % base64.b64encode(body)
        inner["body_encoding"] = "base64"
    around = _encode(
        {
            "content-encoding": said["content_encoding"],
            "content-type": said["content_type"],
            "headers": said["headers"],
            "properties": inner,
        }
    )
    return b'{"body":%s,%s' % (text, around[1:].encode("ascii"))


def _quoted(body: bytes) -> bytes:
    """A text as JSON. Raises ``UnicodeDecodeError`` for what is none."""
    if body.isascii() and len(body.translate(None, _CONTROLS)) == len(body):  # as all of ours is
        return b'"%s"' % body.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return _encode(body.decode()).encode("ascii")


def push(
    line: Any, prefix: str, lists: Mapping[str, Sequence[bytes]], lifetimes: Mapping[str, float]
) -> None:
    """Put these entries into these lists, in order; a list lives for its lifetime, in seconds.

    ``line``: a connection of redis-py's. Raises what that does; then nobody knows what arrived.
    """
    commands: list[tuple[Any, ...]] = []
    for queue, entries in lists.items():
        commands.append(("LPUSH", f"{prefix}{queue}", *entries))
        # With each: a list is made anew whenever it has been read empty, and who made it may be
        # the last who ever comes by.
        if queue in lifetimes:
            commands.append(("PEXPIRE", f"{prefix}{queue}", int(lifetimes[queue] * 1000)))
    line.send_packed_command(line.pack_commands(commands))
    refusal: ResponseError | None = None
    for _ in commands:
        try:
            line.read_response()
        except ResponseError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
