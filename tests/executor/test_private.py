"""Private workers: processes that come and go with an executor."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from executor import Executor
from executor import private as private_room
from executor.private import PrivateWorkers

DEADLINE = 30.0  # seconds


def start(path: Path, *more: str, told: Any = None) -> PrivateWorkers:
    """One worker on a broker that nobody else uses."""
    arguments = ["--tasks-from-stdin", "--no-banner", "--log-level=error", "--concurrency=1", *more]
    workers = PrivateWorkers(
        1,
        arguments,
        {"TASKLINE_URL": f"local://{path}"},
        name="private-test",
        on_end=lambda name: None,
        on_hopeless=told or (lambda reason: None),
    )
    workers.start()
    return workers


def only(workers: PrivateWorkers) -> int:
    """The process id of the one worker."""
    (worker,) = workers._workers
    return worker.process.pid


def is_there(pid: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_offering_never_waits_for_a_worker_that_does_not_read(local_path: Path) -> None:
    """Many more functions than a pipe holds, while it stands still; it is told when it goes on."""
    workers = start(local_path)
    pid = only(workers)
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for number in range(5000):
            workers.offer(f"some.module.with.a.name:function_number_{number}")
        assert time.monotonic() - began < DEADLINE
        (worker,) = workers._workers
        assert worker._untold.endswith(b"function_number_4999\n")
    finally:
        workers.stop(timeout=0.1)
    assert not is_there(pid)


def test_what_was_offered_already_is_not_told_again(local_path: Path) -> None:
    workers = start(local_path)
    try:
        for _ in range(3):
            workers.offer("math:sqrt")
        assert list(workers._specs) == ["math:sqrt"]
    finally:
        workers.stop()


def test_stop_ends_them_and_may_be_called_twice(local_path: Path) -> None:
    workers = start(local_path)
    pid = only(workers)
    workers.stop()
    workers.stop()
    assert not is_there(pid)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--no-such-option"], "its command line is wrong"),
        (["no_such_module_anywhere"], "its tasks cannot be imported"),
    ],
)
def test_who_says_that_it_cannot_work_is_not_replaced(
    local_path: Path, words: list[str], reason: str
) -> None:
    reasons: list[str] = []
    told = threading.Event()

    def tell(why: str) -> None:
        reasons.append(why)
        told.set()

    workers = start(local_path, *words, told=tell)
    try:
        assert told.wait(DEADLINE)
        assert reason in reasons[0]
        workers._guard.join(DEADLINE)
        assert not workers._guard.is_alive()
    finally:
        workers.stop()


def test_one_that_is_killed_under_a_task_is_replaced_and_the_task_runs_again(
    local_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is seen, not waited for: a lease would be three minutes."""
    monkeypatch.setattr(private_room, "_MIRRORED", "NOTHING_")
    monkeypatch.setenv("TASKLINE_BEAT", "60")
    with Executor(f"local://{local_path}", workers=1) as executor:
        assert executor.submit(abs, -1).result(DEADLINE) == 1
        (first,) = executor.workers()
        private = executor._engine._private
        assert private is not None
        with caplog.at_level(logging.ERROR, "taskline.executor.private"):
            again = executor.submit(time.sleep, 1.0)
            os.kill(only(private), signal.SIGKILL)
            again.result(DEADLINE)
        (second,) = executor.workers()
        assert (second.name, second.boot) != (first.name, first.boot)
        assert list(second.topics) == [f"private.{executor._engine.id}"]
    assert "ended with -9" in caplog.text


def test_the_settings_of_other_workers_are_not_theirs(
    local_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who exports ``TASKLINE_…`` for workers started by hand still has private ones that work."""
    for name, value in {
        "DIALECT": "taskflow",
        "POOL": "threads",
        "CONCURRENCY": "nonsense",
        "URL": "redis://127.0.0.1:1/0",
        "EXCHANGE": "elsewhere",
    }.items():
        monkeypatch.setenv(f"TASKLINE_{name}", value)
    with Executor(f"local://{local_path}", workers=1) as executor:
        assert executor.submit(abs, -1).result(DEADLINE) == 1
