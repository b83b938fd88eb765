from __future__ import annotations

import itertools

from benchmarks import programme, schedule
from benchmarks.cells import Cell
from benchmarks.peers import PEERS
from benchmarks.result import Result

CELLS = programme.cells()
SITTINGS = list(programme.sittings())


def backlog(count: int, submitted: float = 0.0, **found: str) -> Result:
    figures = {"submitted_per_second": submitted} if submitted else {}
    cell = Cell("backlog", "redis", "celery", "best", outstanding=count)
    return Result(cell, 1, "full", figures, **found)


def test_each_round_plays_all_and_keeps_rivals_together() -> None:
    played = list(schedule.rounds(SITTINGS, 3))
    for number in (1, 2, 3):
        sittings = [sitting for of, sitting in played if of == number]
        assert sorted(sittings, key=SITTINGS.index) == SITTINGS
        # A group of rivals is left once and not entered again.
        changes = sum(a.rivals != b.rivals for a, b in itertools.pairwise(sittings))
        assert changes + 1 == len({sitting.rivals for sitting in sittings})


def test_nobody_is_the_first_of_its_rivals_in_every_round() -> None:
    def order(number: int) -> list[str]:
        return [
            sitting.of.peer
            for of, sitting in schedule.rounds(SITTINGS, 5)
            if of == number and sitting.rivals == ("main", "redis")
        ]

    orders = [order(number) for number in range(1, 6)]
    assert len({tuple(peers) for peers in orders}) > 1
    assert orders == [order(number) for number in range(1, 6)]


def test_what_cannot_be_submitted_in_time_is_not_played() -> None:
    cell = Cell("backlog", "redis", "celery", "best", outstanding=100_000)
    said = schedule.hopeless(cell, [backlog(10_000, 500.0)], 30.0)
    assert said == (
        "submitting them at the 500 a second of 10,000 would take 200 s, and that may take 30 s"
    )
    assert schedule.hopeless(cell, [backlog(10_000, 5000.0)], 30.0) == ""
    assert schedule.hopeless(cell, [], 30.0) == ""


def test_what_was_not_reached_once_is_not_tried_again() -> None:
    cell = Cell("backlog", "redis", "celery", "best", outstanding=100_000)
    known = [backlog(10_000, 5000.0), backlog(100_000, skipped="after 30 s 90,000 were open")]
    assert schedule.hopeless(cell, known, 30.0) == "after 30 s 90,000 were open"


def test_more_are_not_played_when_fewer_went_wrong() -> None:
    cell = Cell("backlog", "redis", "celery", "best", outstanding=100_000)
    said = schedule.hopeless(cell, [backlog(10_000, problem="it did not end")], 30.0)
    assert said == "10,000 at once did not go well before"
    assert schedule.hopeless(cell, [backlog(10_000, skipped="too slow")], 30.0) == said


def test_other_measures_are_played_unless_they_had_not_ended_before() -> None:
    cell = Cell("throughput", "redis", "celery", "best", outstanding=100_000)
    broken = Result(cell, 1, "full", problem="WrongResult: 3")
    assert schedule.hopeless(cell, [backlog(100, 1.0), broken], 30.0) == ""
    late = Result(cell, 2, "full", problem="it had not ended after 60 s: 3 are open")
    said = schedule.hopeless(cell, [broken, late], 30.0)
    assert said == "in round 2 it had not ended after 60 s: 3 are open"


def test_each_cell_is_there_once_and_of_a_setting_that_exists() -> None:
    assert len(set(CELLS)) == len(CELLS) == len({cell.name for cell in CELLS})
    for cell in CELLS:
        assert cell.setting in [s.name for s in PEERS[cell.peer].settings[cell.broker]]


def test_a_sitting_is_of_one_peer_and_needs_no_worker_to_go_away() -> None:
    for sitting in SITTINGS:
        of = {(cell.broker, cell.peer, cell.setting) for cell in sitting.cells}
        assert len(of) == 1
        workers = [cell.workers for cell in sitting.cells]
        assert workers == sorted(workers)
        # From a cold start, and with nobody there: as the first of all.
        measures = [cell.measure for cell in sitting.cells]
        assert not {"start", "backlog"} & set(measures[1:])


def test_of_a_sitting_any_part_can_be_played() -> None:
    whole = SITTINGS[0]
    assert whole.only(whole.cells) == whole
    assert whole.only(CELLS[-1:]) is None
    part = whole.only(whole.cells[1:])
    assert part is not None
    assert part.cells == whole.cells[1:]
    assert part.rivals == whole.rivals


def test_every_number_open_is_played_for_everybody_in_its_best_known_setting() -> None:
    for broker in ("redis", "amqp"):
        for peer in PEERS.values():
            if broker in peer.settings:
                found = {
                    cell.outstanding
                    for cell in CELLS
                    if (cell.broker, cell.peer, cell.setting)
                    == (broker, peer.name, peer.settings[broker][0].name)
                    and cell.measure in ("throughput", "backlog")
                    and (cell.workers, cell.payload_bytes) == (1, 0)
                }
                assert found == set(programme.OUTSTANDING)


def test_a_first_look_is_a_part_of_the_whole() -> None:
    quick = programme.cells(quick=True)
    assert set(quick) < set(CELLS)
    assert {cell.peer for cell in quick} == set(PEERS)
