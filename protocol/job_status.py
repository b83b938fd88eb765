"""What a sequence of job events comes to: the state of every job, the queue, the machines.

The part of ``protocol.history`` that is about jobs. Decided here: what each event changes, and that
none is lost for coming early. A batch system speaks of batch ids, and may do so before the job's
JobIssued is heard: what it says is kept until then (of the newest ``MAX_EARLY`` batch ids).

Pure, and owned by one thread, whoever's it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobAnnotated,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobKilled,
    JobMissing,
    JobPlaced,
    JobStarted,
    JobUpdated,
    QueueSize,
)
from protocol.states import FAILURE, PENDING, RUNNING, SUCCESS, WAITING

MAX_EARLY: Final = 10_000  # batch ids that were spoken of and not issued

#: Every state a job may be in, as it may go through them.
JOB_STATES: Final = (WAITING, PENDING, RUNNING, SUCCESS, FAILURE)


@dataclass(slots=True)
class JobTry:
    """One time it was issued. Stamps are seconds since 1970; ``nan`` where a file has none."""

    batch_id: int
    issued: float
    #: Its id at the batch system, and that one's name.
    external_id: str | None = None
    system: str | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    is_killed: bool = False
    is_missing: bool = False


@dataclass(slots=True)
class JobStatus:
    """One job, as far as it has come."""

    job: str
    #: When it was first heard of.
    stamp: float
    kind: str = ""
    #: Oldest first; none if no JobIssued was heard.
    tries: list[JobTry] = field(default_factory=list)
    #: What it came to since it was issued last; None: nothing yet.
    exit_code: int | None = None
    #: It will not be issued again.
    has_failed: bool = False
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def current(self) -> JobTry | None:
        """The last time it was issued."""
        return self.tries[-1] if self.tries else None

    @property
    def state(self) -> str:
        """One of :data:`JOB_STATES`. PENDING: issued, and not known to run.

        FAILURE may be followed by PENDING, until it has failed for good.
        """
        if self.has_failed:
            return FAILURE
        if self.exit_code is not None:
            return FAILURE if self.exit_code else SUCCESS
        current = self.current
        if current is None:
            return WAITING
        if current.is_killed:
            return FAILURE
        return PENDING if current.started is None else RUNNING

    @property
    def is_open(self) -> bool:
        """Whether it is at the batch system, or may come there."""
        return self.state in (WAITING, PENDING, RUNNING)


@dataclass(slots=True)
class ClusterStatus:
    """The machines of one type, as an autoscaler sees them; None: it did not say."""

    size: int | None = None
    desired: int | None = None


class Jobs:
    """The fold."""

    def __init__(self) -> None:
        #: By the job's name, in the order in which they were first heard of.
        self.by_name: dict[str, JobStatus] = {}
        #: How many are issued and have not come back, as it was said last.
        self.queue_size: int | None = None
        #: By instance type.
        self.clusters: dict[str, ClusterStatus] = {}
        #: By batch id: the job that was issued with it last, and that try.
        self._tries: dict[int, tuple[JobStatus, JobTry]] = {}
        #: What was said of batch ids that were not issued yet, with its stamps.
        self._early: dict[int, list[tuple[JobEvent, float]]] = {}

    def apply(self, event: JobEvent, stamp: float) -> None:
        """Let this be so from now on. Never raises: every event fits."""
        self._APPLIES[type(event)](self, event, stamp)

    def open_jobs(self) -> list[JobStatus]:
        """Those that have not come to anything, in the order in which they were heard of."""
        return [job for job in self.by_name.values() if job.is_open]

    def issued_as(self, batch_id: int | None) -> JobStatus | None:
        """The job that was issued with this batch id last."""
        found = self._tries.get(batch_id) if batch_id is not None else None
        return None if found is None else found[0]

    def _job(self, name: str, stamp: float) -> JobStatus:
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = JobStatus(name, stamp)
        return found

    def _issued(self, event: JobIssued, stamp: float) -> None:
        job = self._job(event.job, stamp)
        job.kind = event.kind
        job.exit_code = None
        job.has_failed = False
        attempt = JobTry(event.batch_id, stamp)
        job.tries.append(attempt)
        self._tries[event.batch_id] = job, attempt
        for early, when in self._early.pop(event.batch_id, ()):
            self.apply(early, when)

    def _try(self, event: JobPlaced | JobStarted | JobKilled, stamp: float) -> JobTry | None:
        """Which it is about; None: not issued yet, and it is kept."""
        found = self._tries.get(event.batch_id)
        if found is not None:
            return found[1]
        self._early.setdefault(event.batch_id, []).append((event, stamp))
        if len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]
        return None

    def _placed(self, event: JobPlaced, stamp: float) -> None:
        attempt = self._try(event, stamp)
        if attempt is not None:
            attempt.external_id, attempt.system = event.external_id, event.system

    def _started(self, event: JobStarted, stamp: float) -> None:
        attempt = self._try(event, stamp)
        if attempt is not None:
            attempt.started = stamp

    def _killed(self, event: JobKilled, stamp: float) -> None:
        attempt = self._try(event, stamp)
        if attempt is not None:
            attempt.is_killed, attempt.ended = True, stamp

    def _completed(self, event: JobCompleted, stamp: float) -> None:
        job = self._job(event.job, stamp)
        job.kind, job.exit_code = event.kind, event.exit_code
        if (attempt := job.current) is not None:
            attempt.ended, attempt.exit_code = stamp, event.exit_code

    def _updated(self, event: JobUpdated, stamp: float) -> None:
        job = self._job(event.job, stamp)
        if (attempt := job.current) is not None:  # else it may be issued now, and nothing else
            job.exit_code = attempt.exit_code = event.status
            if attempt.ended is None:
                attempt.ended = stamp

    def _failed(self, event: JobFailed, stamp: float) -> None:
        job = self._job(event.job, stamp)
        job.kind, job.has_failed = event.kind, True

    def _missing(self, event: JobMissing, stamp: float) -> None:
        if (attempt := self._job(event.job, stamp).current) is not None:
            attempt.is_missing = True

    def _annotated(self, event: JobAnnotated, stamp: float) -> None:
        self._job(event.job, stamp).annotations[event.name] = event.value

    def _queue_size(self, event: QueueSize, stamp: float) -> None:
        self.queue_size = event.size

    def _cluster_size(self, event: ClusterSize, stamp: float) -> None:
        self.clusters.setdefault(event.instance_type, ClusterStatus()).size = event.size

    def _cluster_desired(self, event: ClusterDesired, stamp: float) -> None:
        self.clusters.setdefault(event.instance_type, ClusterStatus()).desired = event.size

    #: What applies each event.
    _APPLIES: ClassVar[dict[type[JobEvent], Callable[[Jobs, Any, float], None]]] = {
        JobIssued: _issued,
        JobPlaced: _placed,
        JobStarted: _started,
        JobKilled: _killed,
        JobCompleted: _completed,
        JobUpdated: _updated,
        JobFailed: _failed,
        JobMissing: _missing,
        JobAnnotated: _annotated,
        QueueSize: _queue_size,
        ClusterSize: _cluster_size,
        ClusterDesired: _cluster_desired,
    }
