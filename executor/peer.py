"""One worker we have heard from: what it offers, what it was sent, when it last spoke.

A native worker is one process (its boot) with a credit; a taskflow worker is a topic, because its
answers name nothing else. Not decided here: who is known, and what its silence means
(``directory``, ``attendance``). Owned by the directory, on the keeper's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from protocol.envelope import BATCH, CAPS, RESOURCES, STOPS
from protocol.resources import NOTHING, NodeReport, Requirements, Resources
from protocol.tickets import Ticket
from protocol.timing import BEAT, CLOCK_RATE_DRIFT, WORKER_EXPIRY, lease
from protocol.topology import Dialect

if TYPE_CHECKING:
    from executor.request import Attempt

_SAMPLES: Final = 8  # of a worker's clock, the latest; the largest of them is the earliest start-by


class Want(NamedTuple):
    """What those have in common who can take a request (see ``lanes.LaneKey``)."""

    task: str
    topics: tuple[str, ...]
    #: Whether taskflow's peers can take it too.
    named_only: bool
    #: Whether only who can end a task that runs can take it.
    must_stop: bool = False
    #: All of which must be free there.
    needs: Requirements | None = None
    #: The name of the one worker it is for.
    worker: str | None = None


class Peer:
    """One worker we have heard from."""

    __slots__ = (
        "_ahead",
        "_beat",
        "caps",
        "clocks",
        "credit",
        "dialect",
        "doubtful",
        "expiry",
        "forgotten",
        "grace",
        "has_failed",
        "heard",
        "inbox",
        "is_dead",
        "is_ignored",
        "is_native",
        "is_proven",
        "key",
        "last_ticket",
        "latest",
        "name",
        "noted",
        "open",
        "report",
        "said",
        "slots",
        "spoke",
        "told",
        "topics",
        "used",
    )

    def __init__(self, key: str, dialect: Dialect, name: str) -> None:
        #: Its boot (native) or its topic (taskflow).
        self.key = key
        self.dialect: Dialect = dialect
        #: Whether it speaks our dialect.
        self.is_native = dialect == "native"
        self.name = name
        #: ``{topic: wire names of the tasks offered on it}``.
        self.topics: dict[str, frozenset[str]] = {}
        #: Routing key of its inbox; None for taskflow.
        self.inbox: str | None = None
        #: Unfinished requests it takes; None: as many as one likes (taskflow).
        self.credit: int | None = None
        self.slots: int | None = None
        #: Kinds and abilities it announced; None: none yet, and those it had before are meant.
        self.caps: frozenset[str] | None = None
        #: How long it may be silent, in seconds; goes by its beat.
        self.expiry = 0.0
        self.beat = BEAT
        #: When it last said anything, in our clock; and the same without the time in which nobody
        #: could be heard, from which its lease counts.
        self.spoke = 0.0
        self.heard = 0.0
        #: When we forgot it for its silence.
        self.forgotten = 0.0
        #: Seconds it may be silent beyond its lease: it may still be on its way back to the broker.
        self.grace = 0.0
        #: Its process has provably ended: nothing more is sent there.
        self.is_dead = False
        #: It has answered a request, which it must have read for that.
        self.is_proven = False
        #: What it tells of its machine; None: nothing, or it has not answered yet.
        self.report: NodeReport | None = None
        #: What of that is promised to what is open or doubtful here.
        self.used = NOTHING
        #: Nothing more is sent there, as its user has asked.
        self.is_ignored = False
        #: It was sent a request, and has not answered in time.
        self.has_failed = False
        #: Attempts sent to it that are waited for, or that it says it has: these use its credit.
        self.open: dict[Ticket | str, Attempt] = {}
        #: Those given up, of which it has not said since whether it has them.
        self.doubtful: dict[Ticket | str, Attempt] = {}
        #: Topics and slots as they were last noted in the journal; None: not there, or gone.
        self.noted: tuple[list[str], int | None] | None = None
        self.last_ticket = 0
        #: The highest that was heard of its clock, in milliseconds.
        self.latest = -1
        #: Its clock in the newest answer, in milliseconds: what it said before that is out of date.
        self.said = 0
        #: The same of the newest digest.
        self.told = 0
        #: Latest samples of its clock: (its clock − ours), in seconds, plus what a slow clock may
        #: fall back in the time until then, so that an older one counts for less.
        self.clocks: deque[float] = deque(maxlen=_SAMPLES)
        #: The largest of them, which is off by least.
        self._ahead = 0.0

    @property
    def beat(self) -> float:
        """Seconds within which it is heard from."""
        return self._beat

    @beat.setter
    def beat(self, seconds: float) -> None:
        self._beat = seconds
        self.expiry = lease(seconds) if self.is_native else WORKER_EXPIRY

    @property
    def room(self) -> float:
        """How many more requests it takes now."""
        return float("inf") if self.credit is None else self.credit - len(self.open)

    @property
    def trust(self) -> int:
        """How sure it is that somebody is there who does what he is sent."""
        return 2 if self.is_proven else 0 if self.has_failed else 1

    @property
    def is_leaving(self) -> bool:
        """Whether it has said goodbye: it offers nothing any more, and takes nothing."""
        return self.credit == 0 and not any(self.topics.values())

    @property
    def can_stop(self) -> bool:
        """Whether it can end a task that runs, as far as is known."""
        return self.is_native and (self.caps is None or STOPS in self.caps)

    @property
    def takes_batches(self) -> bool:
        """Whether it has said that it reads several messages as one."""
        return self.caps is not None and self.understands(BATCH)

    def understands(self, kind: str) -> bool:
        """Whether it announced this kind beyond taskflow's; at a worker that is there at all."""
        if not self.is_native or self.is_dead:
            return False
        return kind.lower() in (CAPS if self.caps is None else self.caps)

    def is_in_time(self, now: float) -> bool:
        """Whether it has been heard from within its beat. taskflow's workers have none."""
        return not self.is_native or now - self.heard <= self.beat

    def suits(self, want: Want) -> bool:
        """Whether it can take what is wanted, now or later, if it offers the task."""
        if self.is_ignored or (want.worker is not None and want.worker != self.name):
            return False
        if want.needs is not None and not self.could_hold(want.needs):
            return False
        return self.can_stop if want.must_stop else self.is_native or want.named_only

    def could_hold(self, needs: Requirements) -> bool:
        """Whether its machine is large enough, and may be interrupted only where that may be."""
        report = self.report
        return (
            report is not None
            and self.caps is not None
            and RESOURCES in self.caps
            and (needs.preemptible or not report.preemptible)
            and report.have.holds(needs.amount)
        )

    @property
    def free(self) -> Resources:
        """What of its machine is left for us."""
        if self.report is None:
            return NOTHING
        told = self.report.free
        return (self.report.have if told is None else told).minus(self.used)

    @property
    def node(self) -> str | None:
        """The name of its machine, if it tells that."""
        return None if self.report is None else self.report.node

    @property
    def attempts(self) -> list[Attempt]:
        """Those sent to it of which something may still be there."""
        return [*self.open.values(), *self.doubtful.values()]

    def find(self, ticket: Ticket) -> Attempt | None:
        """The one of these under this ticket."""
        return self.open.get(ticket) or self.doubtful.get(ticket)

    def take(self, attempt: Attempt) -> None:
        """It has this one, or is about to."""
        handle = attempt.handle
        if attempt.needs is not None and not (handle in self.open or handle in self.doubtful):
            self.used = self.used.plus(attempt.needs)
        self.doubtful.pop(handle, None)
        self.open[handle] = attempt

    def doubt(self, attempt: Attempt) -> None:
        """Whether it has this one, nobody knows."""
        if self.open.pop(attempt.handle, None) is not None:
            self.doubtful[attempt.handle] = attempt

    def drop(self, attempt: Attempt) -> None:
        """Nothing of this one is there any more, or is of any interest."""
        handle = attempt.handle
        was_open = self.open.pop(handle, None) is not None
        was_doubtful = self.doubtful.pop(handle, None) is not None
        if attempt.needs is not None and (was_open or was_doubtful):
            self.used = self.used.minus(attempt.needs)

    def offers(self, task: str, topics: Iterable[str]) -> str | None:
        """The first of these topics on which it offers the task."""
        for topic in topics:
            if task in self.topics.get(topic, ()):
                return topic
        return None

    def next_ticket(self, incarnation: int) -> Ticket:
        """A ticket of its own for one more dispatch."""
        self.last_ticket += 1
        return Ticket(incarnation, self.last_ticket)

    def start_by(self, now: float, window: float) -> int:
        """``now + window`` in the worker's own clock, in milliseconds, rather early than late.

        Each sample is late by the time its message travelled; the largest is off by least. But a
        slow clock has fallen back since: by as much as it may, an old sample counts for less.
        """
        return max(0, int((self._ahead - now * CLOCK_RATE_DRIFT + now + window) * 1000))

    def read_clock(self, clock: int, now: float) -> None:
        """Its clock says that, in milliseconds; one more sample."""
        self.clocks.append(clock / 1000 - now + now * CLOCK_RATE_DRIFT)
        self._ahead = max(self.clocks)

    @property
    def silent_at(self) -> float:
        """When it will have been silent for too long."""
        return self.heard + self.expiry + self.grace

    def speaks(self, now: float) -> None:
        """It has been heard from."""
        self.spoke = now
        self.lives(now)

    def lives(self, now: float) -> None:
        """It has a lease from now on."""
        self.heard = now
        self.grace = 0.0
