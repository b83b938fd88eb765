"""F11: a hundred thousand requests wait, an executor dies with them, and all are done."""

from __future__ import annotations

import time
from itertools import pairwise

from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario
from tests.faults.stage import rss_bytes


def play(play: Play) -> None:
    """The queue first, then the workers: the last must be as quick as the first."""
    executor = play.executor()
    batch = Batch(executor)
    count = play.many("tasks")
    began = time.monotonic()
    for number in range(count):
        batch.submit(number, errands.work, play.marks.folder, number)
    submitting = time.monotonic() - began
    with play.some_workers(2, concurrency=2) as workers:
        executor.wait_for_workers(1 if play.broker == "memory" else 2, 60)
        began = time.monotonic()
        play.judge(batch, play.size["deadline"] - 60, again_allowed=0)
        took = time.monotonic() - began
        memory = max(rss_bytes(worker) for worker in workers) / 1e6
    ended = sorted(batch.ended_at.values())
    tenths = [ended[n] for n in range(0, len(ended), max(1, count // 10))]
    rates = [round(count / 10 / (b - a)) for a, b in pairwise(tenths)]
    play.note(
        submitted_a_second=round(count / submitting),
        done_a_second=round(count / took),
        rates_by_tenths=rates,
        worker_mb=round(memory),
    )
    if play.broker != "memory":  # where it is the executor's, too
        play.expect(memory < 150, f"a worker takes {memory:.0f} MB")


SCENARIO = Scenario(
    "F11",
    "100,000 queued",
    "All requests are submitted before the first worker is there, then two workers do them. "
    "Looked at: the rate of each tenth, and the workers' memory.",
    play,
    (*SHARED, "memory"),
    quick={"tasks": 3_000, "deadline": 180},
    full={"tasks": 100_000, "deadline": 900},
)
