"""F10: much is submitted, and the worker, or the way to the executor, is slow."""

from __future__ import annotations

import os
import time

from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario
from tests.faults.stage import rss_bytes

MEGABYTE = 1e6


def play(play: Play) -> None:
    """One slot, a task of a tenth of a second, thousands of requests: the worker must not hoard."""
    executor = play.executor()
    batch = Batch(executor)
    with play.workers(1, concurrency=1, beat=1.0) as killer:
        executor.wait_for_workers(1, 60)
        batch.submit(0, errands.work, play.marks.folder, 0)
        batch.wait(60)
        (worker,) = killer.workers
        worker_before, executor_before = rss_bytes(worker.pid), rss_bytes(os.getpid())
        for number in range(1, play.number("tasks")):
            batch.submit(number, errands.work, play.marks.folder, number, 0.1)
        submitted_mb = (rss_bytes(os.getpid()) - executor_before) / MEGABYTE
        until = time.monotonic() + play.size["seconds"]
        silence = worker_grew = 0.0
        while time.monotonic() < until:
            time.sleep(0.5)
            worker_grew = max(worker_grew, rss_bytes(worker.pid) - worker_before)
            silence = max(silence, *(info.silent for info in executor.workers()))
        for number, future in batch.futures.items():
            if not future.done() and future.cancel():
                del batch.expected[number]
        cancelled = [n for n in batch.futures if n not in batch.expected]
        for number in cancelled:
            play.expect(batch.futures[number].cancelled(), f"{number} was cancelled and is not")
            del batch.futures[number]
        play.judge(batch, 30, again_allowed=0)
    play.note(
        worker_grew_mb=round(worker_grew / MEGABYTE, 1),
        executor_grew_mb=round(submitted_mb, 1),
        silence=round(silence, 2),
        left_waiting=len(cancelled),
    )
    play.expect(worker_grew < 50 * MEGABYTE, f"the worker grew by {worker_grew / MEGABYTE:.0f} MB")
    play.expect(silence < 3.0, f"the worker was silent for {silence:.1f} s, a lease")


SCENARIO = Scenario(
    "F10",
    "slow worker",
    "Thousands of requests for a worker that runs ten a second. It must hold no more than its "
    "credit, stay within 50 MB, and be heard from all the while; what still waits at the end is "
    "cancelled, and never runs.",
    play,
    SHARED,
    quick={"tasks": 2_000, "seconds": 5, "deadline": 120},
    full={"tasks": 20_000, "seconds": 60, "deadline": 300},
)
