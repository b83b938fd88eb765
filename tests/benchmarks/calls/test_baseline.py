from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.calls import baseline
from benchmarks.calls.baseline import Known
from benchmarks.calls.counter import Calls
from benchmarks.calls.paths import PATHS


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    parts = {
        "joined, 1 at once, worker": Known(12.5, {("a.b", "f"): 8.0, ("c", "dict.get (C)"): 4.5}),
        "memory, threads, worker": Known(1.0),
        "joined, submitter": Known(5.0, {("a", "f"): 1.0}, messages=0.031),
    }
    baseline.write(parts, tmp_path / "known")
    assert baseline.read(tmp_path / "known") == parts


def test_of_many_functions_those_are_kept_that_are_called_most() -> None:
    known = Known.of(Calls({("room", f"f{n:02}"): float(n) for n in range(100)}))
    assert known.total == sum(range(100))
    assert next(iter(known.places)) == ("room", "f99")
    assert known.least == 80.0


@pytest.mark.parametrize("line", ["    1.0  in all", "part\n    many  in all"])
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "known"
    file.write_text(f"# a comment\n{line}\n")
    with pytest.raises(ValueError, match=r"known, line [23]: .* is no count"):
        baseline.read(file)


def test_ours_knows_both_sides_of_every_path_and_no_others() -> None:
    parts = [f"{name}, {side}" for name in PATHS for side in ("submitter", "worker")]
    assert list(baseline.read()) == parts
