"""The frames between main process and hosts, cut anywhere."""

from __future__ import annotations

import pytest

from worker.frames import FrameRefused, Frames, pack, read


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 1000])
def test_frames_come_out_whole_however_they_are_cut(size: int) -> None:
    data = pack(['["a",1]', '{"x":"\\n"}']) + pack(["null"]) + pack(["[]", "[]", "3"])
    frames = Frames()
    out = []
    for start in range(0, len(data), size):
        out += [[read(line) for line in lines] for lines in frames.feed(data[start : start + size])]
    assert out == [[["a", 1], {"x": "\n"}], [None], [[], [], 3]]


def test_large_frames_have_the_same_lines() -> None:
    large = '"' + "x" * 300_000 + '"'
    data = pack(["1", large, "null"]) + pack([large]) + pack(["", large, ""])
    frames = Frames()
    assert frames.feed(data[:100_000]) == []
    found = frames.feed(data[100_000:])
    text = large.encode()
    assert found == [[b"1", text, b"null"], [text], [b"", text, b""]]


def test_what_is_no_frame_is_refused_and_what_came_before_is_not() -> None:
    frames = Frames()
    assert frames.feed(pack(["1"]) + b"\xff" * 8) == [[b"1"]]
    assert frames.is_refused
    assert frames.feed(pack(["2"])) == []


@pytest.mark.parametrize("line", [b"{", b"\xff\xff", b""])
def test_what_is_no_value_is_refused_when_it_is_read(line: bytes) -> None:
    with pytest.raises(FrameRefused):
        read(line)
