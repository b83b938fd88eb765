"""What is measured for the model, on a real broker; one fleet in earnest."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from benchmarks.simulation import calibration, check
from benchmarks.simulation.model import World
from bus.wire.testing import PrivateRedis
from tests.private import demand
from tests.processes import PROJECT


@pytest.mark.slow
def test_a_small_fleet_in_earnest_sends_as_many_messages_as_the_model_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The processes of a pool look where this one does, and the benchmarks are not installed.
    monkeypatch.setattr(sys, "path", [*sys.path, str(PROJECT)])
    with demand(PrivateRedis()) as redis:
        costs = calibration.measure("redis", redis.url, (redis.pid,), repeats=1)
        for name, value in dataclasses.asdict(costs).items():
            assert value == "redis" or value >= 0, name
        assert costs.request > 0.0
        assert costs.publish > 0.0
        fleet = check.fleet_of(2, 2.0)
        measured = check.run(fleet, redis.url, (redis.pid,))
    predicted = World(fleet, costs).run()
    for name in ("executor_in", "executor_out"):
        for_each = [
            getattr(outcome, name) / outcome.throughput for outcome in (predicted, measured)
        ]
        assert for_each[0] == pytest.approx(for_each[1], rel=0.5), name
