from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.calls.__main__ import main
from executor.directory import Directory
from executor.peer import Peer


def look_round(peer: Peer) -> bool:
    """A step for each request that nobody needs."""
    return peer.is_native


@pytest.fixture
def known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """What a task costs as it is."""
    file = tmp_path / "known"
    assert main(["--renew", "joined", "1", "--baseline", str(file)]) == 0
    assert "executor.ledger" in capsys.readouterr().out
    return file


def test_what_is_as_it_was_is_right(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "joined", "1", "--baseline", str(known)]) == 0
    assert capsys.readouterr().out.startswith("joined, 1 at once: ")


def test_a_way_that_got_slower_is_caught_and_named(
    known: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = Directory.candidates

    def slower(self: Directory, *args: Any, **kwargs: Any) -> Any:
        for peer in self:
            for _ in range(500):
                look_round(peer)
        return candidates(self, *args, **kwargs)

    monkeypatch.setattr(Directory, "candidates", slower)
    assert main(["--check", "joined", "1", "--baseline", str(known)]) == 1
    said = capsys.readouterr().err
    assert said.strip().startswith("joined, 1 at once, submitter: a task makes ")
    assert "look_round: at most" in said
    assert "worker: a task makes" not in said


def test_only_what_was_asked_for_is_renewed(known: Path) -> None:
    before = known.read_text()
    assert main(["--renew", "joined", "100", "--baseline", str(known)]) == 0
    after = known.read_text()
    assert after.startswith(before)
    assert "joined, 100 at once, worker" in after[len(before) :]


def test_the_functions_called_most_can_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["joined", "1", "--functions", "3"]) == 0
    last = capsys.readouterr().out.rstrip().split("\n\n")[-1]
    assert last.startswith("joined, 1 at once, worker: ")
    assert len(last.splitlines()) == 4


def test_words_that_fit_no_path_are_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["carrots"]) == 2
    assert "no path holds carrots" in capsys.readouterr().err
