"""The thread that owns the shift: what it survives, and what becomes of a worker without it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

import pytest

from executor import Executor
from protocol.topology import Names
from tests.processes import wait_until
from tests.samples import tasks
from worker import Worker
from worker.keeper import Drain, Heard, Keeper, Reported, clock
from worker.shift import Shift
from worker.work import Ended, Started, TaskEvent

TASKS = "tests.samples.tasks"
DEADLINE = 20.0  # seconds

#: What no listener ever makes.
IMPOSSIBLE = Heard(cast("Any", [None]))


@pytest.fixture
def settings(exchange: str) -> dict[str, Any]:
    """For a worker that is up within milliseconds."""
    return {"url": "memory://", "exchange": exchange, "pool": "threads", "concurrency": 2}


def keeper_of(worker: Worker) -> Keeper:
    """The one door to it."""
    return worker._keeper


def test_the_clock_goes_on_in_seconds() -> None:
    before, at = clock(), time.monotonic()
    threading.Event().wait(0.02)
    assert abs((clock() - before) - (time.monotonic() - at)) < 0.02


def test_a_bug_ends_the_worker_with_an_error_and_one_line_in_the_log(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "taskline"), Worker([TASKS], **settings) as worker:
        keeper_of(worker).put(IMPOSSIBLE)
        assert worker.wait(DEADLINE)
        assert isinstance(worker.error, AttributeError)
    fatal = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.name for record in fatal] == ["taskline.worker.keeper"]
    assert "ended by a bug; the worker goes down" in fatal[0].message
    assert fatal[0].exc_info is not None
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 3


def test_after_a_bug_it_swallows_nothing_that_another_could_take(
    settings: dict[str, Any], exchange: str
) -> None:
    """In taskflow's dialect all workers of a topic read the same queue."""
    settings["dialect"] = "taskflow"
    with (
        Worker([TASKS], name="broken", **settings) as broken,
        Executor("memory://", exchange=exchange, dialects=["taskflow"]) as executor,
    ):
        executor.wait_for_workers(1, DEADLINE)
        keeper_of(broken).put(IMPOSSIBLE)
        assert broken.wait(DEADLINE)
        futures = [executor.submit(tasks.add, x=number) for number in range(20)]
        with Worker([TASKS], name="whole", **settings):
            assert [future.result(DEADLINE) for future in futures] == list(range(20))


def test_a_report_about_a_run_that_nobody_knows_is_no_bug(settings: dict[str, Any]) -> None:
    with Worker([TASKS], **settings) as worker:
        keeper_of(worker).put(Reported([Started(99), TaskEvent(99, "x", {}), Ended(99, 1)]))
        worker.drain()
        assert worker.wait(DEADLINE)
        assert worker.error is None


def test_what_cannot_be_offered_is_a_line_in_the_log(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "taskline.worker.keeper")
    with Worker([TASKS], **settings) as worker:
        worker.offer("no_such_module_anywhere")
        wait_until(lambda: "no_such_module_anywhere" in caplog.text, "the line")
    assert "cannot offer 'no_such_module_anywhere'" in caplog.text


def test_drains_may_come_from_anywhere_and_the_shortest_counts(settings: dict[str, Any]) -> None:
    with Worker([TASKS], **settings) as worker:
        threads = [threading.Thread(target=worker.drain, args=(n,)) for n in (30, 0.5, 60)]
        for thread in threads:
            thread.start()
        assert worker.wait(DEADLINE)


def test_a_keeper_may_be_stopped_twice_before_its_start_and_told_things_after_its_end(
    settings: dict[str, Any],
) -> None:
    worker = Worker([TASKS], **settings)
    keeper = keeper_of(worker)
    keeper.stop()
    keeper.stop()
    keeper.start()
    assert keeper.done.wait(DEADLINE)
    keeper.put(Drain(1.0))
    keeper.put(IMPOSSIBLE)
    keeper.stop()
    assert keeper.error is None


def test_it_sleeps_until_there_is_something_to_do(exchange: str) -> None:
    """Beats are the only thing that wakes an idle one."""
    shift = Shift(Names("native", exchange), ("t",), worker="w", boot="0" * 16, slots=1)
    shift.tick(clock())
    assert shift.next_deadline() - clock() > 1
