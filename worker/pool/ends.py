"""How the end of a run is told that its task did not come to by itself. Pure.

An end as asked, at a limit or in a crash is a failure that nobody raised; its text says which task,
what happened to it, and what to do where there is something.
"""

from __future__ import annotations

from protocol.errors import MemoryLimitExceeded, TimeLimitExceeded
from protocol.failure import from_exception
from protocol.size import in_words
from worker.host import HostCrashed, TaskStopped
from worker.work import Ended, Work


def at_limit(work: Work, pid: int | None) -> Ended:
    """It ran for as long as it may."""
    text = (
        f"{work.task} ran for its time_limit of {work.time_limit:g} s and was ended with its "
        f"process {pid}: give it less to do or a longer limit, or a soft_time_limit, at which it "
        "can end in good order"
    )
    return Ended(work.key, failure=from_exception(TimeLimitExceeded(text)), end="limit")


def over_memory(work: Work, pid: int | None, taken: int) -> Ended:
    """Its processes took more memory than they may."""
    allowed = in_words(work.memory_limit or 0)
    text = (
        f"{work.task} took {in_words(taken)} of memory, and may take {allowed}; it was ended with "
        f"its process {pid} and all it had started: ask for more memory, or have it do less at a "
        "time"
    )
    return Ended(work.key, failure=from_exception(MemoryLimitExceeded(text)), end="limit")


def stopped(work: Work, how: str) -> Ended:
    """It was ended on purpose."""
    error = TaskStopped(f"{work.task} {how}")
    return Ended(work.key, failure=from_exception(error), end="stopped")


def crashed(work: Work, pid: int | None, how: str) -> Ended:
    """Its process ended under it."""
    error = HostCrashed(f"{work.task} did not come to its end: its process {pid} ended with {how}")
    return lost(work, error)


def not_run(work: Work, failed_starts: int, why: str) -> Ended:
    """No process could be had for it."""
    error = HostCrashed(
        f"{work.task} could not be run: the last {failed_starts} processes for it did not come up; "
        f"{why}"
    )
    return lost(work, error)


def lost(work: Work, error: HostCrashed) -> Ended:
    """Something of ours, or its process, failed under it."""
    return Ended(work.key, failure=from_exception(error), end="crash")
