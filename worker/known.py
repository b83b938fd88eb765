"""The executors this worker process knows: what is held for each, what is over, when it was heard.

An executor is known from its first question or request until it has been silent for longer than it
wants its results kept, nothing is held for it, and no request of it could start any more. Beats,
results sent again and silence are waited for with one *alarm* for each.

Decided here: who is known, how many, and the book-keeping of tickets: each belongs to one record,
or is over, or has not been heard of. What a message does to a record is the shift's to decide. The
shift's thread only.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from protocol.envelope import BATCH, ENDS
from protocol.messages import Held
from protocol.tickets import Ticket, to_text
from protocol.timing import BEAT, KEEP, KEEP_JOURNALED, LEASE
from worker.outbox import Outbox
from worker.record import Asked, Record
from worker.tombstones import HORIZON, Tombstones

#: Most executors known. One more is refused, unless a silent one can be forgotten.
MAX_EXECUTORS: Final = 1000
#: Most results dropped for an executor and not receipted while it is given credit.
MAX_DROPPED: Final = 10_000
#: Most tickets of one record. Executors make a few; with one more the oldest is over.
MAX_TICKETS: Final = 64
#: Seconds without a word after which an executor counts as silent: it asks every beat.
SILENCE: Final = 2 * BEAT
#: Seconds between two searches for an executor to forget, when all are known that can be.
_SEARCH: Final = 1.0


class Known:
    """One executor."""

    __slots__ = (
        "_caps",
        "alarm",
        "beat_at",
        "by_ticket",
        "dropped",
        "heard",
        "incarnation",
        "keep",
        "last_start_by",
        "outbox",
        "over",
        "reachable_since",
        "records",
        "reply_to",
        "takes_batches",
        "takes_ends",
    )

    def __init__(self, reply_to: str, now: float) -> None:
        #: Where it is answered.
        self.reply_to = reply_to
        self.heard = now
        #: Before then nothing could reach us.
        self.reachable_since = 0.0
        #: Seconds of silence for which its results are kept.
        self.keep = KEEP
        self._caps: tuple[str, ...] | None = None
        #: Whether it has said that it reads several messages as one.
        self.takes_batches = False
        #: Whether it has said that an end tells it as well that the run had begun.
        self.takes_ends = False
        #: The highest incarnation it has spoken under.
        self.incarnation = 0
        #: What is held of it, by uuid.
        self.records: dict[str, Record] = {}
        #: The same by ticket.
        self.by_ticket: dict[Ticket, Record] = {}
        self.over = Tombstones()
        self.outbox = Outbox()
        #: How many of its records are ``dropped``.
        self.dropped = 0
        #: Until then, in seconds of our clock, something it has sent might still start.
        self.last_start_by = 0.0
        #: When it is to hear from us next.
        self.beat_at = math.inf
        #: When it is looked at next; see :class:`Executors`.
        self.alarm = math.inf

    @property
    def caps(self) -> tuple[str, ...] | None:
        """What it understands beyond taskflow's kinds; None: it has not said."""
        return self._caps

    @caps.setter
    def caps(self, said: tuple[str, ...] | None) -> None:
        self._caps = said
        self.takes_batches = said is not None and BATCH.lower() in said
        self.takes_ends = said is not None and ENDS in said

    def understands(self, kind: str) -> bool:
        """Whether messages of this kind may be sent to it. Who has not said so yet is one of us."""
        return self._caps is None or kind.lower() in self._caps

    def is_past(self, incarnation: int | None) -> bool:
        """Whether this is an earlier incarnation than has spoken already."""
        return incarnation is not None and incarnation < self.incarnation

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard of it for longer than its questions are apart."""
        return now - self.heard > SILENCE

    def is_gone(self, now: float) -> bool:
        """Whether it has been silent, and could be heard, for longer than its results are kept."""
        return now - max(self.heard, self.reachable_since) > self.keep

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken of it: there is no room to remember more."""
        return self.dropped >= MAX_DROPPED or self.over.is_full

    def can_be_forgotten(self, now: float) -> bool:
        """Whether nothing would be lost, and nothing could run twice, without a memory of it."""
        return not self.records and now > self.last_start_by

    def wants_kept(self, seconds: int | None) -> None:
        """It says for how long; within what makes sense."""
        if seconds is not None:
            self.keep = min(max(float(seconds), LEASE), KEEP_JOURNALED)

    def may_start_until(self, start_by: float, now: float) -> None:
        """Something of it may start until then. No executor of ours looks further ahead."""
        self.last_start_by = max(self.last_start_by, min(start_by, now + 2 * HORIZON))

    # tickets ----------------------------------------------------------------------------------

    def is_over(self, ticket: Ticket) -> bool:
        """Whether this ticket is over. What is held is not, whatever the floor."""
        return ticket not in self.by_ticket and ticket in self.over

    def are_anothers(self, tickets: Iterable[Ticket], uuid: str) -> bool:
        """Whether one of these belongs to a record of another uuid."""
        by_ticket = self.by_ticket
        for ticket in tickets:
            record = by_ticket.get(ticket)
            if record is not None and record.uuid != uuid:
                return True
        return False

    def hold(self, record: Record, tickets: Sequence[Ticket]) -> None:
        """A new record, under these tickets, the newest last."""
        self.records[record.uuid] = record
        record.ticket = tickets[-1]
        self.name(record, tickets)

    def name(self, record: Record, tickets: Iterable[Ticket]) -> None:
        """The record answers for these too; but for those that are over."""
        by_ticket, over = self.by_ticket, self.over
        for ticket in tickets:
            if ticket not in by_ticket and ticket not in over:
                by_ticket[ticket] = record
                record.tickets.append(ticket)
        if len(record.tickets) > MAX_TICKETS:
            oldest = record.tickets[: len(record.tickets) - MAX_TICKETS]
            self.shed(record, [ticket for ticket in oldest if ticket != record.ticket])

    def shed(self, record: Record, tickets: Iterable[Ticket]) -> None:
        """These tickets of it are over; it lives on with the others."""
        gone = set(tickets)
        self._bury(ticket for ticket in record.tickets if ticket in gone)
        self.over.add(gone, was_started=record.may_have_started)
        record.tickets = [ticket for ticket in record.tickets if ticket not in gone]

    def let_go(self, record: Record) -> None:
        """Nothing of it is held any more: its tickets are over, its result is forgotten."""
        self._bury(record.tickets)
        self.over.add(record.tickets, was_started=record.may_have_started)
        if self.records.get(record.uuid) is record:
            del self.records[record.uuid]
        if record.state == "ended":
            self.outbox.forget(record)
        elif record.state == "dropped":
            self.dropped -= 1

    def drop(self, record: Record) -> None:
        """Its result is gone; that it ran is remembered."""
        record.state = "dropped"
        self.dropped += 1

    def digest(self) -> Held:
        """All that is held of it."""
        if not self.records:
            return Held()
        tickets: dict[str, list[Ticket]] = {"queued": [], "running": [], "ended": [], "dropped": []}
        for record in self.records.values():
            tickets[record.state] += record.tickets
            if record.unanswered:
                tickets["queued"] += self._kept(record)
        return Held(**{state: to_text(held) for state, held in tickets.items()})

    def _kept(self, record: Record) -> list[Ticket]:
        """The tickets of later rounds that wait for the pool's word on this one."""
        named = (kept.tickets for kept in record.unanswered.values() if isinstance(kept, Asked))
        kept = dict.fromkeys(chain.from_iterable(named))
        return [
            ticket for ticket in kept if ticket not in self.by_ticket and ticket not in self.over
        ]

    def _bury(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            del self.by_ticket[ticket]


class Executors:
    """All that are known, by their reply keys, the longest silent first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        #: (when, number, whose): the alarm of each, and old ones that it has been set before.
        self._alarms: list[tuple[float, int, Known]] = []
        self._sequence = 0
        self._searched = -math.inf

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def get(self, reply_to: str) -> Known | None:
        """The executor of this key, if it is known."""
        return self._known.get(reply_to)

    def take_batches(self, reply_to: str) -> bool:
        """Whether the executor of this key has said that it reads several messages as one."""
        known = self._known.get(reply_to)
        return known is not None and known.takes_batches

    def meet(self, reply_to: str, now: float) -> Known | None:
        """The same, known from now on; None if there is no room for one more."""
        known = self._known.get(reply_to)
        if known is None and (len(self._known) < MAX_EXECUTORS or self._make_room(now)):
            known = self._known[reply_to] = Known(reply_to, now)
        return known

    def hear(self, known: Known, now: float) -> bool:
        """It has just spoken; whether it had been silent before."""
        if known.heard == now and next(reversed(self._known)) == known.reply_to:
            return False  # one of several in a list
        was_silent = known.is_silent(now)
        known.heard = now
        self._known.move_to_end(known.reply_to)
        return was_silent

    def could_not_be_heard(self, now: float) -> None:
        """Until now nothing could reach us: nobody's silence counts."""
        for known in self:
            known.reachable_since = now

    def grow_older(self, now: float) -> None:
        """Forget tickets whose time is over, and executors that are gone. At a beat."""
        for known in list(self):
            known.over.age(now)
            if known.is_gone(now) and known.can_be_forgotten(now):
                del self._known[known.reply_to]

    def set_alarm(self, known: Known, now: float) -> None:
        """Have it looked at when its beat or one of its results is due, if not before."""
        due = known.outbox.next_due(is_silent=known.is_silent(now))
        when = min(known.beat_at, due)
        if when < known.alarm:
            known.alarm = when
            self._sequence += 1
            heapq.heappush(self._alarms, (when, self._sequence, known))

    def take_due(self, now: float) -> Iterator[Known]:
        """Who is to be looked at now. Each has no alarm any more."""
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            when, _, known = heapq.heappop(alarms)
            if when == known.alarm and self._known.get(known.reply_to) is known:
                known.alarm = math.inf
                yield known

    @property
    def next_alarm(self) -> float:
        """The earliest; infinity if there is none."""
        return self._alarms[0][0] if self._alarms else math.inf

    def _make_room(self, now: float) -> bool:
        if now - self._searched < _SEARCH:
            return False
        for known in self:
            if not known.is_silent(now):
                break
            if known.can_be_forgotten(now):
                del self._known[known.reply_to]
                return True
        self._searched = now
        return False
