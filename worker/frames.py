"""How the main process and a host write to each other: length, then lines of JSON.

A frame is a list of JSON texts, one a line (compact JSON has no line breaks of its own), after the
length of them all in eight bytes. The first says what it is about; a value of the user's has a line
to itself, so that it is not nested deeper here than it may travel. Never pickle: nothing that a
task writes to its pipe can become code in the main process. Pure; both sides; any thread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from protocol.errors import ValueRefused
from protocol.values import Json, loads

_LENGTH: Final = struct.Struct("!Q")
#: A frame that claims to be longer is no frame: somebody else wrote to the pipe.
MAX_FRAME_BYTES: Final = 1 << 32


class FrameRefused(ValueError):
    """What arrived is not a frame."""


def pack(texts: Iterable[str]) -> bytes:
    """The frame of these JSON texts, which are ASCII as ``protocol.values.dumps`` writes them."""
    body = "\n".join(texts).encode("ascii")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Puts frames together from bytes as they come in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[list[Json]]:
        """Add what was read; the frames that are now whole, in order. Exhaust it before more.

        Raises :class:`FrameRefused`, after which the pipe is of no use.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise FrameRefused(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[_LENGTH.size : end])
            del self._buffer[:end]
            try:
                yield [loads(line) for line in body.split(b"\n")]
            except ValueRefused as error:
                raise FrameRefused(str(error)) from None
