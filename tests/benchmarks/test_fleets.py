from __future__ import annotations

from benchmarks.report import fleets
from benchmarks.simulation.files import Found, Row
from benchmarks.simulation.fleet import LARGE, ONE, Fleet
from benchmarks.simulation.outcome import Outcome
from tests.benchmarks.simulation.costs import COSTS


def test_a_fleet_is_told_with_what_it_spends_most_on_and_whether_it_holds() -> None:
    good = Outcome(executor_in=50.0, executor_cpu=0.5, parts={"turns": 0.3, "beats": 0.1})
    bad = Outcome(executor_cpu=1.0, blind=0.25, wait_p99=2.0)
    found = Found(COSTS, [Row(ONE, Fleet(10_000), good), Row(ONE, Fleet(3, beat=60.0), bad)])
    told = fleets.fleets(found).splitlines()
    assert told[0] == "**One executor**"
    assert told[4] == (
        "| 10,000 | 1 | 5 | 50.0 | 0 | 0.500 | turns 75%, beats 25% | 0 | 0 ms | yes |"
    )
    assert told[5].endswith("| 2.00 s | no, 25% blind |")


def test_the_large_one_has_a_sentence() -> None:
    fleet = Fleet(10_000, executors=8, requests=10_000_000)
    outcome = Outcome(
        seconds=7200.0, ended=10_000_000, wait_p50=0.002, wait_p99=0.5, lost=500, took=99.0
    )
    told = fleets.whole(Found(COSTS, [Row(LARGE, fleet, outcome)]))
    assert told.startswith("10,000,000 requests on 10,000 workers of 8 executors: 10,000,000 ended")
    assert "2.00 ms" in told
    assert "500 ms" in told


def test_predicted_stands_beside_measured() -> None:
    row = Row("check", Fleet(2), Outcome(throughput=40.0), Outcome(throughput=20.0))
    told = fleets.check(Found(COSTS, [row])).splitlines()
    assert told[2].startswith("| 2 | 40.0 / 20.0 (2.00) | 0 / 0 |")


def test_what_was_not_run_is_not_told() -> None:
    assert (
        fleets.fleets(None) == fleets.whole(None) == fleets.check(None) == fleets.costs(None) == ""
    )
    assert "| request | 100 |" in fleets.costs(Found(COSTS))
