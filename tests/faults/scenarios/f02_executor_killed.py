"""F2: an executor with a journal is killed with -9 at each point at which it writes to it."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import subprocess
import time
import zlib
from pathlib import Path

from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario
from tests.faults.stage import wait_for

#: Before a line is written, in the middle of it, when it is written and before it is acted upon.
MOMENTS = ("before", "torn", "after")


def play(play: Play) -> None:
    if play.variant == "all open":
        _return_to_many(play)
        return
    with play.workers(2, concurrency=4, beat=1.0):
        writes = _life(play, "count")["writes"]
        points = list(itertools.product(range(1, writes + 1), MOMENTS))
        if len(points) > play.number("points"):
            points = play.random.sample(points, play.number("points"))
        with concurrent.futures.ThreadPoolExecutor(3) as side_by_side:
            lives = list(side_by_side.map(lambda at: _die_and_return(play, *at), points))
    play.result.tasks = len(lives) * play.number("tasks")
    play.result.again = play.marks.executed_again()
    play.result.again_allowed = 0  # the workers live on, and know what they have done
    again = f"{play.result.again} were executed again"
    play.expect(play.result.again == 0, again)
    play.recovered_in(max(lives))
    play.note(points=len(points), writes=writes)


def _die_and_return(play: Play, write: int, moment: str) -> float:
    """Be killed at that write, start again; seconds from there to the end of all requests."""
    name = f"{moment}-{write}"
    killed = _start(play, name, "--die-at", str(write), "--die", moment)
    killed.wait(60)
    # 0: this time it came through with fewer writes, as it does when it is given more at once.
    fine = killed.returncode in (-9, 0)
    play.expect(fine, f"{name}: ended with {killed.returncode}, neither killed nor well")
    began = time.monotonic()
    found = _life(play, name)
    outcomes: dict[str, set[str]] = {}
    for line in (play.folder / f"{name}.outcomes").read_text().splitlines():
        number, _, outcome = line.partition(" ")
        outcomes.setdefault(number, set()).add(outcome)
    wrong = {n: told for n, told in outcomes.items() if told != {n}}
    tasks = play.number("tasks")
    play.result.lost += tasks - len(outcomes) + sum(len(told) == 1 for told in wrong.values())
    play.result.doubled += sum(len(told) > 1 for told in wrong.values())
    play.result.doubled += found["ended_twice"]
    play.expect(len(outcomes) == tasks, f"{name}: only {len(outcomes)} of {tasks} requests ended")
    play.expect(not wrong, f"{name}: requests ended wrongly: {wrong}")
    play.expect(not found["ended_twice"], f"{name}: {found['ended_twice']} have two ends there")
    known = found["sent_though_known"]
    play.expect(not known, f"{name}: {known} were sent though they were known to run")
    return time.monotonic() - began


def _return_to_many(play: Play) -> None:
    """Nobody works yet: all that it has submitted is open when it is killed."""
    count, submitted = play.many("open"), play.folder / "submitted"
    first = _start(play, "many", "--submitted", str(submitted), "--seconds", "0", count=count)
    play.expect(wait_for(submitted.exists, play.size["deadline"] / 2), "it was not submitted")
    first.kill()
    first.wait(10)
    began = time.monotonic()
    executor = play.executor(name="many", journal=play.folder / "many.journal")
    futures = executor.open_requests()
    play.recovered_in(time.monotonic() - began, within=5.0)
    play.expect(len(futures) == count, f"{len(futures)} of {count} requests are open again")
    with play.workers(2, concurrency=2):
        batch = Batch(executor)
        for number, future in enumerate(futures):
            batch.add(number, future)
        # Where each message is an fsync that takes long; only what stands still is lost.
        batch.wait_while_some_end(play.size["deadline"] / 2 - 20)
        slow = batch.open
        values = sorted(f.result(0) for f in futures if f.done() and not f.exception(0))
    play.result.tasks = count
    play.result.lost = count - len(set(values))
    play.result.again, play.result.again_allowed = play.marks.executed_again(), 0
    well = f"{len(set(values))} of {count} ended well, {slow} had not ended when time was up"
    play.expect(len(set(values)) == count, well)
    play.expect(play.result.again == 0, f"{play.result.again} were executed again")


def _life(play: Play, name: str) -> dict[str, int]:
    """A whole life of one executor; what it says of it."""
    process = _start(play, name)
    try:
        process.wait(60)
    finally:
        process.kill()
    play.expect(process.returncode == 0, f"{name}: the executor ended with {process.returncode}")
    said = Path(play.folder / f"{name}.said")
    found: dict[str, int] = json.loads(said.read_text()) if said.exists() else {}
    return {"writes": 0, "ended_twice": 0, "sent_though_known": 0, **found}


def _start(play: Play, name: str, *words: str, count: int | None = None) -> subprocess.Popen[bytes]:
    first = 1000 * zlib.crc32(name.encode())  # marks of different executors are not mixed up
    return play.submitter(
        *("--name", name, "--journal", str(play.folder / f"{name}.journal")),
        *("--outcomes", str(play.folder / f"{name}.outcomes"), "--first", str(first)),
        *("--said", str(play.folder / f"{name}.said")),
        *("--count", str(count or play.number("tasks")), *words),
    )


SCENARIO = Scenario(
    "F2",
    "executor killed",
    "An executor with a journal submits thirty requests (ten in the quick size) and is killed with "
    "-9 before, in the middle of and after each write to its journal, once for each; then it is "
    "started again. What was known to run must not be sent again, and nothing be executed twice. "
    "Recovery is the time from the second start to the end of all its requests. All open: 100,000 "
    "requests are open when it is killed; recovery is the time until the next one has them all.",
    play,
    SHARED,
    quick={"points": 9, "tasks": 10, "open": 5_000, "deadline": 180},
    full={"points": 1000, "tasks": 30, "open": 100_000, "deadline": 1800},
    variants=("each write", "all open"),
)
