from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cells import Cell
from benchmarks.result import Result, read_all

CELL = Cell("throughput", "redis", "celery", "best", workers=2, payload_bytes=100)


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    kept = Result(CELL, 3, "full", {"per_second": 1.5}, of={"commit": "abc"})
    other = Result(CELL, 4, "full", problem="it did not end")
    kept.write(tmp_path)
    other.write(tmp_path)
    assert read_all(tmp_path) == [kept, other]
    assert kept.is_good
    assert not other.is_good


def test_the_newest_of_one_play_is_kept(tmp_path: Path) -> None:
    Result(CELL, 1, "full", {"per_second": 1.0}).write(tmp_path)
    Result(CELL, 1, "full", {"per_second": 2.0}).write(tmp_path)
    assert [result.figures for result in read_all(tmp_path)] == [{"per_second": 2.0}]


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"cell": {}}', '{"cell": {"colour": 1}}'])
def test_a_file_that_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ValueError, match=r"odd\.json is no result of a play"):
        read_all(tmp_path)
