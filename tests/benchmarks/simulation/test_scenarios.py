from __future__ import annotations

import dataclasses

from benchmarks.simulation import scenarios
from benchmarks.simulation.fleet import LARGE, ONE, PARTED
from tests.benchmarks.simulation.costs import COSTS


def test_executors_are_added_until_all_workers_are_held_and_those_are_taken_for_the_large_one() -> (
    None
):
    slow = dataclasses.replace(COSTS, beat=3e-3)
    rows = list(scenarios.small_ones(slow, 600))
    assert [row.fleet.workers for row in rows if row.group == ONE] == [100, 300, 600]
    parted = [row for row in rows if row.group == PARTED]
    assert [row.predicted.holds for row in parted] == [False] * (len(parted) - 1) + [True]
    large = scenarios.large_one(slow, rows, 600, 10_000)
    assert large.group == LARGE
    assert large.fleet.executors == parted[-1].fleet.executors
    assert large.predicted.ended == 10_000
    assert large.predicted.lost >= 10
