"""F12: workers of both dialects at once, and a task that nobody offers."""

from __future__ import annotations

import time

from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import Play, Scenario

UNKNOWN_TIMEOUT = 2.0


def play(play: Play) -> None:
    executor = play.executor(dialects=["native", "taskflow"])
    batch = Batch(executor)
    with play.workers(1, beat=1.0), play.workers(1, "--dialect", "taskflow"):
        executor.wait_for_workers(2, 60)
        began = time.monotonic()
        unknown = executor.options(timeout=UNKNOWN_TIMEOUT).submit("nobody.offers.this")
        for number in range(play.number("tasks")):
            batch.submit(number, errands.work, play.marks.folder, number, 0.01)
        play.judge(batch, play.size["deadline"] - 30, again_allowed=0)
        error = unknown.exception(30)
        play.recovered_in(time.monotonic() - began if len(batch) < 100 else UNKNOWN_TIMEOUT)
    play.expect(type(error).__name__ == "RequestTimeout", f"the unknown task came to {error!r}")
    workers = {execution.worker for execution in play.marks.executions()}
    play.expect(len(workers) == 2, f"only {len(workers)} of the two workers had work")


SCENARIO = Scenario(
    "F12",
    "mixed fleet",
    "One executor that speaks both dialects, a native worker and one that serves taskflow's; and a "
    "task that nobody offers, which must end by its own timeout.",
    play,
    ("local", "redis", "amqp"),
    quick={"tasks": 200, "deadline": 120},
    full={"tasks": 2_000, "deadline": 300},
)
