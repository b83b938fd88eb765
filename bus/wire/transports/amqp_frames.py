"""AMQP frames from a socket: all that has come is read at once, and taken apart here.

py-amqp asks the system three times for each frame, nine times for a message, and lets go of the
interpreter's lock each time: where another thread computes, each may cost as long as that keeps it.
Here it is asked once for whatever there is, and not at all while a frame is left of that.

Decided here: where a frame begins and ends (AMQP 0-9-1, 4.2.3). What is in it is nobody's business
here. One thread only, that of the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from amqp.exceptions import UnexpectedFrame
from amqp.transport import _UNAVAIL, SSLTransport, TCPTransport

#: Type, channel, size of the payload; behind the payload stands one byte more.
_HEADER: Final = Struct(">BHI")
_END: Final = 0xCE
#: Bytes that are read at once: two frames of the size that is usual, the longest there is.
_AT_ONCE: Final = 256 * 1024

Frame = tuple[int, int, bytes]


class Frames:
    """What has been read and not been taken yet."""

    def __init__(self) -> None:
        self._room = bytearray(_AT_ONCE)
        self._view = memoryview(self._room)
        #: Where in it the next frame begins, and where what has been read ends.
        self._begin = 0
        self._end = 0

    def has_one(self) -> bool:
        """Whether a whole frame is there."""
        return self._missing() <= 0

    def take(self) -> Frame:
        """The next frame, of which all must be there. Raises ``UnexpectedFrame``."""
        kind, channel, size = _HEADER.unpack_from(self._room, self._begin)
        begin = self._begin + _HEADER.size
        end = begin + size
        payload = bytes(self._view[begin:end])
        last = self._room[end]
        self._begin = end + 1
        if last != _END:
            raise UnexpectedFrame(f"Received frame_end {last:#04x} while expecting {_END:#04x}")
        return kind, channel, payload

    def read(self, receive: Callable[[memoryview], int]) -> None:
        """Read on: ``receive`` is called once, to write into a buffer.

        Raises what it raises; then nothing has changed. ``OSError`` if there is no more to come.
        """
        if self._begin == self._end:
            self._begin = self._end = 0
        elif self._begin and self._end + self._missing() > len(self._room):
            left = self._end - self._begin
            self._room[:left] = self._room[self._begin : self._end]
            self._begin, self._end = 0, left
        if self._end == len(self._room):  # a frame longer than that
            self._view.release()
            self._room += bytes(len(self._room))
            self._view = memoryview(self._room)
        count = receive(self._view[self._end :])
        if not count:
            raise OSError("Server unexpectedly closed connection")
        self._end += count

    def _missing(self) -> int:
        """How many bytes, at least, until a whole frame is there; nought or less: it is."""
        there = self._end - self._begin
        if there < _HEADER.size:
            return _HEADER.size + 1 - there
        size: int = _HEADER.unpack_from(self._room, self._begin)[2]
        return _HEADER.size + size + 1 - there


class _Buffered:
    """On top of py-amqp's transports: reads by way of ``Frames``."""

    sock: Any
    connected: bool
    _frames: Frames

    def _setup_transport(self) -> None:
        super()._setup_transport()  # type: ignore[misc]
        self._frames = Frames()

    def has_frame(self) -> bool:
        """Whether one can be read without asking the system."""
        return self._frames.has_one()

    def read_frame(self, unpack: object = None) -> Frame:
        """The next frame; ``TimeoutError`` after the socket's own timeout: nothing is lost then."""
        frames = self._frames
        while not frames.has_one():
            try:
                frames.read(self.sock.recv_into)
            except TimeoutError:
                raise
            except OSError as error:  # TLS has errors of that kind
                if isinstance(error, BlockingIOError) or "timed out" in str(error):
                    raise TimeoutError from error  # also of the system's own limit (SO_RCVTIMEO)
                if error.errno not in _UNAVAIL:
                    self.connected = False
                raise
        return frames.take()


class PlainLine(_Buffered, TCPTransport):
    """A line that is not encrypted."""


class EncryptedLine(_Buffered, SSLTransport):
    """A line that is."""
