"""The frames between main process and hosts, cut anywhere."""

from __future__ import annotations

import pytest

from worker.frames import FrameRefused, Frames, pack


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 1000])
def test_frames_come_out_whole_however_they_are_cut(size: int) -> None:
    data = pack(['["a",1]', '{"x":"\\n"}']) + pack(["null"]) + pack(["[]", "[]", "3"])
    frames = Frames()
    out = []
    for start in range(0, len(data), size):
        out += list(frames.feed(data[start : start + size]))
    assert out == [[["a", 1], {"x": "\n"}], [None], [[], [], 3]]


@pytest.mark.parametrize("data", [b"\xff" * 8, b"\0" * 7 + b"\1{", b"\0" * 7 + b"\2\xff\xff"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameRefused):
        list(Frames().feed(data))
