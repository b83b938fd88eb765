from __future__ import annotations

import itertools

from benchmarks import programme, schedule
from benchmarks.cells import Cell
from benchmarks.peers import PEERS
from benchmarks.result import Result

CELLS = list(programme.cells())


def burst(count: int, per_second: float = 0.0, **found: str) -> Result:
    figures = {"per_second": per_second} if per_second else {}
    cell = Cell("burst", "redis", "celery", "best", outstanding=count)
    return Result(cell, 1, "full", figures, **found)


def test_each_round_plays_all_and_keeps_rivals_together() -> None:
    played = list(schedule.rounds(CELLS, 3))
    for number in (1, 2, 3):
        cells = [cell for of, cell in played if of == number]
        assert sorted(cells, key=CELLS.index) == CELLS
        # A group of rivals is left once and not entered again.
        changes = sum(a.rivals != b.rivals for a, b in itertools.pairwise(cells))
        assert changes + 1 == len({cell.rivals for cell in cells})


def test_nobody_is_the_first_of_its_rivals_in_every_round() -> None:
    played = list(schedule.rounds(CELLS, 5))
    rivals = Cell("throughput", "redis", "celery", "best").rivals
    order = [
        [cell.peer for of, cell in played if of == number and cell.rivals == rivals]
        for number in range(1, 6)
    ]
    assert len({tuple(peers) for peers in order}) > 1
    assert order == [
        [cell.peer for of, cell in schedule.rounds(CELLS, 5) if of == n and cell.rivals == rivals]
        for n in range(1, 6)
    ]


def test_a_burst_that_cannot_end_in_time_is_not_played() -> None:
    cell = Cell("burst", "redis", "celery", "best", outstanding=100_000)
    said = schedule.hopeless(cell, [burst(100, 2000.0), burst(10_000, 500.0)], 150.0)
    assert said == (
        "at the 500 tasks/s of 10,000 at once it would take 200 s, and a play has 150 s"
    )
    assert schedule.hopeless(cell, [burst(100, 500.0), burst(10_000, 2000.0)], 150.0) == ""
    assert schedule.hopeless(cell, [], 150.0) == ""


def test_a_burst_is_not_played_when_a_smaller_one_went_wrong() -> None:
    cell = Cell("burst", "redis", "celery", "best", outstanding=100_000)
    said = schedule.hopeless(cell, [burst(10_000, problem="it did not end")], 150.0)
    assert said == "10,000 at once did not go well before"
    assert schedule.hopeless(cell, [burst(10_000, skipped="too slow")], 150.0) == said


def test_other_measures_are_always_played() -> None:
    cell = Cell("throughput", "redis", "celery", "best", outstanding=100_000)
    assert schedule.hopeless(cell, [burst(100, 1.0)], 150.0) == ""


def test_each_cell_is_there_once_and_of_a_setting_that_exists() -> None:
    assert len(set(CELLS)) == len(CELLS) == len({cell.name for cell in CELLS})
    for cell in CELLS:
        assert cell.setting in [s.name for s in PEERS[cell.peer].settings[cell.broker]]


def test_a_first_look_is_a_part_of_the_whole() -> None:
    quick = list(programme.cells(quick=True))
    assert set(quick) < set(CELLS)
    assert {cell.peer for cell in quick} == set(PEERS)
