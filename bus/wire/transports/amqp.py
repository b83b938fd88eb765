"""kombu's AMQP transport, cured of five things, and over TLS as ``bus.wire.tls`` has it.

A message that cannot be read comes in all the same. AMQP's short strings are UTF-8 by agreement
only, and RabbitMQ passes on whatever bytes a sender put there. py-amqp raises out of the connection
when it meets others, in a property or in a routing key; the message goes back to the front of its
queue, and the next connection ends by it as well. Here such a message loses what cannot be read,
and is delivered: the dispatcher refuses it.

A body that is longer than any may be is not gathered. It comes in pieces, its length first: they
are let go as they come, and the message is delivered with that length and nothing else, for the
dispatcher to refuse. py-amqp kept all of it until the last piece was there.

An answer is not waited for without end. py-amqp waits for one as long as frames come, heartbeats
included, and a broker that is short of memory sends these and no answers.

What has come is read at once (``amqp_frames``), and a message is no nine calls of the system's.
What is published together is written at once (``amqp_messages``).

Another thread may cut the line: whoever is in a call of this connection returns from it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from struct import unpack_from
from typing import Any, Final

import kombu
from amqp import spec
from amqp.exceptions import RecoverableConnectionError
from amqp.method_framing import frame_handler
from kombu.transport import pyamqp

from bus.wire import deadlines, tls
from bus.wire.tls import Tls
from bus.wire.transports.amqp_frames import EncryptedLine, PlainLine
from bus.wire.transports.amqp_messages import frames
from protocol.size import MAX_BODY

_METHOD: Final = 1  # frame types (AMQP 0-9-1, 4.2.3)
_HEADER: Final = 2
_BODY: Final = 3
#: Class, weight and size of the body: what comes before the properties in a header frame (4.2.6.1).
_BEFORE_PROPERTIES: Final = 12
_BEFORE_SIZE: Final = 4
_NO_PROPERTIES: Final = b"\0\0"
#: Class and method: what comes before the arguments in a method frame (4.2.4).
_BEFORE_ARGUMENTS: Final = 4
_TAG_AND_FLAGS: Final = 9  # of basic.deliver: delivery tag and "redelivered"

#: Bytes that are written at once: so many have ``write_timeout`` to go, however many follow.
_WRITTEN_AT_ONCE: Final = 128 * 1024

_Frame = tuple[int, int, bytes]


class Unread(bytes):
    """In the place of a body that was let go: as long as that one was, and empty."""

    #: How long that one was.
    size = 0

    def __len__(self) -> int:
        return self.size

    def decode(self, *_: Any, **__: Any) -> Any:
        """Itself: py-amqp makes texts of bodies that say how they are encoded."""
        return self


def _tolerant(connection: Any, callback: Callable[..., Any]) -> Callable[[_Frame], Any]:
    """py-amqp's reader of frames, for frames in which there may be anything."""
    read = frame_handler(connection, callback)
    #: Of bodies that are let go, by channel: how long each is, and how much of it is still to come.
    passing: dict[int, tuple[int, int]] = {}

    def on_frame(frame: _Frame) -> Any:
        kind, channel, payload = frame
        if kind == _BODY and channel in passing:
            size, left = passing.pop(channel)
            if left > len(payload):
                passing[channel] = size, left - len(payload)
                connection.bytes_recv += 1  # it is alive: frames are counted, as ``read`` does
                return False
            instead = Unread()
            instead.size = size
            return read((kind, channel, instead))
        if kind == _METHOD and unpack_from(">HH", payload) == spec.Basic.Deliver:
            return read((kind, channel, _readable(payload)))
        if kind != _HEADER:
            return read(frame)
        (size,) = unpack_from(">Q", payload, _BEFORE_SIZE)
        if size > MAX_BODY:
            passing[channel] = size, size
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


class Channel(pyamqp.Channel):
    """One thread only."""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """For an answer; ``TimeoutError`` if it does not come in time."""
        if self.connection is None:  # closed: the library says so
            return super().wait(*args, **kwargs)
        with self.connection.within(deadlines.SILENCE):
            return super().wait(*args, **kwargs)

    def publish_list(self, ready: Sequence[tuple[bytes, Mapping[str, Any], bool]]) -> None:
        """Publish these, in order; no answer is waited for.

        Of each: the body, all that is said beside it as ``Producer.publish`` wants it, and whether
        it is mandatory.
        """
        connection = self.connection
        if connection is None:
            raise RecoverableConnectionError("publishing: the connection is closed")
        try:  # what the broker has said meanwhile: that it is blocked, or why it ends this
            connection.drain_events(timeout=0)
        except TimeoutError:
            pass
        pieces: list[bytes] = []
        size = 0
        for body, said, mandatory in ready:
            for piece in frames(
                self.channel_id, connection.frame_max, body, said, mandatory=mandatory
            ):
                pieces.append(piece)
                size += len(piece)
            if size > _WRITTEN_AT_ONCE:
                connection.write(b"".join(pieces))
                pieces, size = [], 0
        if pieces:
            connection.write(b"".join(pieces))

    def refresh(self, queues: Sequence[kombu.Queue]) -> None:
        """Declare these again, with what they are bound to. No answer is asked for or waited for.

        An error of the broker's comes out of a later call.
        """
        for queue in queues:
            queue.declare(nowait=True)


class _Encrypted(EncryptedLine):
    """py-amqp's connection over TLS, which leaves the host's name unverified unless it is told."""

    def __init__(self, *args: Any, tls: Tls, **kwargs: Any) -> None:
        self._tls = tls
        super().__init__(*args, **kwargs)

    def _wrap_socket(self, sock: socket.socket, **_: Any) -> Any:
        return self._tls.wrap(sock)

    def _setup_transport(self) -> None:
        super()._setup_transport()
        # For what is written: under TLS the socket's own limits (SO_SNDTIMEO) only make it try on.
        self.sock.settimeout(self.write_timeout)

    def _shutdown_transport(self) -> None:
        """Say no goodbye: AMQP's own has been said, and TLS would wait for an answer."""


class Connection(pyamqp.Connection):
    """One thread only, but for ``abort``."""

    Channel = Channel

    def __init__(self, *args: Any, tls: Tls | None = None, **kwargs: Any) -> None:
        self._tls = tls
        #: Whether RabbitMQ has said that it takes nothing at present: a memory or disk alarm.
        self.is_blocked = False
        self._until: float | None = None
        super().__init__(*args, frame_handler=_tolerant, **kwargs)
        self.on_blocked = self._note_blocked
        self.on_unblocked = self._note_unblocked

    def Transport(self, host: str, connect_timeout: float, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - py-amqp calls it so
        """The line, encrypted or not."""
        settings = {
            "connect_timeout": connect_timeout,
            "read_timeout": self.read_timeout,
            "write_timeout": self.write_timeout,
            "socket_settings": self.socket_settings,
        }
        if self._tls is None:
            return PlainLine(host, **settings)
        return _Encrypted(host, tls=self._tls, **settings)

    def _note_blocked(self, reason: str) -> None:
        self.is_blocked = True

    def _note_unblocked(self) -> None:
        self.is_blocked = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all that is read meanwhile be read in so many seconds; the inner of two counts less.

        A read that would take longer raises ``TimeoutError``.
        """
        before, until = self._until, time.monotonic() + seconds
        self._until = until if before is None else min(before, until)
        try:
            yield
        finally:
            self._until = before

    def hurry(self, seconds: float) -> None:
        """Let all that is still to be read here be read in so many seconds; once is enough."""
        until = time.monotonic() + seconds
        self._until = until if self._until is None else min(self._until, until)
        self.sock.settimeout(seconds)  # what is to be written as well

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """For an answer; ``TimeoutError`` if it does not come in time."""
        with self.within(deadlines.SILENCE):
            return super().wait(*args, **kwargs)

    def blocking_read(self, timeout: float | None = None) -> Any:
        """One frame, waiting ``timeout`` seconds for it; None is as long as the answer may take."""
        if self._transport.has_frame():  # nothing is to be waited for
            return self.on_inbound_frame(self._transport.read_frame())
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the broker did not answer in time")
            timeout = left if timeout is None else min(timeout, left)
        return super().blocking_read(timeout)

    def write(self, data: bytes) -> None:
        """Send this, which is whole frames."""
        if self._transport is None:
            raise RecoverableConnectionError("writing: the connection is closed")
        view = memoryview(data)
        for begin in range(0, len(data), _WRITTEN_AT_ONCE):
            self._transport.write(view[begin : begin + _WRITTEN_AT_ONCE])
            self.bytes_sent += 1  # heartbeats go by whether it has changed

    def has_frame(self) -> bool:
        """Whether something has been read already, and not been looked at."""
        return bool(self._transport) and self._transport.has_frame()

    def abort(self) -> None:
        """Cut the line. Any thread."""
        line = self._transport and self._transport.sock
        if line is not None:
            try:
                tls.cut(line)
            except OSError:
                pass  # it has gone already


class Transport(pyamqp.Transport):
    """Chosen by ``bus.wire.urls`` for ``amqp://``."""

    #: The connection, also while it is being made.
    line: Any = None

    def Connection(self, **options: Any) -> Any:  # noqa: N802 - kombu calls it so
        """Make one."""
        self.line = Connection(**options)
        return self.line

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes nothing at present."""
        return self.line is not None and self.line.is_blocked

    @property
    def has_more(self) -> bool:
        """Whether something has been read from the line already, and not been looked at."""
        return self.line is not None and self.line.has_frame()

    def hurry(self) -> None:
        """From now on, wait for nothing longer than a moment in all."""
        if self.line is not None and self.line.connected:
            self.line.hurry(deadlines.CLOSING)

    def close_connection(self, connection: Any) -> None:
        """Say goodbye, but not for long."""
        self.hurry()
        super().close_connection(connection)

    def abort(self) -> None:
        """Cut the line; whoever is in a call returns from it. Any thread."""
        if self.line is not None:
            self.line.abort()
