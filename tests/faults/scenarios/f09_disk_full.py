"""F9: the disk is full, under the journal or under the local broker, and has room again."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from executor import Executor
from protocol.errors import TasklineError
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import Play, Scenario
from tests.faults.stage import wait_for

DISK = 64 << 20  # bytes; the local broker keeps some of it for those who take
SAYING = "x" * 1_000  # carried by each request, so that the disk is full soon


def play(play: Play) -> None:
    with _small_disk(play.folder / "disk") as disk:
        if disk is None:
            play.result.skipped = "a file system of its own cannot be mounted here (it takes root)"
            return
        if play.variant == "journal":
            executor = play.executor(name="writer", journal=disk / "journal")
        else:
            play.place = disk / "broker"
            executor = play.executor()
        with play.workers(1, concurrency=2, beat=1.0):
            executor.wait_for_workers(1, 60)
            _fill_and_free(play, executor, disk)


def _fill_and_free(play: Play, executor: Executor, disk: Path) -> None:
    batch = Batch(executor)
    _submit(play, batch, 20)
    play.expect(batch.wait(60), "requests did not end before the disk was full")
    ballast = disk / "ballast"
    _fill(ballast)
    refused = _submit(play, batch, play.number("tasks"))
    time.sleep(2.0)
    ballast.unlink()
    freed = time.monotonic()
    accepted = wait_for(lambda: _submit(play, batch, 1) == {}, 20, every=0.1)
    play.expect(accepted, "nothing is accepted although there is room again")
    _submit(play, batch, 20)
    play.judge(batch, 60)
    begun = play.marks.first_begin_after(freed)
    play.recovered_in(None if begun is None else begun - freed, within=5.0)
    play.note(refused=refused)
    if play.variant == "journal":
        play.expect(bool(refused), "submit() never said that the journal cannot be written")
    allowed = {"JournalError", "BrokerUnavailable", "ExecutorFull"}
    play.expect(set(refused) <= allowed, f"submit() raised what it should not: {refused}")


def _submit(play: Play, batch: Batch, count: int) -> dict[str, int]:
    """What was refused, by error."""
    refused: dict[str, int] = {}
    for _ in range(count):
        number = len(batch)
        try:
            future = batch.executor.submit(errands.echo, play.marks.folder, number, SAYING)
        except TasklineError as error:
            refused[type(error).__name__] = refused.get(type(error).__name__, 0) + 1
        else:
            batch.add(number, future, SAYING)
    return refused


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


@contextlib.contextmanager
def _small_disk(where: Path) -> Iterator[Path | None]:
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


SCENARIO = Scenario(
    "F9",
    "disk full",
    "The disk under the executor's journal, or under the local broker, is filled to the last byte "
    "while requests are submitted, and has room again two seconds later. Recovery is the time from "
    "then to the next start of a task.",
    play,
    ("local",),
    quick={"tasks": 100, "deadline": 180},
    full={"tasks": 2_000, "deadline": 300},
    variants=("journal", "local broker"),
)
