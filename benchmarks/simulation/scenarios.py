"""Which fleets are looked at, and which of them is the large one. Pure, but that it runs the model.

A worker has one slot and its tasks take ten seconds on average, and nine tenths of all slots are in
use: so there are nine requests a second for every hundred workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from benchmarks.simulation.costs import Costs
from benchmarks.simulation.files import Row
from benchmarks.simulation.fleet import BEATS, FREE, LARGE, ONE, PARTED, Fleet
from benchmarks.simulation.model import World

_USE: Final = 0.9
_SECONDS: Final = 60.0  # that each is looked at while settings are tried
_WEEK: Final = 7 * 86400.0  # seconds


def small_ones(costs: Costs, workers: int) -> Iterator[Row]:
    """More and more workers, then more and more executors for all of them."""
    for count in _up_to(workers):
        yield _row(ONE, _fleet(count), costs)
    executors = 2
    while executors <= 64 and workers // executors >= 1:
        row = _row(PARTED, _fleet(workers, executors=executors), costs)
        yield row
        yield _row(BEATS, _fleet(workers, executors=executors, beat=60.0), costs)
        if row.predicted.holds:
            break
        executors *= 2
    light = dataclasses.replace(costs, choose=0.0, expiry=0.0)
    for count in _up_to(workers):
        yield _row(FREE, _fleet(count), light)


def large_one(costs: Costs, rows: list[Row], workers: int, requests: int) -> Row:
    """As few executors as hold; workers die once a week each, and one in twenty all at once."""
    holding = [row for row in rows if row.group == PARTED and row.predicted.holds]
    parted = [row.fleet.executors for row in holding or rows if row.group == PARTED]
    fleet = dataclasses.replace(
        _fleet(workers, executors=min(parted) if holding else max(parted, default=1)),
        requests=requests,
        seconds=float("inf"),
        life=_WEEK,
        at_once=workers // 20,
    )
    return _row(LARGE, fleet, costs)


def _up_to(workers: int) -> list[int]:
    steps = (100, 300, 1_000, 2_000, 3_000, 5_000)
    return [*(step for step in steps if step < workers), workers]


def _fleet(workers: int, *, executors: int = 1, beat: float = 5.0) -> Fleet:
    fleet = Fleet(workers, executors=executors, beat=beat, seconds=_SECONDS)
    rate = _USE * fleet.capacity
    return dataclasses.replace(fleet, rate=rate, requests=int(rate * _SECONDS))


def _row(group: str, fleet: Fleet, costs: Costs) -> Row:
    return Row(group, fleet, World(fleet, costs).run())
