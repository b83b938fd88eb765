"""A broker that is away for longer than a lease costs nobody his request."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bus.wire.testing import PrivateRedis
from protocol.task import Delivery
from protocol.timing import lease
from tests.private import demand
from tests.processes import DEADLINE, wait_until
from tests.stories.stage import BEAT, Stage


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_what_runs_meanwhile_is_waited_for_and_started_once(
    delivery: Delivery, tmp_path: Path, exchange: str
) -> None:
    """Also what is at most once: silence proves nothing about a worker that nobody can hear."""
    with demand(PrivateRedis()) as redis:
        stage = Stage(redis.url, exchange, tmp_path)
        with stage.worker(), stage.worker(), stage.executor() as executor:
            executor.wait_for_workers(2, DEADLINE)
            picky = executor.options(delivery=delivery)
            future = picky.submit("chores.chore", "one", str(stage.gate()))
            stage.wait_for("one")
            wait_until(future.running, "the executor to know that it runs")
            redis.kill()
            gone = time.monotonic()
            stage.gate().touch()
            wait_until(lambda: time.monotonic() > gone + 3 * lease(BEAT), "three leases to pass")
            assert not future.done()
            redis.restart()
            assert future.result(DEADLINE) == "one"
        assert stage.marks() == {"one": 1}
