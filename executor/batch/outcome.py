"""What the end of a job's request means for the job. Pure.

Decided here: which reason each end has, and what is said of it. A job is started at most once, so
whatever leaves open how far it came is LOST: whether it is issued again is for its leader to say.
"""

from __future__ import annotations

import concurrent.futures
from typing import Final

from executor.batch.job import EXIT_STATUS_UNAVAILABLE, ExitReason, JobUpdate
from protocol.commands import end_from_json
from protocol.errors import (
    ExecutorSuperseded,
    MemoryLimitExceeded,
    RequestTimeout,
    ResultLost,
    TaskCancelled,
    TimeLimitExceeded,
    WorkerLost,
)
from protocol.values import Json

_LONGEST: Final = 500  # characters of a line that are told

_REASONS: Final[tuple[tuple[tuple[type[BaseException], ...], ExitReason], ...]] = (
    ((concurrent.futures.CancelledError, TaskCancelled), ExitReason.KILLED),
    ((TimeLimitExceeded,), ExitReason.TIMELIMIT),
    ((MemoryLimitExceeded,), ExitReason.MEMLIMIT),
    ((WorkerLost, ResultLost, RequestTimeout, ExecutorSuperseded), ExitReason.LOST),
)


def update_of(
    job_id: int, uuid: str, result: Json | BaseException, wall_time: float | None
) -> JobUpdate:
    """What is told of a job whose request has come to this.

    ``wall_time``: how long it seems to have run, if its worker does not say.
    """
    if isinstance(result, BaseException):
        reason = next((r for kinds, r in _REASONS if isinstance(result, kinds)), ExitReason.ERROR)
        text = str(result) or type(result).__name__
        return JobUpdate(job_id, EXIT_STATUS_UNAVAILABLE, reason, wall_time, uuid, text)
    ended = end_from_json(result)
    if ended is None:
        text = f"what its worker said of its end cannot be read: {str(result)[:200]}"
        status = EXIT_STATUS_UNAVAILABLE
        return JobUpdate(job_id, status, ExitReason.ERROR, wall_time, uuid, text)
    reason = ExitReason.FAILED if ended.exit_status else ExitReason.FINISHED
    text = _last_line(ended.stderr_tail) if ended.exit_status else ""
    return JobUpdate(job_id, ended.exit_status, reason, max(ended.seconds, 1e-6), uuid, text)


def _last_line(written: str) -> str:
    """Where programs say what ended them."""
    lines = written.strip().splitlines()
    return lines[-1].strip()[:_LONGEST] if lines else ""
