from __future__ import annotations

import dataclasses

import pytest

from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.model import World
from benchmarks.simulation.outcome import Outcome
from tests.benchmarks.simulation.costs import COSTS


def run(fleet: Fleet, **costs: float) -> Outcome:
    return World(fleet, dataclasses.replace(COSTS, **costs)).run()  # type: ignore[arg-type]


def test_every_request_ends_and_the_same_fleet_comes_to_the_same() -> None:
    fleet = Fleet(20, slots=2, task=1.0, requests=2000, rate=30.0)
    first, second = run(fleet), run(fleet)
    assert first.ended == 2000
    first.took = second.took = 0.0
    assert first == second


def test_slots_that_are_all_in_use_do_as_much_as_they_can() -> None:
    outcome = run(Fleet(10, slots=2, task=0.5, requests=8000, outstanding=80))
    assert outcome.throughput == pytest.approx(10 * 2 / 0.5, rel=0.05)


def test_a_request_is_three_messages_and_its_part_of_a_receipt() -> None:
    """REQUEST, RUNNING, SUCCESS; and the receipts of half a second to one worker are one."""
    outcome = run(Fleet(100, task=1.0, requests=20_000, rate=50.0, beat=60.0))
    beats = 100 / 5  # a second
    assert outcome.executor_in == pytest.approx(2 * outcome.throughput + beats, rel=0.05)
    receipts = outcome.executor_out - outcome.throughput
    assert 0.5 * outcome.throughput < receipts < 1.1 * outcome.throughput


def test_beats_are_what_thousands_of_idle_workers_cost() -> None:
    outcome = run(Fleet(2000, task=10.0, requests=100, rate=10.0, seconds=20.0))
    # An answer to each question, and a beat between two: twice in five seconds.
    assert outcome.parts["beats"] == pytest.approx(2000 * 2 / 5 * COSTS.beat, rel=0.3)
    assert outcome.bottleneck == "executor"
    assert outcome.beats_behind == 2000


def test_workers_of_a_long_beat_answer_questions_and_say_no_more() -> None:
    often = run(Fleet(500, task=10.0, requests=50, rate=5.0, seconds=60.0))
    seldom = run(Fleet(500, task=10.0, requests=50, rate=5.0, seconds=60.0, beat=60.0))
    assert seldom.executor_in < 0.7 * often.executor_in


def test_an_executor_that_does_not_come_round_to_its_beats_is_blind_and_does_not_hold() -> None:
    fleet = Fleet(1000, task=1.0, requests=100_000, rate=500.0, seconds=60.0)
    assert run(fleet).holds
    behind = run(fleet, beat=4e-3)
    assert behind.blind > 0.2
    assert behind.executor_cpu > 0.9
    assert not behind.holds


def test_executors_of_their_own_exchanges_share_the_work() -> None:
    one = run(Fleet(1000, task=10.0, requests=3000, rate=80.0))
    four = run(Fleet(1000, task=10.0, requests=3000, rate=80.0, executors=4))
    assert four.ended == one.ended == 3000
    assert four.executor_cpu < 0.4 * one.executor_cpu


def test_what_dies_with_its_worker_runs_again_after_a_lease() -> None:
    fleet = Fleet(50, task=10.0, requests=400, rate=4.0, at_once=25, seed=3)
    outcome = run(fleet)
    assert outcome.ended == 400
    assert 5 <= outcome.lost <= 25
    quiet = run(dataclasses.replace(fleet, at_once=0))
    assert quiet.lost == 0
    assert outcome.wait_p99 > quiet.wait_p99


def test_workers_that_die_now_and_then_cost_nobody_a_request() -> None:
    outcome = run(Fleet(50, slots=2, task=1.0, requests=5000, rate=60.0, life=200.0))
    assert outcome.ended == 5000
    assert outcome.lost > 5


def test_a_busy_broker_is_found() -> None:
    outcome = run(Fleet(100, task=0.1, requests=20_000, rate=500.0), carry=0.5e-3)
    assert outcome.bottleneck == "broker"


def test_quick_tasks_queue_up_at_their_workers() -> None:
    fleet = Fleet(2, slots=2, task=0.05, requests=4000, outstanding=40)
    assert run(fleet).throughput == pytest.approx(80.0, rel=0.05)
