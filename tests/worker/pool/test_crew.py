"""Limits, and what becomes of all that a task has started, however its run ends."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from protocol.failure import to_exception
from protocol.task import MAX_LIMIT
from tests.processes import DEADLINE, is_alive, wait_until
from tests.samples.inbox import Inbox, work
from worker.pool import crew
from worker.pool.processes import ProcessesPool
from worker.work import Ended, Started, TaskEvent

TASKS = "tests.samples.overlong"
LIMIT = 0.15  # seconds
REACHED = 0.4  # seconds in which a task has begun to do what it is for, on a busy machine
OVERSHOOT = 1.0  # seconds; what is promised
TRIES = 3  # one of which is that quick, also where other programs take the processors

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")


@pytest.fixture
def inbox() -> Inbox:
    """Where the pool of a test reports to."""
    return Inbox()


@pytest.fixture
def pool(inbox: Inbox) -> Iterator[ProcessesPool]:
    """A pool of one host with tasks that do not end by themselves."""
    pool = ProcessesPool([TASKS], 1)
    pool.start(inbox)
    yield pool
    pool.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, where processes note their ids."""
    (tmp_path / "noted").mkdir()
    return tmp_path / "noted"


def run(pool: ProcessesPool, inbox: Inbox, key: int, task: str, *args: Any, **fields: Any) -> Ended:
    """Run one of the tasks to its end."""
    pool.run(work(key, f"{TASKS}.{task}", *args, **fields))
    return inbox.ended(key)


def noted(folder: Path, count: int) -> list[int]:
    """Wait for so many notes; the ids of the processes that made them."""
    wait_until(lambda: len(list(folder.iterdir())) >= count, f"{count} processes")
    return [int(note.name.rpartition("-")[2]) for note in folder.iterdir()]


def left_of(pids: list[int]) -> list[int]:
    """Those that are still there."""
    return [pid for pid in pids if is_alive(pid)]


# -- time limits


@pytest.mark.parametrize(
    "task",
    [
        "spin",
        "sleep_on",
        "read_for_ever",
        "hold_the_interpreter",
        "hear_nothing",
        "stop_itself",
        "speak_for_ever",
        "await_on",
    ],
)
def test_a_task_is_ended_at_its_limit_whatever_it_does(
    pool: ProcessesPool, inbox: Inbox, task: str
) -> None:
    took: list[float] = []
    while min(took, default=math.inf) >= LIMIT + OVERSHOOT:
        assert len(took) < TRIES, f"the limit of {LIMIT} s took {took} s"
        key = 3 * len(took)
        host = run(pool, inbox, key, "process_id").result
        handed_over = time.monotonic()
        ended = run(pool, inbox, key + 1, task, time_limit=LIMIT)
        took.append(time.monotonic() - handed_over)
        assert ended.end == "limit"
        assert took[-1] >= LIMIT
        assert not is_alive(host)
        assert run(pool, inbox, key + 2, "process_id").result != host


def test_the_failure_says_task_limit_and_what_to_do(pool: ProcessesPool, inbox: Inbox) -> None:
    ended = run(pool, inbox, 1, "sleep_on", time_limit=0.05)
    error = to_exception(ended.failure, "w1")
    assert type(error) is TimeLimitExceeded
    assert f"{TASKS}.sleep_on ran for its time_limit of 0.05 s" in str(error)
    assert "give it less to do or a longer limit" in str(error)
    assert isinstance(inbox.of(1)[0], Started)
    assert inbox.of(1)[-1] == ended


@on_linux
@pytest.mark.parametrize("way", ["limit", "end", "stop"])
def test_all_that_a_task_has_started_ends_with_it(
    pool: ProcessesPool, inbox: Inbox, folder: Path, way: str
) -> None:
    limit = 1.5 if way == "limit" else None
    pool.run(work(1, f"{TASKS}.scatter", str(folder), time_limit=limit))
    pids = noted(folder, 6)
    if way == "end":
        pool.end(1)
    elif way == "stop":
        pool.stop()
    ended = inbox.ended(1)
    assert ended.end == ("limit" if way == "limit" else "stopped")
    assert left_of(pids) == []


@on_linux
@pytest.mark.parametrize(
    ("way", "how"),
    [("exit", "exit code 3"), ("crash", "signal 11 (SIGSEGV)"), ("kill", "signal 9 (SIGKILL)")],
)
def test_all_that_a_task_has_started_ends_though_it_was_its_host_that_went_first(
    pool: ProcessesPool, inbox: Inbox, folder: Path, way: str, how: str
) -> None:
    ended = run(pool, inbox, 1, "scatter_and_die", str(folder), way)
    assert ended.end == "crash"
    assert ended.failure is not None
    assert how in ended.failure["exception_str"]
    assert left_of(noted(folder, 6)) == []
    assert isinstance(run(pool, inbox, 2, "process_id").result, int)


@on_linux
def test_a_bomb_of_fifty_processes_is_cleared_away(
    pool: ProcessesPool, inbox: Inbox, folder: Path
) -> None:
    assert run(pool, inbox, 1, "bomb", str(folder), 50).end == "crash"
    assert left_of(noted(folder, 50)) == []


def test_nobody_else_is_hit(inbox: Inbox, folder: Path) -> None:
    """Neither a process of the program's own, nor the other host with its children."""
    stranger = subprocess.Popen(["sleep", "600"])
    pool = ProcessesPool([TASKS], 2)
    pool.start(inbox)
    try:
        pool.run(work(1, f"{TASKS}.scatter", str(folder)))
        others = noted(folder, 6)
        assert run(pool, inbox, 2, "bomb", str(folder.parent), 3).end == "crash"
        assert run(pool, inbox, 3, "spin", time_limit=0.05).end == "limit"
        assert left_of(others) == others
        assert stranger.poll() is None
    finally:
        pool.stop()
        stranger.kill()
        stranger.wait()


def test_the_time_counts_from_the_hand_over(pool: ProcessesPool, inbox: Inbox) -> None:
    pool.run(work(1, f"{TASKS}.return_after", 1.2))
    pool.run(work(2, f"{TASKS}.return_after", 0.01, time_limit=1.0))
    assert inbox.ended(2).result == "returned"


def test_an_end_that_has_come_in_by_the_limit_is_in_time(inbox: Inbox) -> None:
    """Also if the pool's thread was held up, and comes to look only long after the limit."""
    has_begun, go_on = threading.Event(), threading.Event()

    def slow_inbox(reports: list[Any]) -> None:
        inbox(reports)
        if any(isinstance(report, Started) for report in reports):
            has_begun.set()
            go_on.wait(20)

    pool = ProcessesPool([TASKS], 1)
    pool.start(slow_inbox)
    try:
        pool.run(work(1, f"{TASKS}.return_after", 0.2, time_limit=1.0))
        assert has_begun.wait(20)
        threading.Timer(1.3, go_on.set).start()
        assert inbox.ended(1) == Ended(1, "returned")
    finally:
        pool.stop()


def test_the_longest_limit_there_is_can_be_kept(pool: ProcessesPool, inbox: Inbox) -> None:
    limits = {"time_limit": MAX_LIMIT, "soft_time_limit": MAX_LIMIT}
    assert run(pool, inbox, 1, "return_after", 0.05, **limits).result == "returned"
    assert run(pool, inbox, 2, "return_after", 0.0, **limits).result == "returned"


def test_the_shortest_too(pool: ProcessesPool, inbox: Inbox) -> None:
    assert run(pool, inbox, 1, "sleep_on", time_limit=0.001).end == "limit"
    ended = run(pool, inbox, 2, "sleep_on", soft_time_limit=0.001)
    assert type(to_exception(ended.failure)) is SoftTimeLimitExceeded


def test_a_task_that_ends_about_its_limit_has_one_end_and_leaves_the_pool_well(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    for key in range(1, 9):
        ended = run(pool, inbox, key, "return_after", 0.03, time_limit=0.03 + key % 3 * 0.001)
        assert ended.end in ("done", "limit")
        assert sum(isinstance(report, Ended) for report in inbox.of(key)) == 1
    assert run(pool, inbox, 100, "return_after", 0.0, time_limit=20).result == "returned"


def test_a_host_that_is_not_gone_soon_is_reported_all_the_same(
    pool: ProcessesPool, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a disk: here it is the warden who is stopped."""
    monkeypatch.setattr(crew, "TELL_AFTER", 0.1)
    monkeypatch.setattr(crew, "WARDEN_PATIENCE", 0.3)
    host = run(pool, inbox, 1, "process_id").result
    warden = int(Path(f"/proc/{host}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(warden, signal.SIGSTOP)
    assert run(pool, inbox, 2, "sleep_on", time_limit=0.05).end == "limit"
    assert run(pool, inbox, 3, "process_id").result != host
    wait_until(lambda: not is_alive(host), "the host to end with its warden")


def test_both_are_kept_where_processes_have_no_descriptors(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    pool = ProcessesPool([TASKS], 1)
    pool.start(inbox)
    try:
        assert run(pool, inbox, 1, "catch", soft_time_limit=REACHED).result.startswith("caught")
        assert run(pool, inbox, 2, "spin", time_limit=0.05).end == "limit"
    finally:
        pool.stop()


# -- soft time limits


@pytest.mark.parametrize(
    "task",
    ["sleep_on", "read_for_ever", "wait_for_a_lock", "wait_for_a_program", "spin", "await_on"],
)
def test_the_soft_limit_is_raised_in_the_task_and_arrives_as_itself(
    pool: ProcessesPool, inbox: Inbox, task: str
) -> None:
    host = run(pool, inbox, 1, "process_id").result
    ended = run(pool, inbox, 2, task, soft_time_limit=0.05)
    assert ended.end == "done"
    error = to_exception(ended.failure, "w1")
    assert type(error) is SoftTimeLimitExceeded
    assert f"{TASKS}.{task} has run for its soft_time_limit of 0.05 s" in str(error)
    assert error.remote.worker == "w1"  # type: ignore[attr-defined]
    assert run(pool, inbox, 3, "process_id").result == host, "it lives on"


def test_a_task_may_catch_it_clean_up_and_return(pool: ProcessesPool, inbox: Inbox) -> None:
    ended = run(pool, inbox, 1, "catch", soft_time_limit=REACHED, time_limit=20)
    assert ended.failure is None
    assert ended.result.startswith("caught: ")


def test_a_task_that_ends_before_its_soft_limit_is_not_told(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    assert run(pool, inbox, 1, "catch", 0.0, soft_time_limit=20).result == "slept"
    assert run(pool, inbox, 2, "catch", 0.3).result == "slept", "nor is the next one"


def test_one_that_goes_on_all_the_same_reaches_its_time_limit(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    assert (
        run(pool, inbox, 1, "hear_nothing", soft_time_limit=REACHED, time_limit=1.0).end == "limit"
    )


def test_a_task_class_is_told_in_execute_and_its_hooks_run(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    assert run(pool, inbox, 1, "Patient", soft_time_limit=REACHED).result == ["execute", "post"]
    ended = run(pool, inbox, 2, "Patient", soft_time_limit=0.05, action="revert")
    assert type(to_exception(ended.failure)) is SoftTimeLimitExceeded


def test_it_never_cuts_a_message_in_two(pool: ProcessesPool, inbox: Inbox) -> None:
    ended = run(pool, inbox, 1, "speak_for_ever", soft_time_limit=REACHED)
    assert type(to_exception(ended.failure)) is SoftTimeLimitExceeded
    assert any(isinstance(report, TaskEvent) for report in inbox.of(1))
    assert isinstance(run(pool, inbox, 2, "process_id").result, int), "what follows is understood"


def test_alarms_are_the_tasks_own(pool: ProcessesPool, inbox: Inbox) -> None:
    assert run(pool, inbox, 1, "ring_twice", soft_time_limit=REACHED).result == ["alarm", "limit"]


def test_a_task_that_takes_the_signal_takes_it_from_itself_alone(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    assert run(pool, inbox, 1, "take_the_signal").result == "taken"
    assert run(pool, inbox, 2, "catch", soft_time_limit=REACHED).result.startswith("caught")


def test_it_is_raised_again_where_python_has_dropped_it(pool: ProcessesPool, inbox: Inbox) -> None:
    assert run(pool, inbox, 1, "end_in_vain", soft_time_limit=REACHED).result == "caught at last"


def test_a_forked_child_of_the_task_is_not_told(pool: ProcessesPool, inbox: Inbox) -> None:
    assert run(pool, inbox, 1, "fork_over_the_limit", soft_time_limit=REACHED).result == [42]


def test_limits_at_the_very_end_of_tasks_never_reach_the_next(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    """The real thing: the pool's clock, the warden's signal, one task after the other."""
    ends: dict[str, int] = {"done": 0, "told": 0}
    slack, key, began = 0.0, 0, time.monotonic()
    while min(ends.values()) <= 5 or time.monotonic() < began + 0.8:
        assert time.monotonic() < began + DEADLINE, ends
        ended = run(pool, inbox, key, "return_after", 0.002, soft_time_limit=0.0025 + slack)
        told = type(to_exception(ended.failure)) is SoftTimeLimitExceeded
        assert told or ended.result == "returned"
        ends["told" if told else "done"] += 1
        slack = max(-0.002, slack + (0.0001 if told else -0.0001))
        assert run(pool, inbox, key + 1, "return_after", 0.0).result == "returned"
        inbox.reports.clear()
        key += 2
