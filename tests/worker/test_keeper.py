"""The thread that owns the shift: what it survives, and what becomes of a worker without it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

import pytest

from executor import Executor
from protocol.errors import TasklineError
from protocol.parcel import Parcel
from protocol.timing import KEEP
from protocol.topology import Names
from tests.processes import wait_until
from tests.samples import tasks
from tests.worker.executors import BOOT, TASK, Native, told
from worker import Worker
from worker import keeper as room
from worker.clock import clock
from worker.effects import Send
from worker.keeper import Drain, Heard, Keeper, Reported
from worker.pool import make_pool
from worker.shift import Shift
from worker.work import Ended, Offer, PoolEnded, Started, TaskEvent

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
    began, before, at = time.monotonic(), clock(), time.monotonic()
    threading.Event().wait(0.02)
    least, passed = time.monotonic() - at, clock() - before
    # Not to the last digit: the two may be of different kinds.
    assert least - 0.001 <= passed <= time.monotonic() - began + 0.001


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
    assert time.monotonic() - began < DEADLINE


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
    shift = Shift(Names("native", exchange), ("t",), worker="w", boot=BOOT, slots=1)
    shift.tick(clock())
    assert shift.next_deadline() - clock() > 1


def test_a_pool_that_ended_by_a_bug_ends_the_worker_with_an_error(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "taskline"), Worker([TASKS], **settings) as worker:
        keeper_of(worker).put(Reported([PoolEnded("its thread ended by a bug")]))
        assert worker.wait(DEADLINE)
        assert isinstance(worker.error, TasklineError)
        assert str(worker.error) == "its thread ended by a bug"
    fatal = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert fatal == ["the pool ended by a bug; the worker goes down: its thread ended by a bug"]


class Line:
    """Where a publisher would be; ``is_away`` is its broker."""

    def __init__(self, *, is_away: bool) -> None:
        self.is_away = is_away
        self.sent: list[Parcel] = []

    def send(self, parcels: list[Parcel]) -> None:
        """Take them."""
        self.sent += parcels


def keeper(shift: Shift, line: Line, *, is_listening: bool = True) -> Keeper:
    """One that is not started: its turns are taken by hand."""
    pool = make_pool("threads", (TASKS,), 1)
    return Keeper(shift, pool, cast("Any", line), name="k", is_listening=lambda: is_listening)


def shift_with_a_result(now: float) -> Shift:
    """It keeps one result, told just now."""
    shift = Shift(Names("native", "test"), ("t",), worker="w", boot=BOOT, slots=1)
    shift.offering([Offer(TASK)], now)
    shift.heard([Native().request("u1", 1, start_by=now + 60)], now)
    shift.reported([Ended(1)], now)
    return shift


@pytest.mark.parametrize("is_away", [False, True])
def test_what_is_said_again_anyway_does_not_pile_up_while_the_broker_is_away(is_away: bool) -> None:
    line = Line(is_away=is_away)
    one = keeper(shift_with_a_result(clock() - 7.0), line)
    one.put(Drain(30.0))
    one._turn()  # a beat, the result again; and a goodbye, which is said once
    words = ["ANSWER t to test.native_ex-1", "HELD ended 1:1", "SUCCESS u1"]
    said = told([Send(parcel) for parcel in line.sent])
    assert said == (["ANSWER t to all"] if is_away else ["ANSWER t to all", *words])


def test_nobody_is_given_up_while_nothing_can_reach_us() -> None:
    """A broker that is away for longer than results are kept must not cost what runs."""
    shift, line = shift_with_a_result(clock() - KEEP - 30.0), Line(is_away=False)
    deaf = keeper(shift, line, is_listening=False)
    deaf.put(Reported([]))  # or it would wait for the next beat
    deaf._turn()
    assert shift.kept == (1, 0)
    again = keeper(shift, line)
    again._was_listening = False
    again.put(Reported([]))
    again._turn()
    assert shift.kept == (1, 0)
    assert shift.counts["given_up"] == 0
    shift.tick(clock() + KEEP + 30.0)
    assert (shift.kept, shift.counts["given_up"]) == ((0, 0), 1)


def test_what_is_lost_is_told_in_the_log_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    monkeypatch.setattr(room, "clock", lambda: times[-1])
    caplog.set_level(logging.WARNING, "taskline.worker.keeper")
    shift = Shift(Names("native", "test"), ("t",), worker="w", boot=BOOT, slots=1)
    one = keeper(shift, Line(is_away=False))
    for at, dropped, lines in ((1000.0, 3, 1), (1010.0, 4, 1), (1061.0, 0, 2), (1200.0, 0, 2)):
        times.append(at)
        shift.counts["dropped"] += dropped
        one.put(Reported([]))
        one._turn()
        assert len(caplog.records) == lines
    assert caplog.records[0].message.startswith("3 results were thrown away")
    assert caplog.records[1].message.startswith("4 results were thrown away")
