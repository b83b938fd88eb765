"""The table of section 6 of the native dialect: what a message does to what is held of its uuid.

Rows are REQUEST, CANCEL and RECEIPT from an executor that is known; columns the states of a record
(``queued``, ``running``, ``ended``, ``dropped``), *over*: no record, and its newest ticket is over,
and *none*: neither. Each function does the book-keeping of its row and returns what is left to be
done, as a :class:`Verdict` that the shift carries out. The rows that are no messages (a slot is
free, a task ends, a store is full, we go down, an executor falls silent) are the shift's.

What the pool has, and has not said to have begun, is queued; but a CANCEL of it, and the REQUEST
of a later round, are kept until that is known (the shift's): its columns answer them differently.

``n`` is the highest attempt the record has heard of. A message that *lifts* a record names a newer
attempt of the same round: what is held serves that one too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from protocol.envelope import Header
from protocol.messages import IfStarted, ReleaseReason
from protocol.tickets import Ticket
from worker.known import Known
from worker.record import Record

#: Tickets that are given back, and why.
Items = tuple[tuple[Sequence[Ticket], ReleaseReason], ...]


class Verdict(NamedTuple):
    """What is left to be done, in this order."""

    #: The word it is counted under, or empty.
    counted: str = ""
    #: Its run is to be ended, if it can be.
    end: Record | None = None
    #: It waits for a slot no more; the pool is asked for it, if that has it.
    leave: Record | None = None
    #: These are to be given back.
    release: Items = ()
    #: How it is with this one is to be told: RUNNING, its result, or DROPPED.
    tell: Record | None = None
    #: It is new here and held by now: to be queued, or refused.
    take: Record | None = None


def requested(known: Known, asked: Record, tickets: Sequence[Ticket], now: float) -> Verdict:
    """REQUEST, with all its tickets, the newest last. ``asked``: the record it would be."""
    record = known.records.get(asked.uuid)
    is_live = record is not None and not record.is_receipted
    is_newer = record is None or asked.attempt > record.attempt
    if known.is_over(tickets[-1]) and (is_newer or not is_live):
        return _of_what_is_over(known, asked, tickets, now)
    if record is None:
        return _new(known, asked, tickets)
    if is_live and not is_newer:
        known.name(record, tickets)
        return Verdict("double", tell=record)
    if tickets[-1] in record.tickets:
        return Verdict("ticket_of_another")  # of an older attempt
    if _serves(record, asked, now):
        record.header = asked.header
        _lift(known, record, asked.attempt, tickets)
        return Verdict(tell=record)
    record.is_detached = True  # what runs may run on; its end is not told
    known.let_go(record)
    return _new(known, asked, tickets)


def cancelled(
    known: Known, uuid: str, header: Header, tickets: Sequence[Ticket], if_started: IfStarted
) -> Verdict:
    """CANCEL, with all its tickets, the newest last."""
    attempt, base = header.attempt or 1, header.base or 1
    record = known.records.get(uuid)
    if record is None:
        return Verdict(release=_put_over(known, tickets))
    if record.state == "queued" and attempt < record.attempt:
        return Verdict("stale_cancel")  # it is repeated under the present attempt
    end = record if record.state == "running" and if_started == "stop" else None
    if record.is_receipted:
        return Verdict(end=end, release=_put_over(known, tickets))
    if record.state == "queued" or base > record.attempt:
        tickets = tuple(dict.fromkeys((*record.tickets, *tickets)))
        record.is_detached = True
        known.let_go(record)
        return Verdict(end=end, leave=record, release=_put_over(known, tickets))
    _lift(known, record, attempt, tickets)
    return Verdict(end=end, tell=record)


def receipted(known: Known, tickets: Iterable[Ticket]) -> list[Verdict]:
    """RECEIPT of these. That of a record's newest ticket is one of all; of another, of that alone:
    it was an older attempt's, and what is held may still be waited for.
    """
    named: dict[Record, list[Ticket]] = {}
    strange: list[Ticket] = []
    for ticket in tickets:
        record = known.by_ticket.get(ticket)
        if record is None:
            strange.append(ticket)
        else:
            named.setdefault(record, []).append(ticket)
    known.over.add(strange, was_started=True)
    verdicts: list[Verdict] = []
    for record, its in named.items():
        if record.ticket not in its:
            known.shed(record, its)
        elif record.state == "running" or record.is_handed_over:
            known.shed(record, tuple(record.tickets))
            record.is_receipted = True
            if record.state == "queued":
                verdicts.append(Verdict(leave=record))
        else:
            known.let_go(record)
            if record.state == "queued":
                verdicts.append(Verdict("receipted_unrun", leave=record))
    return verdicts


def _serves(record: Record, asked: Record, now: float) -> bool:
    """Whether what is held serves this newer attempt; otherwise it makes room for it."""
    if record.state == "queued":
        return True
    if record.state == "dropped":
        return asked.is_late(now)
    return asked.base <= record.attempt


def _new(known: Known, asked: Record, tickets: Sequence[Ticket]) -> Verdict:
    known.hold(asked, tickets)
    return Verdict(take=asked)


def _of_what_is_over(known: Known, asked: Record, tickets: Sequence[Ticket], now: float) -> Verdict:
    """A tombstone: given back once more if it was never started; nothing if it may have been."""
    if not known.over.never_started(tickets[-1]):
        return Verdict("double")
    unstarted = tuple(ticket for ticket in tickets if known.over.never_started(ticket))
    reason: ReleaseReason = "late" if asked.is_late(now) else "full"
    return Verdict("double", release=((unstarted, reason),))


def _put_over(known: Known, tickets: Iterable[Ticket]) -> Items:
    """None of these starts any more; what is said of them."""
    named = tuple(tickets)
    known.over.add(named, was_started=False)
    unstarted = tuple(ticket for ticket in named if known.over.never_started(ticket))
    others = tuple(ticket for ticket in named if not known.over.never_started(ticket))
    items: Items = ((unstarted, "cancelled"), (others, "over"))
    return tuple((said, reason) for said, reason in items if said)


def _lift(known: Known, record: Record, attempt: int, tickets: Sequence[Ticket]) -> None:
    """The record answers for these tickets too, and serves this attempt if it is a newer one."""
    known.name(record, tickets)
    is_asked_again = attempt > record.attempt or record.is_receipted
    if is_asked_again and tickets[-1] in record.tickets:
        record.ticket = tickets[-1]
    record.attempt = max(attempt, record.attempt)
    record.is_receipted = False
