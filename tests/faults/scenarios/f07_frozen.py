"""F7: a worker, or an executor, stands still for longer than anybody waits for it, and goes on."""

from __future__ import annotations

import time

from bus.wire.testing import Freezer
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario

WORKERS, SLOTS, BEAT = 2, 2, 1.0
LEASE = 3 * BEAT
EXECUTORS_REQUESTS = 40


def play(play: Play) -> None:
    with play.workers(WORKERS, concurrency=SLOTS, beat=BEAT) as killer:
        if play.variant == "executor":
            _freeze_executor(play)
            return
        executor = play.executor()
        executor.wait_for_workers(WORKERS, 60)
        batch = Batch(executor)
        for number in range(play.number("tasks")):
            batch.submit(number, errands.work, play.marks.folder, number, 0.1)
        frozen_until = []
        for _ in range(play.number("cycles")):
            time.sleep(play.random.uniform(0.5, 1.0))
            worker = play.random.choice(killer.workers)
            with Freezer(worker.pid):
                time.sleep(LEASE + play.random.uniform(1.0, 3.0))
            frozen_until.append(time.monotonic())
        play.judge(batch, 120, again_allowed=play.number("cycles") * SLOTS)
        begun = play.marks.first_begin_after(frozen_until[-1])
        play.note(frozen=len(frozen_until), went_on_afterwards=begun is not None)


def _freeze_executor(play: Play) -> None:
    """Its results wait for it at the workers, and its leases do not run out by its own sleep."""
    count = EXECUTORS_REQUESTS
    name = "sleeper"
    process = play.submitter(
        *("--name", name, "--journal", str(play.folder / "journal"), "--count", str(count)),
        *("--outcomes", str(play.folder / "outcomes"), "--said", str(play.folder / "said")),
        *("--seconds", "0.3"),
    )
    while len(play.marks.executions()) < 4 and process.poll() is None:
        time.sleep(0.05)
    with Freezer(process.pid):
        time.sleep(LEASE + play.random.uniform(1.0, 3.0))
    began = time.monotonic()
    code = process.wait(60)
    play.result.recover = round(time.monotonic() - began, 2)
    lines = (play.folder / "outcomes").read_text().splitlines()
    right = {f"{number} {number}" for number in range(count)}
    play.result.tasks = count
    play.result.lost = len(right - set(lines))
    play.result.doubled = len(lines) - len({line.partition(" ")[0] for line in lines})
    play.result.again, play.result.again_allowed = play.marks.executed_again(), 0
    play.expect(code == 0, f"the executor ended with {code}")
    play.expect(not right - set(lines), f"not right: {sorted(set(lines) - right)}")
    play.expect(play.result.again == 0, f"{play.result.again} were executed again")


SCENARIO = Scenario(
    "F7",
    "frozen",
    "A worker with its task processes stands still (SIGSTOP) until its lease has run out, and goes "
    "on; what it says then is taken or fenced. The same with an executor: recovery is then the "
    "time from the thaw to the end of its requests.",
    play,
    SHARED,
    quick={"tasks": 100, "cycles": 1, "deadline": 180},
    full={"tasks": 400, "cycles": 5, "deadline": 400},
    variants=("worker", "executor"),
)
