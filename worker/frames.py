"""How the main process and a host write to each other: length, then lines of JSON.

A frame is a list of JSON texts, one a line (compact JSON has no line breaks of its own), after the
length of them all in eight bytes. The first says what it is about; a value of the user's has a line
to itself, so that it is not nested deeper here than it may travel, and is read only by who needs
it. Never pickle: nothing that a task writes to its pipe can become code in the main process. Pure;
both sides; any thread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from protocol.errors import ValueRefused
from protocol.values import Json, loads

_LENGTH: Final = struct.Struct("!Q")
#: A token, which lets a host begin a work: the key of that, as an array of this type has it.
TOKEN: Final = "Q"
#: A frame that claims to be longer is no frame: somebody else wrote to the pipe.
MAX_FRAME_BYTES: Final = 1 << 32


class FrameRefused(ValueError):
    """What arrived is not what a frame consists of."""


def pack(texts: Iterable[str]) -> bytes:
    """The frame of these JSON texts, which are ASCII as ``protocol.values.dumps`` writes them."""
    body = "\n".join(texts).encode("ascii")
    return _LENGTH.pack(len(body)) + body


def read(line: bytes) -> Json:
    """The value of a line. Raises :class:`FrameRefused` if it is none."""
    try:
        return loads(line)
    except ValueRefused as error:
        raise FrameRefused(str(error)) from None


class Frames:
    """Puts frames together from bytes as they come in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: What came is no frame, and nothing after it can be understood.
        self.is_refused = False

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Add what was read; the frames that are now whole, in order, each as its lines."""
        found: list[list[bytes]] = []
        buffer = self._buffer
        if buffer:
            buffer += data
        begin = 0
        with memoryview(buffer or data) as whole:
            size = len(whole)
            while size - begin >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(whole, begin)
                if length > MAX_FRAME_BYTES:
                    self.is_refused = True
                    break
                end = begin + _LENGTH.size + length
                if end > size:
                    break
                found.append(bytes(whole[begin + _LENGTH.size : end]).split(b"\n"))
                begin = end
        if buffer:
            del buffer[:begin]
        else:
            buffer += data[begin:]
        return found
