"""One request and its attempts.

A *round* is one asked execution; an *attempt* is one dispatch in it, with an automaton of its own
that never runs backwards. Decided here: what each word about an attempt does to that attempt
(native dialect, section 4), and what one request can tell of itself. What follows from it for the
request is ``verdicts``'.

An attempt that is *given up* is not waited for any more, but its automaton stays where it was: its
worker may only have been silent. *Startable* is what may still be started somewhere, whatever we
think of it: off once it is known to have started, or proven that it never will.

Only the ledger touches these, on the keeper's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID, uuid5

from protocol.errors import IllegalTransition
from protocol.events import Submitted
from protocol.rate import Rate
from protocol.resources import Requirements, Resources
from protocol.retry import Retry
from protocol.states import FAILURE, PENDING, RUNNING, WAITING, Progress
from protocol.tickets import Ticket
from protocol.timing import CLOCK_MARGIN, CLOCK_RATE_DRIFT
from protocol.values import Json

if TYPE_CHECKING:
    from executor.peer import Peer

#: Attempts of one request that are remembered once their workers have given them back; an answer to
#: an older one is an answer to nothing. Those that may still start are never forgotten.
KEPT_ATTEMPTS: Final = 16

#: Where the names of rounds come from: any uuid would do, as long as it stays the same.
_ROUNDS: Final = UUID("7d0bb6a2-5f0e-4c5c-9f0e-2f6d9a6f2a11")

#: OPEN: it is to be run. EXPIRING: its time is up, CANCELLING: it was cancelled; each until no
#: worker can start it any more. ENDED is not in the ledger.
Phase = Literal["OPEN", "EXPIRING", "CANCELLING"]


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: a request as the client hands it over. Made on the caller's thread."""

    uuid: str
    #: The task's wire name.
    task: str
    #: The encoded REQUEST body: arguments are as at submit, whatever happens to them later.
    body: bytes
    #: Topics it may go to.
    topics: tuple[str, ...]
    #: Whether a taskflow peer can take it, who knows arguments by name only.
    named_only: bool = True
    #: Seconds from submit to expiry in WAITING and PENDING; None: the dialect's own meaning.
    timeout: float | None = None
    #: Whether anybody listens to its task events.
    wants_events: bool = False
    #: ``amo``: never started twice.
    mode: Literal["alo", "amo"] = "alo"
    #: Seconds a run may take before it is ended, and before it is told; None: for ever.
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: The caller's own key, for the journal.
    key: str | None = None
    #: When it may start at the earliest, in the executor's clock; None: at once.
    not_before: float | None = None
    #: The same by the wall clock, in seconds since 1970, for the journal.
    eta: float | None = None
    #: Of two that wait the higher one goes first.
    priority: int = 0
    #: How often its task may be started, and how many may be at workers at once.
    rate: Rate | None = None
    max_running: int | None = None
    #: When a run that failed is followed by another; None: never.
    retries: Retry | None = None
    #: What it needs where it runs; None: a slot, and nothing else.
    needs: Requirements | None = None
    #: The name of the worker it is for; None: any.
    worker: str | None = None

    def to_event(self, body: Json) -> Submitted:
        """The line that says so. ``body``: its own, as JSON."""
        return Submitted(
            self.uuid,
            self.task,
            body,
            list(self.topics),
            self.named_only,
            self.timeout,
            self.mode,
            self.time_limit,
            self.soft_time_limit,
            self.key,
            self.eta,
            self.priority,
            None if self.rate is None else str(self.rate),
            self.max_running,
            None if self.retries is None else self.retries.to_json(),
            resources=None if self.needs is None else self.needs.to_json(),
            to=self.worker,
        )

    @property
    def has_limit(self) -> bool:
        """Whether only a worker that can end a running task may have it."""
        return self.time_limit is not None or self.soft_time_limit is not None


class Attempt:
    """One dispatch."""

    __slots__ = (
        "base",
        "closes",
        "given_up",
        "is_named",
        "is_noted_lost",
        "may_be_dropped",
        "needs",
        "number",
        "peer",
        "progress",
        "resends",
        "sent",
        "sent_there",
        "start_by",
        "startable",
        "ticket",
        "uuid",
        "window",
    )

    def __init__(
        self,
        uuid: str,
        number: int,
        peer: Peer,
        ticket: Ticket | None,
        *,
        sent: float,
        window: float,
        start_by: int = 0,
        closes: float = 0.0,
        base: int = 1,
        needs: Resources | None = None,
    ) -> None:
        #: Of its request.
        self.uuid = uuid
        #: What it takes there, besides a slot.
        self.needs = needs
        #: The first attempt of its round.
        self.base = base
        #: From 1, never used again within the request.
        self.number = number
        #: Who it was sent to.
        self.peer = peer
        #: Its ticket there; None at a taskflow peer.
        self.ticket = ticket
        #: When, in the executor's clock.
        self.sent = sent
        #: Seconds in which the addressee may start it.
        self.window = window
        #: The end of that in the addressee's clock, in milliseconds.
        self.start_by = start_by
        #: When it has certainly passed there, in the executor's clock.
        self.closes = closes
        self.progress = Progress()
        #: Whether it may still be started somewhere. taskflow's peers prove nothing: never known.
        self.startable = False
        #: Not waited for any more: its worker fell silent, ended, or has nothing left of it.
        self.given_up = False
        #: Whether the journal has it as lost.
        self.is_noted_lost = False
        #: Its worker may have run and forgotten it, in a silence longer than it keeps what is ours.
        self.may_be_dropped = False
        #: A digest has said that it is queued there: its worker has read it.
        self.is_named = False
        #: When, in the addressee's clock, in milliseconds. None: by an executor that was killed, so
        #: that perhaps no more was done than to write it down.
        self.sent_there: int | None = None
        #: How often its REQUEST was sent again since.
        self.resends = 0

    @property
    def handle(self) -> Ticket | str:
        """What it is open under at its peer: its ticket, or its name where there are no tickets."""
        return self.ticket or self.name

    @property
    def name(self) -> str:
        """What its peer knows it by: the correlation id of its messages.

        A native worker knows its request's uuid, and tells one attempt from the other by tickets.
        A taskflow peer has nothing but this, so there each round after the first has another: an
        answer that comes twice is never taken for an answer to the next round.
        """
        return self.uuid if self.ticket or self.base == 1 else round_name(self.uuid, self.base)

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end, whichever."""
        return self.progress.is_terminal

    @property
    def is_running(self) -> bool:
        """Whether its worker said that it runs, and no more."""
        return self.progress.state == RUNNING

    # the inputs of section 4; each raises IllegalTransition where it makes no sense ---------------

    def dispatch(self) -> None:
        """It is about to be sent."""
        self._refuse("dispatch", PENDING)
        self.progress.advance(PENDING)
        self.startable = self.ticket is not None

    def run(self) -> bool:
        """It runs, says its worker. Whether that is news."""
        if self.has_ended:
            return False
        is_news = self.progress.advance(RUNNING)
        self.startable = False
        return is_news

    def end(self, state: str) -> bool:
        """SUCCESS or FAILURE, which imply that it ran. False if it had ended before: a double."""
        if self.has_ended:
            return False
        self.run()
        return self.progress.advance(state)

    def fence(self) -> None:
        """It ended, in a round that is past: nothing but that it cannot start any more."""
        self._refuse("an end", WAITING)
        self.startable = False

    def drop(self) -> bool:
        """It ran, and its result was thrown away. False if it had ended before."""
        return self.end(FAILURE)

    def never(self, *, is_newest: bool) -> bool:
        """It was not started there and never will be; of one that ran: nothing is left of it.

        Whether that is news. One followed by a newer attempt stays where it is.
        """
        self._refuse("never", WAITING)
        if self.has_ended:
            return False
        if self.is_running:
            is_news = not self.given_up
            self.given_up = True
            return is_news
        is_news = self.startable
        self.startable = False
        if is_newest:
            is_news |= self.progress.advance(FAILURE)
        return is_news

    def queue(self) -> None:
        """It is queued there, says a digest: nothing to do but not to send it again.

        Of one that runs that is old news, which its RUNNING has overtaken.
        """
        if not self.has_ended:
            self._refuse("queued", WAITING)

    def give_up(self, *, boot_is_gone: bool = False) -> None:
        """Its worker is silent, or has provably ended: not waited for any more."""
        self.given_up = True
        if boot_is_gone:
            self.startable = False

    def pass_start_by(self, *, is_newest: bool) -> bool:
        """Its start-by has passed, by our own clock. Whether that settles anything.

        That proves nothing of one that is waited for: there its worker has to say so.
        """
        if not self.startable or (is_newest and not self.given_up):
            return False
        self.startable = False
        return True

    def close(self) -> None:
        """Its request has ended elsewhere."""
        if not self.has_ended:
            self.progress.advance(FAILURE)

    def _refuse(self, what: str, *states: str) -> None:
        if self.progress.state in states:
            raise IllegalTransition(self.progress.state, what)


class Request:
    """One request in flight."""

    __slots__ = (
        "attempts",
        "base",
        "cancel_at",
        "cancels",
        "crashes",
        "deadline",
        "has_run",
        "is_forced",
        "is_out",
        "is_withdrawn",
        "lost",
        "names",
        "not_before",
        "order",
        "phase",
        "retries",
        "rounds",
        "submitted",
    )

    def __init__(self, order: Order, now: float) -> None:
        self.order = order
        self.submitted = now
        #: When it expires if nothing has started it; None: no clock runs on the request itself.
        self.deadline: float | None = None
        #: It is offered to nobody before this; None: no such time was ever set. One that is over
        #: stays, as the moment from which it could have been started.
        self.not_before = order.not_before
        self.phase: Phase = "OPEN"
        #: Oldest first. Not in it: what was given back long ago.
        self.attempts: list[Attempt] = []
        #: The first attempt of the present round.
        self.base = 1
        #: Attempts of this round lost to silent workers, whether they were known to run or not.
        self.lost = 0
        #: Runs of it that ended their process.
        self.crashes = 0
        #: Rounds begun.
        self.rounds = 1
        #: Of these, retries of a failure.
        self.retries = 0
        #: What rounds of it are called at peers that know no tickets, beside its uuid.
        self.names: list[str] = []
        #: Whether a worker said that it runs: its future can be cancelled by force only. Of one
        #: that is retried, since the last failure.
        self.has_run = False
        #: It has been sent, and has neither ended since nor waits again; the throttle's.
        self.is_out = False
        #: CANCELLING: its caller has been told that it is cancelled; nothing changes that.
        self.is_withdrawn = False
        #: CANCELLING: a run of it is to be ended.
        self.is_forced = False
        #: How often CANCEL was sent in this phase.
        self.cancels = 0
        #: When it is sent next.
        self.cancel_at = 0.0

    @property
    def newest(self) -> Attempt | None:
        """The latest attempt of the present round."""
        if self.attempts and self.attempts[-1].number >= self.base:
            return self.attempts[-1]
        return None

    @property
    def current(self) -> Attempt | None:
        """The newest attempt while it is waited for; otherwise the next is to be sent."""
        newest = self.newest
        if newest is None or newest.has_ended or newest.given_up:
            return None
        return newest

    @property
    def elder(self) -> Attempt | None:
        """One of this round that was given up, runs after all, and is waited for again.

        Something newer has been sent meanwhile, or is about to be.
        """
        for attempt in reversed(self.attempts[:-1]):
            if attempt.number < self.base:
                break
            if attempt.is_running and not attempt.given_up:
                return attempt
        return None

    @property
    def state(self) -> str:
        """The state of the newest attempt that is waited for, WAITING while none is."""
        attempt = self.current or self.elder
        return attempt.progress.state if attempt else WAITING

    @property
    def is_pending_at_taskflow(self) -> bool:
        """Whether it is waited for where nothing is ever proven: only its expiry can end that."""
        current = self.current
        return current is not None and current.ticket is None and not current.is_running

    @property
    def next_number(self) -> int:
        """The number of the next attempt."""
        return self.attempts[-1].number + 1 if self.attempts else self.base

    @property
    def runs_lost(self) -> int:
        """How many attempts of this round were known to run when their workers fell silent."""
        return sum(
            attempt.given_up and attempt.is_running
            for attempt in self.attempts
            if attempt.number >= self.base
        )

    @property
    def ready_since(self) -> float:
        """When it was, or will be, first offered: nobody can be blamed for the time before."""
        if self.not_before is None:
            return self.submitted
        return max(self.submitted, self.not_before)

    def is_due(self, now: float) -> bool:
        """Whether it may be offered."""
        return self.not_before is None or self.not_before <= now

    def has_expired(self, now: float) -> bool:
        """Whether its own clock, if it has one, leaves no time for another start."""
        return self.deadline is not None and self.deadline <= now

    def add(self, attempt: Attempt) -> None:
        """One more dispatch; the oldest that was given back is forgotten if there are too many."""
        attempts = self.attempts
        attempts.append(attempt)
        if len(attempts) > KEPT_ATTEMPTS:
            for n, old in enumerate(attempts):
                if old.has_ended and not old.startable:
                    del attempts[n]
                    break

    def find(
        self, boot: str | None, tickets: Sequence[Ticket] = (), *, name: str | None = None
    ) -> Attempt | None:
        """The attempt an answer is about: by worker process and ticket, else by its name there.

        Of several tickets the newest counts: one run may serve several attempts.
        """
        for attempt in reversed(self.attempts):
            if boot is None:
                if attempt.ticket is None and name in (None, attempt.name):
                    return attempt
            elif attempt.peer.key == boot and attempt.ticket in tickets:
                return attempt
        return None

    def at(self, peer: Peer) -> list[Attempt]:
        """Its attempts at this worker process, oldest first."""
        return [attempt for attempt in self.attempts if attempt.peer is peer]

    def tickets_at(self, peer: Peer) -> Sequence[Ticket]:
        """Its tickets there, newest last."""
        return [one.ticket for one in self.attempts if one.peer is peer and one.ticket is not None]


def round_name(uuid: str, base: int) -> str:
    """What a round after the first is called where there are no tickets; a uuid again."""
    return str(uuid5(_ROUNDS, f"{uuid} {base}"))


def start_by_passes(sent: float, window: float) -> float:
    """When the start-by of what was sent has certainly passed, however the clocks drift.

    The earliest moment at which ``timing.start_by_has_passed`` says so, and a little more.
    """
    return sent + window * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN + 0.001
