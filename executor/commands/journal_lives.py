"""A request and a job as far as they have come, in a line for people and as JSON.

JSON, of a request: ``{"request", "task", "state", "submitted", "ended", "worker", "attempts",
"retries", "key", "progress"}``; of a job: ``{"job", "kind", "state", "exit_code", "tries",
"annotations"}``, each try ``{"batch_id", "external_id", "system", "issued", "started", "ended",
"exit_code", "killed", "missing"}``. Times are seconds since 1970, or null. Pure.
"""

from __future__ import annotations

import math

from executor.commands.sentences import printable
from protocol.history import RequestStatus
from protocol.job_status import JobStatus, JobTry
from protocol.values import Json


def line(life: RequestStatus | JobStatus) -> str:
    """Its state, and the rest."""
    said = _of_request(life) if isinstance(life, RequestStatus) else _of_job(life)
    return printable(f"{life.state:<9}  {said}")


def as_json(life: RequestStatus | JobStatus) -> dict[str, Json]:
    """As drawn at the top."""
    return _request_json(life) if isinstance(life, RequestStatus) else job_json(life)


def worker_of(request: RequestStatus) -> str | None:
    """Who has it, or had it when it ended."""
    if request.ended is not None:
        return request.ended.worker
    current = request.current
    return None if current is None else current.event.worker


def known(stamp: float | None) -> float | None:
    """None for a time that the file does not tell."""
    return None if stamp is None or math.isnan(stamp) else stamp


def _of_request(request: RequestStatus) -> str:
    worker = worker_of(request)
    parts = [
        f"request {request.submitted.uuid}: {request.submitted.task}",
        f"at {worker}" if worker else "",
        _count(len(request.attempts), "attempt"),
        f"{request.progress:.0%} done" if request.progress and request.is_open else "",
    ]
    return ", ".join(part for part in parts if part)


def _of_job(job: JobStatus) -> str:
    current = job.current
    place = ""
    if current is not None and current.external_id is not None:
        place = f"{current.external_id} at {current.system}"
    parts = [
        f"job {job.job}: {job.kind}" if job.kind else f"job {job.job}",
        f"exit code {job.exit_code}" if job.exit_code is not None else "",
        place,
        "missing" if current is not None and current.is_missing else "",
        "killed" if current is not None and current.is_killed else "",
        f"issued {len(job.tries)} times" if len(job.tries) > 1 else "",
        *(f"{name}={value}" for name, value in job.annotations.items()),
    ]
    return ", ".join(part for part in parts if part)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _request_json(request: RequestStatus) -> dict[str, Json]:
    return {
        "request": request.submitted.uuid,
        "task": request.submitted.task,
        "state": request.state,
        "submitted": known(request.stamp),
        "ended": known(request.ended_stamp),
        "worker": worker_of(request),
        "attempts": len(request.attempts),
        "retries": request.retries,
        "key": request.submitted.key,
        "progress": request.progress,
    }


def job_json(job: JobStatus) -> dict[str, Json]:
    """Of a job."""
    return {
        "job": job.job,
        "kind": job.kind,
        "state": job.state,
        "exit_code": job.exit_code,
        "tries": [_try_json(each) for each in job.tries],
        "annotations": dict(job.annotations),
    }


def _try_json(attempt: JobTry) -> dict[str, Json]:
    return {
        "batch_id": attempt.batch_id,
        "external_id": attempt.external_id,
        "system": attempt.system,
        "issued": known(attempt.issued),
        "started": known(attempt.started),
        "ended": known(attempt.ended),
        "exit_code": attempt.exit_code,
        "killed": attempt.is_killed,
        "missing": attempt.is_missing,
    }
