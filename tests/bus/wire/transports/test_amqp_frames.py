"""AMQP frames are found in what comes, however it is cut, and each is as it was sent."""

from __future__ import annotations

import random
import socket
from struct import pack

import pytest
from amqp.exceptions import UnexpectedFrame

from bus.wire.transports.amqp_frames import Frame, Frames, PlainLine


def written(frames: list[Frame]) -> bytes:
    """These frames as they travel (AMQP 0-9-1, 4.2.3)."""
    return b"".join(
        pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
        for kind, channel, payload in frames
    )


class Line:
    """A stream that hands over so many bytes a time, as many as fit and are there."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes
        self.reads = 0

    def receive(self, room: memoryview) -> int:
        """Like a socket's ``recv_into``."""
        self.reads += 1
        size = self.sizes.pop(0) if self.sizes else len(self.data)
        piece, self.data = self.data[: min(size, len(room))], self.data[min(size, len(room)) :]
        room[: len(piece)] = piece
        return len(piece)


def read_all(line: Line, count: int) -> list[Frame]:
    """So many frames of it."""
    frames = Frames()
    found: list[Frame] = []
    while len(found) < count:
        while not frames.has_one():
            frames.read(line.receive)
        found.append(frames.take())
    assert not frames.has_one()
    return found


SENT: list[Frame] = [(1, 1, b"method"), (2, 1, b""), (3, 7, b"\xce" * 40), (8, 0, b"")]


def test_what_has_come_at_once_is_read_at_once() -> None:
    line = Line(written(SENT), [])
    assert read_all(line, len(SENT)) == SENT
    assert line.reads == 1


def test_frames_may_be_cut_anywhere() -> None:
    data = written(SENT)
    for cut in range(1, len(data)):
        assert read_all(Line(data, [cut]), len(SENT)) == SENT
    assert read_all(Line(data, [1] * len(data)), len(SENT)) == SENT


def test_frames_of_all_lengths_also_longer_than_are_read_at_once() -> None:
    chance = random.Random(4)
    sizes = [0, 1, 131_072 - 8, 262_144, 700_000, 5, 300_000, 1]
    sent = [(3, 1, chance.randbytes(size)) for size in sizes * 3]
    data = written(sent)
    assert read_all(Line(data, []), len(sent)) == sent
    cuts = [chance.randint(1, 200_000) for _ in range(200)]
    assert read_all(Line(data, cuts), len(sent)) == sent


def test_a_read_that_fails_costs_nothing_of_what_was_there() -> None:
    def fails(room: memoryview) -> int:
        raise TimeoutError

    data = written(SENT)
    frames = Frames()
    frames.read(Line(data[:5], []).receive)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            frames.read(fails)
    frames.read(Line(data[5:], []).receive)
    assert [frames.take() for _ in SENT] == SENT


def test_the_end_of_the_line_is_an_error() -> None:
    with pytest.raises(OSError, match="closed"):
        Frames().read(Line(b"", []).receive)


def test_a_frame_that_does_not_end_where_it_says_is_none() -> None:
    frames = Frames()
    frames.read(Line(written(SENT[:1])[:-1] + b"\0", []).receive)
    with pytest.raises(UnexpectedFrame):
        frames.take()


def test_nothing_within_the_systems_own_limit_is_a_timeout_and_costs_nothing() -> None:
    """SO_RCVTIMEO of a blocking socket: the system says "try again", and py-amqp did, for ever."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, pack("ll", 0, 20_000))
        line = PlainLine("localhost")
        line.sock = ours
        line._setup_transport()
        theirs.sendall(written(SENT)[:5])
        with pytest.raises(TimeoutError):
            line.read_frame()
        theirs.sendall(written(SENT)[5:])
        assert [line.read_frame() for _ in SENT] == SENT
        assert not line.has_frame()
