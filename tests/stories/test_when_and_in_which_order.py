"""Priority and delay: one meaning on every broker, because the executor keeps what waits."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from executor import Executor
from tests.processes import DEADLINE, wait_until
from tests.samples import tasks
from worker import Worker


def test_the_higher_priority_goes_first_and_a_delayed_one_when_it_may(
    broker_url: str, exchange: str, tmp_path: Path
) -> None:
    """One slot, which is taken until everything has been submitted."""
    gate = tmp_path / "gate"
    offers = [tasks.__name__, "time:time"]
    worker = Worker(offers, url=broker_url, exchange=exchange, pool="threads", concurrency=1)
    order: list[str] = []
    with worker, Executor(broker_url, exchange=exchange) as executor:
        executor.wait_for_workers(1, DEADLINE)
        first = executor.submit(tasks.wait_for_file, str(gate))
        wait_until(first.running, "the slot to be taken")
        for name, options in {
            "first of the usual": {},
            "background": {"priority": -10},
            "second of the usual": {},
            "urgent": {"priority": 10},
            "urgent, later": {"priority": 10, "delay": 1.0},
        }.items():
            future = executor.options(**options).submit(tasks.add, 1)  # type: ignore[arg-type]
            future.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
        submitted = time.monotonic()
        at = datetime.now(timezone.utc) + timedelta(seconds=0.5)
        timed = executor.options(eta=at).submit(time.time)
        gate.touch()
        assert timed.result(DEADLINE) >= at.timestamp()
        wait_until(lambda: len(order) == 5, "all to have run")
        assert time.monotonic() - submitted >= 1.0
    assert order[0] == "urgent"
    assert [name for name in order if "urgent" not in name] == [
        "first of the usual",
        "second of the usual",
        "background",
    ]


def test_what_is_due_at_one_moment_goes_in_the_order_it_was_submitted(exchange: str) -> None:
    """Each call reads the clocks anew, and it is one moment all the same."""
    order: list[int] = []
    at = datetime.now(timezone.utc) + timedelta(seconds=1)
    offers = ["builtins:abs"]
    worker = Worker(offers, url="memory://", exchange=exchange, pool="threads", concurrency=1)
    with worker, Executor("memory://", exchange=exchange) as executor:
        executor.wait_for_workers(1, DEADLINE)
        for n in range(300):
            future = executor.options(eta=at).submit(abs, n)
            future.add_done_callback(lambda done: order.append(done.result()))
    assert order == list(range(300))
