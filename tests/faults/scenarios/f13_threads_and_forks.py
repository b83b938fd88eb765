"""F13: sixty-four threads submit at once, and the process forks while they do."""

from __future__ import annotations

import os
import signal
import threading

from executor import Executor
from protocol.errors import ExecutorForked
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario
from tests.faults.stage import wait_for

THREADS = 64
REFUSED, WRONG = 10, 11  # exit codes of children


def play(play: Play) -> None:
    executor = play.executor()
    batch = Batch(executor)
    each = play.number("tasks") // THREADS
    with play.some_workers(2, concurrency=2):
        executor.wait_for_workers(1, 60)
        threads = [
            threading.Thread(target=_submit, args=(play, batch, each * n, each))
            for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        children = [_fork(play, executor, n) for n in range(play.number("forks"))]
        for thread in threads:
            thread.join(60)
        codes = [_code_of(child) for child in children]
        play.judge(batch, 120, again_allowed=0)
    play.note(children=codes)
    play.expect(set(codes) <= {REFUSED}, f"forked children ended with {codes}, not {REFUSED}")


def _submit(play: Play, batch: Batch, first: int, count: int) -> None:
    for number in range(first, first + count):
        batch.submit(number, errands.work, play.marks.folder, number)


def _fork(play: Play, executor: Executor, number: int) -> int:
    """A child that tries its parent's executor, which must say what it is."""
    child = os.fork()
    if child:
        return child
    code = WRONG
    try:
        executor.submit(errands.work, play.marks.folder, -1 - number)
    except ExecutorForked:
        code = REFUSED
    finally:
        os._exit(code)


def _code_of(child: int) -> int:
    found: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            found.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    if not wait_for(has_ended, 30):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return -1
    return found[0]


SCENARIO = Scenario(
    "F13",
    "threads and forks",
    "Sixty-four threads submit to one executor, while the process forks again and again; a child "
    "that uses its parent's executor is told so.",
    play,
    (*SHARED, "memory"),
    quick={"tasks": 640, "forks": 3, "deadline": 120},
    full={"tasks": 6_400, "forks": 20, "deadline": 300},
)
