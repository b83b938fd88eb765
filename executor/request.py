"""One request and its attempts.

A *round* is one asked execution; an *attempt* is one dispatch in it, with an automaton of its own
that never runs backwards. The first end of the present round wins; ends of attempts before ``base``
belong to an earlier round and are fenced.

Only the ledger touches these, on the keeper's thread; nothing is decided here but what one request
alone can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.states import WAITING, Progress
from protocol.tickets import Ticket

if TYPE_CHECKING:
    from executor.directory import Peer

#: Attempts of one request that are remembered; an answer to an older one is an answer to nothing.
KEPT_ATTEMPTS: Final = 16


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


class Attempt:
    """One dispatch."""

    __slots__ = ("number", "peer", "progress", "sent", "ticket", "uuid", "window")

    def __init__(
        self,
        uuid: str,
        number: int,
        peer: Peer,
        ticket: Ticket | None,
        *,
        sent: float,
        window: float,
    ) -> None:
        #: Of its request.
        self.uuid = uuid
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
        self.progress = Progress()

    @property
    def handle(self) -> Ticket | str:
        """What it is open under at its peer: its ticket, or the uuid where there are no tickets."""
        return self.ticket or self.uuid


class Request:
    """One request in flight."""

    __slots__ = ("attempts", "base", "deadline", "lost", "order", "rounds", "submitted")

    def __init__(self, order: Order, now: float) -> None:
        self.order = order
        self.submitted = now
        #: When it expires if nothing has started it; None: no clock runs on the request itself.
        self.deadline: float | None = None
        #: The latest ``KEPT_ATTEMPTS`` attempts, oldest first; all but the last are given up.
        self.attempts: list[Attempt] = []
        #: The first attempt of the present round.
        self.base = 1
        #: Attempts of this round lost to silent workers.
        self.lost = 0
        #: Rounds begun because an attempt ended its process.
        self.rounds = 1

    @property
    def current(self) -> Attempt | None:
        """The newest attempt, unless it has been given up: then the request waits again."""
        if self.attempts and not self.attempts[-1].progress.is_terminal:
            return self.attempts[-1]
        return None

    @property
    def state(self) -> str:
        """The state of the newest attempt, WAITING while there is none."""
        current = self.current
        return current.progress.state if current else WAITING

    def has_expired(self, now: float) -> bool:
        """Whether its own clock, if it has one, leaves no time for another start."""
        return self.deadline is not None and self.deadline <= now

    def add(self, attempt: Attempt) -> None:
        """One more dispatch; the oldest is forgotten for it, if there are too many."""
        self.attempts.append(attempt)
        if len(self.attempts) > KEPT_ATTEMPTS:
            del self.attempts[0]

    def find(self, boot: str | None, tickets: str | None) -> Attempt | None:
        """The attempt an answer is about: by worker process and ticket, by dialect without them."""
        for attempt in reversed(self.attempts):
            if boot is None:
                if attempt.ticket is None:
                    return attempt
            elif attempt.peer.key == boot and str(attempt.ticket) == tickets:
                return attempt
        return None
