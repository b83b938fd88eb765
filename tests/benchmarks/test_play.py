"""Plays in this process, over kombu's memory: no server, and no worker but a thread."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import play as plays
from benchmarks.cells import Cell
from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.measures import MEASURES
from benchmarks.measures.not_reached import NotReached
from benchmarks.peers import PEERS, Peer, Setting
from benchmarks.play import Play, WrongResult
from benchmarks.sizes import Size

SIZE = Size("tiny", 1, 0.05, 0.01, 0.01, 5, 1.0, 20.0, 30.0)


def ground(cell: Cell, folder: Path) -> Ground:
    return Ground(cell.peer, cell.setting, cell.broker, cell.workers, "memory://", "", str(folder))


@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_measures(measure: str, tmp_path: Path) -> None:
    cell = Cell(measure, "memory", "kombu", "default", outstanding=20)
    with Play(cell, SIZE, ground(cell, tmp_path)) as play:
        figures = MEASURES[measure].measure(play)
    counted = {
        "throughput": "per_second",
        "backlog": "submitted_per_second",
        "latency": "p99_ms",
        "start": "first_result_seconds",
    }
    assert figures[counted[measure]] > 0.0


def test_cells_follow_each_other_with_the_same_worker(tmp_path: Path) -> None:
    first = Cell("start", "memory", "kombu", "default", outstanding=1)
    second = Cell("throughput", "memory", "kombu", "default", outstanding=20, payload_bytes=50)
    third = dataclasses.replace(second, payload_bytes=0)
    with Play(first, SIZE, ground(first, tmp_path)) as play:
        for cell in (first, second, third):
            play.begin(cell, is_last=cell is third)
            figures = MEASURES[cell.measure].measure(play)
    assert play.is_warm
    assert figures["tasks"] % 2 == 0
    assert figures["us_MainThread"] > 0.0


def test_what_cannot_be_brought_about_in_time_is_no_failure(tmp_path: Path) -> None:
    cell = Cell("backlog", "memory", "kombu", "default", outstanding=1000)
    hasty = dataclasses.replace(SIZE, fill=0.0)
    with (
        Play(cell, hasty, ground(cell, tmp_path)) as play,
        pytest.raises(NotReached, match=r"after 0 s of submitting [0-9]+ were open"),
    ):
        MEASURES["backlog"].measure(play)


def test_a_text_travels_there_and_back(tmp_path: Path) -> None:
    cell = Cell("throughput", "memory", "kombu", "default", outstanding=10, payload_bytes=50)
    with Play(cell, SIZE, ground(cell, tmp_path)) as play:
        play.start_workers()
        play.connect()
        batch = play.submit(3)
        assert [len(text) for text in batch.expected] == [50, 50, 50]
        assert len(set(batch.expected)) == 3
        play.gather(batch)


class Careless(Client):
    """Answers at once, and the last of several wrongly; what it is asked second never comes."""

    def __init__(self, *, is_silent: bool) -> None:
        self.is_silent = is_silent

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        return list(values)

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        if self.is_silent:
            raise TimeoutError(f"{len(handles)} of {len(handles)} are open")
        return [value + 1 for value in handles[:-1]] + [0]

    def close(self) -> None:
        pass


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A peer of that kind; its setting ``silent`` never answers."""
    app = types.ModuleType("careless_app")
    app.connect = lambda ground: Careless(is_silent=ground.setting == "silent")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "careless_app", app)
    settings = {"redis": (Setting("default", ""), Setting("silent", ""))}
    peer = Peer(
        "careless", "peer", "careless_app", settings, lambda g, n: [sys.executable, "-c", ""], ()
    )
    monkeypatch.setitem(PEERS, "careless", peer)
    return Cell("throughput", "redis", "careless", "default")


def test_one_wrong_result_is_the_end_of_a_play(careless: Cell, tmp_path: Path) -> None:
    with Play(careless, SIZE, ground(careless, tmp_path)) as play:
        play.connect()
        with pytest.raises(WrongResult, match="'0' came instead of '3'"):
            play.gather(play.submit(3))


def test_what_does_not_come_is_told_and_not_waited_for(careless: Cell, tmp_path: Path) -> None:
    silent = dataclasses.replace(careless, setting="silent")
    with Play(silent, SIZE, ground(silent, tmp_path)) as play:
        play.connect()
        with pytest.raises(TimeoutError, match="3 of 3 are open"):
            play.gather(play.submit(3))


def test_nothing_is_asked_for_after_the_deadline(careless: Cell, tmp_path: Path) -> None:
    over = dataclasses.replace(SIZE, deadline=0.0)
    with Play(careless, over, ground(careless, tmp_path)) as play:
        play.connect()
        with pytest.raises(TimeoutError, match="3 or more were open after 0 s"):
            play.gather(play.submit(3))


def test_the_last_words_of_workers_are_found(tmp_path: Path) -> None:
    (tmp_path / "worker-0.log").write_text("one\n")
    (tmp_path / "worker-1.log").write_text("no such broker\n")
    (tmp_path / "play.log").write_text("not a worker\n")
    assert plays.said_by_workers(tmp_path).split() == ["one", "no", "such", "broker"]
