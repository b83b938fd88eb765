from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.simulation import files
from benchmarks.simulation.files import Found, Row
from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.outcome import Outcome
from tests.benchmarks.simulation.costs import COSTS


def test_what_was_found_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [
        Row("a", Fleet(3, rate=2.0), Outcome(ended=5, parts={"turns": 0.5})),
        Row("b", Fleet(3, outstanding=2), Outcome(ended=5), Outcome(ended=4)),
    ]
    found = Found(COSTS, rows, {"commit": "abc"})
    files.write(found, tmp_path, "fleets")
    assert files.read(tmp_path, "fleets") == found
    assert files.read(tmp_path, "check") is None


@pytest.mark.parametrize("text", ["", "{}", '{"costs": {}, "rows": [], "of": {}}'])
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "simulation").mkdir()
    (tmp_path / "simulation" / "fleets.json").write_text(text)
    with pytest.raises(ValueError, match=r"fleets\.json is nothing that the simulation wrote"):
        files.read(tmp_path, "fleets")
