"""One request taken by this worker process, from its arrival until nothing of it is held any more.

A record is the memory of one (executor, uuid): in which state it is, the highest attempt heard of,
and all the tickets it was sent under, each of which it answers for. What moves it from state to
state is the shift's (native dialect, section 6); the tickets it leaves behind are ``tombstones``'.
A request of a taskflow peer is a record without tickets, remembered only while it waits or runs.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from protocol.envelope import Header
from protocol.messages import IfStarted, ReleaseReason, Request
from protocol.resources import Requirements, requirements_from_json
from protocol.tickets import Ticket
from worker.work import End

#: ``queued``: taken, not known to have begun. ``running``: it has begun, says the pool. ``ended``:
#: its result is kept until it is receipted. ``dropped``: it ended, and its result was thrown away
#: at the bound.
State = Literal["queued", "running", "ended", "dropped"]

#: What copies of a message have in common: its kind, its attempt, and what a CANCEL wants.
CopyOf = tuple[str, int, str]


class Record:
    """One request. The shift's; its thread only."""

    __slots__ = (
        "attempt",
        "devices",
        "end",
        "header",
        "is_detached",
        "is_ending",
        "is_receipted",
        "key",
        "memory_limit",
        "needs",
        "recalled",
        "reply_to",
        "request",
        "since",
        "state",
        "ticket",
        "tickets",
        "unanswered",
        "uuid",
    )

    def __init__(
        self, uuid: str, reply_to: str, request: Request, header: Header | None, now: float
    ) -> None:
        self.uuid = uuid
        #: Its executor's key.
        self.reply_to = reply_to
        #: None once it has ended: nothing of it is needed any more.
        self.request: Request | None = request
        #: Of the newest REQUEST; None from a taskflow peer.
        self.header = header
        said = _needs(header)
        #: What its run takes of the machine, besides a slot; None: nothing was said.
        self.needs = None if said is None else said.amount
        #: The numbers of the accelerators that its run has, by kind; None: it asked for none.
        self.devices: dict[str, list[int]] | None = None
        #: Bytes of memory at which it is ended; None: however much it takes.
        self.memory_limit = said.memory or None if said and said.limits_memory else None
        #: The highest attempt heard of.
        self.attempt = (header.attempt or 1) if header else 1
        #: The newest ticket, under which it is answered; None from a taskflow peer.
        self.ticket: Ticket | None = None
        #: All tickets it answers for, in the order they were heard of.
        self.tickets: list[Ticket] = []
        self.state: State = "queued"
        #: The pool's number for the run; 0 while the pool does not have it.
        self.key = 0
        #: Asked back from the pool, and the reason for which it is given back when it comes.
        self.recalled: ReleaseReason | None = None
        #: What came meanwhile, and is answered when it is known whether it has begun; of copies the
        #: last.
        self.unanswered: dict[CopyOf, CancelOf | Asked] = {}
        #: When it was taken.
        self.since = now
        #: How it came to its end.
        self.end: End | None = None
        #: Running, and receipted already: its end is told only if it is asked for again.
        self.is_receipted = False
        #: Running, and nobody's any more: its end is not told.
        self.is_detached = False
        #: Running, and its end has been asked for.
        self.is_ending = False

    @property
    def is_native(self) -> bool:
        """Whether it was sent by a native peer, under a ticket."""
        return self.header is not None

    @property
    def is_handed_over(self) -> bool:
        """Whether the pool has it, and has not said that it has begun: nobody knows, just now."""
        return self.state == "queued" and self.key != 0

    @property
    def may_have_started(self) -> bool:
        """Whether it is not certain that it never ran."""
        return self.state != "queued" or self.key != 0

    @property
    def base(self) -> int:
        """The first attempt of the round it was asked in."""
        return (self.header.base or 1) if self.header else 1

    @property
    def is_nobodys(self) -> bool:
        """Whether nobody waits for its end."""
        return self.is_detached or self.is_receipted

    def is_late(self, now: float) -> bool:
        """Whether our clock has passed its start-by. In milliseconds, as the clock is told."""
        return self.header is not None and now * 1000 >= (self.header.start_by or 0)


class CancelOf(NamedTuple):
    """A CANCEL, kept until it is known whether what it is of has begun."""

    header: Header
    tickets: list[Ticket]
    if_started: IfStarted


class Asked(NamedTuple):
    """A REQUEST of a later round, kept until it is known whether the earlier one's has begun."""

    #: What it would be.
    record: Record
    tickets: list[Ticket]


def _needs(header: Header | None) -> Requirements | None:
    return None if header is None or header.need is None else requirements_from_json(header.need)
