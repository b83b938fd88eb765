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
_LARGE: Final = 1 << 16  # bytes
#: A token, which lets a host begin a work: the key of that, as an array of this type has it.
TOKEN: Final = "Q"
#: A frame that claims to be longer is no frame: somebody else wrote to the pipe.
MAX_FRAME_BYTES: Final = 1 << 32


class FrameRefused(ValueError):
    """What arrived is not what a frame consists of."""


def pack(texts: Iterable[str]) -> bytes:
    """The frame of these JSON texts, which are ASCII as ``protocol.values.dumps`` writes them."""
    lines = [text.encode("ascii") for text in texts]
    length = sum(map(len, lines)) + len(lines) - 1
    lines[0] = _LENGTH.pack(length) + lines[0]  # so that what is large is copied but once more
    return b"\n".join(lines)


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

    @property
    def is_halfway(self) -> bool:
        """Whether a frame has begun and is not whole yet."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Add what was read; the frames that are now whole, in order, each as its lines."""
        found: list[list[bytes]] = []
        buffer = self._buffer
        if buffer:
            buffer += data
        begin = 0
        whole = buffer or data
        while len(whole) - begin >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(whole, begin)
            if length > MAX_FRAME_BYTES:
                self.is_refused = True
                break
            end = begin + _LENGTH.size + length
            if end > len(whole):
                break
            found.append(_lines(whole, begin + _LENGTH.size, end))
            begin = end
        if buffer:
            del buffer[:begin]
        else:
            buffer += data[begin:]
        return found


def _lines(whole: bytes | bytearray, begin: int, end: int) -> list[bytes]:
    """Those of a frame, copied once if it is large."""
    if end - begin < _LARGE:
        return bytes(whole[begin:end]).split(b"\n")
    found: list[bytes] = []
    with memoryview(whole) as view:
        while (at := whole.find(b"\n", begin, end)) >= 0:
            found.append(bytes(view[begin:at]))
            begin = at + 1
        found.append(bytes(view[begin:end]))
    return found
