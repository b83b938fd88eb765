"""What a sequence of events comes to: the state of every request, job, worker and executor.

Recovery, status, the command line and whatever is built later read this and nothing else. Decided
here: what each event changes (native dialect, section 8), which events do not fit, and that the
first end of a request stands. What is said of jobs is folded in ``protocol.job_status``. Not
decided here: what is sent or answered because of it (the ledger), how a line is numbered and found
damaged (the journal).

A fold: entries are applied one by one, in their order; in two halves it comes to the same as whole.
What is missing, because its line was damaged, costs what it said and no more: a DISPATCHED names
its round as well, so a lost ROUND is made up for by the next one.

Pure, and owned by one thread, whoever's it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, get_args

from protocol.events import (
    Cancelled,
    Closed,
    Discarded,
    Dispatched,
    Ended,
    Event,
    Opened,
    Outcome,
    Over,
    OverReason,
    Progress,
    Round,
    Running,
    Submitted,
    WorkerGone,
    WorkerSeen,
)
from protocol.job_status import Jobs
from protocol.jobs import JobEvent
from protocol.states import FAILURE, PENDING, RUNNING, SUCCESS, WAITING

#: What a request may be beside the states of its attempts: its caller cancelled it, and knows.
CANCELLED: Final = "CANCELLED"
#: Every state a request may be in, as it may go through them.
REQUEST_STATES: Final = (WAITING, PENDING, RUNNING, SUCCESS, FAILURE, CANCELLED)

MAX_PROBLEMS: Final = 1000  # of which the words are kept; further ones are counted
MAX_GONE: Final = 100  # workers that have gone and are remembered

#: What a request that has ended is, by its outcome.
ENDS: Final[dict[Outcome, str]] = {
    "success": SUCCESS,
    "failure": FAILURE,
    "error": FAILURE,
    "cancelled": CANCELLED,
}


class Entry(NamedTuple):
    """An event with its place in a journal, or on a bus."""

    #: From 1, one more for each; in a journal an event keeps its number for ever.
    number: int
    #: When it was written, or published: seconds since 1970, by the wall clock, which may go
    #: backwards; ``nan`` from a file that has no stamps (Toil's).
    stamp: float
    event: Event


@dataclass(slots=True)
class AttemptStatus:
    """One dispatch of a request."""

    event: Dispatched
    stamp: float
    #: Its worker has said once that it runs.
    is_running: bool = False
    #: Why no answer is expected any more; ``dropped`` as well of one whose end began a new round.
    #: A RUNNING after ``lost`` takes it back.
    over: OverReason | None = None


@dataclass(slots=True)
class RequestStatus:
    """One request, as far as it has come."""

    submitted: Submitted
    stamp: float
    #: First attempt of the present round; ends of earlier ones do not count.
    base: int = 1
    #: How many runs of it have ended their process.
    crashes: int = 0
    #: Every one, of all rounds, oldest first.
    attempts: list[AttemptStatus] = field(default_factory=list)
    #: The cancellation that counts: one without force, else the last.
    cancelled: Cancelled | None = None
    #: The first end, which stands.
    ended: Ended | None = None
    ended_stamp: float | None = None
    #: Whether a run of it was known when it was cancelled.
    ran_before_cancel: bool = False
    #: How many of its rounds were retries of a failure, and the first attempt since the last one.
    retries: int = 0
    retry_base: int = 1
    #: When that may be started at the earliest, by the wall clock; None before the first.
    retry_at: float | None = None
    #: How far its task said it is, last; None: it did not say.
    progress: float | None = None
    #: It was a dead letter, and was dropped; or this request is its repetition.
    was_discarded: bool = False
    repeated_by: str | None = None
    #: All that was said of it, in order; what it comes to is above.
    trail: list[Entry] = field(default_factory=list, compare=False, repr=False)

    @property
    def not_before(self) -> float | None:
        """When it may be started at the earliest, by the wall clock; None: at any time."""
        return self.submitted.not_before if self.retry_at is None else self.retry_at

    @property
    def steps(self) -> list[tuple[float, Event]]:
        """What was said of it since it was submitted, each with its stamp."""
        return [(entry.stamp, entry.event) for entry in self.trail[1:]]

    @property
    def is_open(self) -> bool:
        """Whether something may still be sent for it, be it only to settle that it is cancelled."""
        return self.ended is None

    @property
    def is_dead(self) -> bool:
        """Whether it is a dead letter: it came to nothing, and nobody has seen to it yet."""
        is_kept = self.ended is not None and self.ended.dead
        return is_kept and not self.was_discarded and self.repeated_by is None

    @property
    def is_cancelled(self) -> bool:
        """Whether its caller was told that it is cancelled: that is its outcome, whatever comes.

        Cancelled by force while it ran, it is not: the first end wins.
        """
        if self.ended is not None:
            return self.ended.outcome == "cancelled"
        return self.cancelled is not None and not (self.cancelled.force and self.ran_before_cancel)

    @property
    def has_run(self) -> bool:
        """Whether a run of it was ever known; of one that is retried, since the last failure."""
        return any(
            attempt.is_running and attempt.event.attempt >= self.retry_base
            for attempt in self.attempts
        )

    @property
    def current(self) -> AttemptStatus | None:
        """The attempt of this round that is waited for: the newest, or if that is over, one before
        it that runs after all.
        """
        for attempt in reversed(self.attempts):
            if attempt.event.attempt < self.base:
                break
            if attempt.over is None and (attempt.is_running or attempt is self.attempts[-1]):
                return attempt
        return None

    @property
    def state(self) -> str:
        """One of :data:`REQUEST_STATES`, as its caller sees it."""
        if self.ended is not None:
            return ENDS[self.ended.outcome]
        if self.is_cancelled:
            return CANCELLED
        current = self.current
        if current is None:
            return WAITING
        return RUNNING if current.is_running else PENDING


@dataclass(slots=True)
class WorkerStatus:
    """One worker process."""

    event: WorkerSeen
    #: The stamp of that event.
    seen: float
    #: When it had gone, if it has.
    gone: float | None = None


@dataclass(slots=True)
class ExecutorStatus:
    """The executor whose events these are, in its latest incarnation."""

    name: str
    #: What workers know it by.
    identity: str
    incarnation: int
    opened: float
    #: None: it runs, or was killed.
    closed: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """An event that does not fit what was before it.

    It changed nothing, unless it opened an executor: who writes a journal is who it says it is.
    """

    number: int
    what: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.what}"


_OF_JOBS: Final = get_args(JobEvent)

#: A worker process: its name and boot.
Peer = tuple[str, str | None]


class History:
    """The fold. ``keeps_ended=False``: what has ended and is not dead is counted and not kept."""

    def __init__(self, *, keeps_ended: bool = True) -> None:
        #: By uuid, oldest first; without ``keeps_ended`` those that are open, or dead letters.
        self.requests: dict[str, RequestStatus] = {}
        #: By name and boot, of this incarnation; of those gone the last ``MAX_GONE``.
        self.workers: dict[Peer, WorkerStatus] = {}
        self.executor: ExecutorStatus | None = None
        #: What was said of jobs. None is ever left out.
        self.jobs = Jobs()
        #: The uuid of the newest request of each key.
        self.by_key: dict[str, str] = {}
        #: How many requests have ended, by state.
        self.ended: Counter[str] = Counter()
        #: What did not fit, the first ``MAX_PROBLEMS`` of it.
        self.problems: list[Problem] = []
        #: How much did not fit in all.
        self.misfits = 0
        self._keeps_ended = keeps_ended
        #: What has ended and was not kept.
        self._left: set[str] = set()
        self._gone: dict[Peer, None] = {}

    def apply(self, entry: Entry) -> None:
        """Let this be so from now on. Never raises: what does not fit is a problem.

        What is no event of ours (a bus carries anything) is passed over.
        """
        event = entry.event
        applies = self._APPLIES.get(type(event))
        if applies is None:
            if isinstance(event, _OF_JOBS):
                self.jobs.apply(event, entry.stamp)
            return
        misfit = applies(self, event, entry.stamp)
        if misfit is None:
            request = self.requests.get(getattr(event, "uuid", ""))
            if request is not None and type(event) is not Progress:
                request.trail.append(entry)
        else:
            self.misfits += 1
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(Problem(entry.number, f"{event.word}: {misfit}"))

    def open_requests(self) -> Iterator[RequestStatus]:
        """Those that have not ended, oldest first."""
        return (request for request in self.requests.values() if request.ended is None)

    def dead_letters(self) -> Iterator[RequestStatus]:
        """Those that came to nothing and were neither repeated nor dropped, oldest first."""
        return (request for request in self.requests.values() if request.is_dead)

    # -- what each event changes; returned is what does not fit

    def _submitted(self, event: Submitted, stamp: float) -> str | None:
        uuid = event.uuid
        if uuid in self.requests or uuid in self._left:
            return f"request {uuid} is there already"
        self.requests[uuid] = RequestStatus(event, stamp)
        if event.key is not None:
            self.by_key[event.key] = uuid
        dead = None if event.repeats is None else self.requests.get(event.repeats)
        if dead is not None and dead.is_dead:
            dead.repeated_by = uuid
            self._leave(dead)
        return None

    def _discarded(self, event: Discarded, stamp: float) -> str | None:
        request = self.requests.get(event.uuid)
        if request is None or not request.is_dead:
            return f"request {event.uuid} is no dead letter"
        request.was_discarded = True
        self._leave(request)
        return None

    def _dispatched(self, event: Dispatched, stamp: float) -> str | None:
        request = self.requests.get(event.uuid)
        if request is None or request.ended is not None:
            return self._absent(event.uuid)
        attempts = request.attempts
        if attempts and attempts[-1].event.attempt >= event.attempt:
            return f"attempt {event.attempt} of request {event.uuid} comes too late"
        if event.base > event.attempt:
            return f"attempt {event.attempt} of request {event.uuid} is before its own round"
        if request.base < event.base:
            request.base = event.base
        attempts.append(AttemptStatus(event, stamp))
        return None

    def _running(self, event: Running, stamp: float) -> str | None:
        attempt = self._attempt(event.uuid, event.attempt)
        if isinstance(attempt, str):
            return attempt
        attempt.is_running = True
        if attempt.over == "lost":
            attempt.over = None
        return None

    def _progress(self, event: Progress, stamp: float) -> str | None:
        request = self.requests.get(event.uuid)
        if request is not None and request.ended is None:  # else it came late, and says nothing
            request.progress = event.fraction
        return None

    def _over(self, event: Over, stamp: float) -> str | None:
        attempt = self._attempt(event.uuid, event.attempt)
        if isinstance(attempt, str):
            return attempt
        attempt.over = event.reason
        return None

    def _round(self, event: Round, stamp: float) -> str | None:
        request = self.requests.get(event.uuid)
        if request is None or request.ended is not None:
            return self._absent(event.uuid)
        if event.base < request.base:
            return f"request {event.uuid} is in the round of attempt {request.base} already"
        request.base = event.base
        request.crashes = event.crashes
        if event.retries > request.retries:
            request.retries = event.retries
            request.retry_base = event.base
            request.retry_at = stamp + event.delay
        if event.attempt is not None:  # its worker has answered, and holds nothing of it any more
            ended = self._attempt(event.uuid, event.attempt)
            if not isinstance(ended, str):
                ended.over = "dropped"
        return None

    def _cancelled(self, event: Cancelled, stamp: float) -> str | None:
        request = self.requests.get(event.uuid)
        if request is None:
            return None if event.uuid in self._left else self._absent(event.uuid)
        if request.ended is not None:
            return None  # the caller's thread writes it, and may come second
        if request.is_cancelled:
            return None  # that is its outcome, however often it is asked for
        request.cancelled = event
        request.ran_before_cancel = request.has_run
        return None

    def _ended(self, event: Ended, stamp: float) -> str | None:
        uuid = event.uuid
        request = self.requests.get(uuid)
        if request is None or request.ended is not None:
            return self._absent(uuid)
        request.ended = event
        request.ended_stamp = stamp
        self.ended[ENDS[event.outcome]] += 1
        if not event.dead:
            self._leave(request)
        return None

    def _leave(self, request: RequestStatus) -> None:
        """It has ended, and need not be kept."""
        if not self._keeps_ended:
            uuid = request.submitted.uuid
            del self.requests[uuid]
            self._left.add(uuid)

    def _opened(self, event: Opened, stamp: float) -> str | None:
        before = self.executor
        self.executor = ExecutorStatus(
            event.executor, event.identity or event.executor, event.incarnation, stamp
        )
        self.workers.clear()  # a new incarnation has heard of nobody yet
        self._gone.clear()
        if before is not None and before.name != event.executor:
            return f"executor {event.executor} goes on with what {before.name} began"
        if before is not None and before.incarnation >= event.incarnation:
            return f"incarnation {event.incarnation} after {before.incarnation}"
        return None

    def _closed(self, event: Closed, stamp: float) -> str | None:
        if self.executor is None:
            return "nothing was opened"
        self.executor.closed = stamp
        return None

    def _worker_seen(self, event: WorkerSeen, stamp: float) -> str | None:
        key = (event.worker, event.boot)
        self._gone.pop(key, None)
        self.workers[key] = WorkerStatus(event, stamp)
        return None

    def _worker_gone(self, event: WorkerGone, stamp: float) -> str | None:
        key = (event.worker, event.boot)
        worker = self.workers.get(key)
        if worker is None:
            return f"worker {event.worker} was not there"
        worker.gone = stamp
        self._gone[key] = None
        if len(self._gone) > MAX_GONE:
            oldest = next(iter(self._gone))
            del self._gone[oldest], self.workers[oldest]
        return None

    # -- finding what an event is about

    def _attempt(self, uuid: str, number: int) -> AttemptStatus | str:
        """The attempt, or what does not fit."""
        request = self.requests.get(uuid)
        if request is None or request.ended is not None:
            return self._absent(uuid)
        for attempt in reversed(request.attempts):
            if attempt.event.attempt == number:
                return attempt
        return f"request {uuid} has no attempt {number}"

    def _absent(self, uuid: str) -> str:
        if uuid in self._left or uuid in self.requests:
            return f"request {uuid} has ended before"
        return f"request {uuid} is not known"

    #: What applies each event.
    _APPLIES: ClassVar[dict[type[Event], Callable[[History, Any, float], str | None]]] = {
        Opened: _opened,
        Closed: _closed,
        Submitted: _submitted,
        Dispatched: _dispatched,
        Running: _running,
        Progress: _progress,
        Over: _over,
        Round: _round,
        Cancelled: _cancelled,
        Ended: _ended,
        Discarded: _discarded,
        WorkerSeen: _worker_seen,
        WorkerGone: _worker_gone,
    }
