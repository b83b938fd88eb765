"""Who is speaking to this worker process, and whether it makes sense: what is checked first.

Decided here: whether a message of a native peer is for this process, of an executor that is known
or can be, of its present incarnation, and under tickets that are its own. What is not is counted
and goes no further. What a message then does is ``table``'s. The shift's thread only.
"""

from __future__ import annotations

import math
from collections import Counter

from protocol.envelope import Header
from protocol.errors import MessageRefused
from protocol.tickets import Ticket, parse
from worker.known import MAX_TICKETS, Executors, Known


class Reception:
    """Checks what comes in, and remembers who has spoken."""

    def __init__(
        self, boot: str, executors: Executors, counts: Counter[str], *, pace: float
    ) -> None:
        """``pace``: seconds until somebody new is told that we are here."""
        self._boot = boot
        self._executors = executors
        self._counts = counts
        self._pace = pace
        #: Who had been silent and has spoken again, until it is asked for.
        self._returned: dict[str, Known] = {}

    def take_returned(self) -> list[Known]:
        """Who had been silent and has spoken since this was asked for last."""
        returned = list(self._returned.values())
        self._returned.clear()
        return returned

    def meet(self, reply_to: str, header: Header, now: float) -> Known | None:
        """The executor that has just spoken; None if there is no room to know one more."""
        known = self._executors.meet(reply_to, now)
        if known is None:
            self._counts["too_many_executors"] += 1
            return None
        if not known.is_past(header.incarnation):
            known.incarnation = header.incarnation or known.incarnation
            if self._executors.hear(known, now):
                self._returned[reply_to] = known
        if known.beat_at == math.inf:  # it is new, or was given up
            known.beat_at = now + self._pace
            self._executors.set_alarm(known, now)
        return known

    def addressed(self, reply_to: str, header: Header, now: float) -> Known | None:
        """The same, of a message that must be for this very process."""
        if header.boot == self._boot:
            return self.meet(reply_to, header, now)
        self._counts["wrong_boot"] += 1
        return None

    def named(self, known: Known, uuid: str, header: Header, now: float) -> list[Ticket]:
        """The tickets of a REQUEST or CANCEL, the newest last; empty if it makes no sense."""
        tickets = self.read(header.tickets or "")
        if known.is_past(header.incarnation):
            self._counts["old_incarnation"] += 1
        elif len(tickets) > MAX_TICKETS:
            self._counts["too_many_tickets"] += 1
        elif known.are_anothers(tickets, uuid):
            self._counts["ticket_of_another"] += 1
        elif (header.base or 1) > (header.attempt or 1):
            self._counts["base_above_attempt"] += 1
        elif tickets:
            known.wants_kept(header.keep)  # it may have been heard before its first question
            known.over.saw(tickets)
            known.may_start_until((header.start_by or 0) / 1000, now)
            return tickets
        return []

    def read(self, text: str) -> list[Ticket]:
        """The tickets a text names; none if it names none that make sense."""
        try:
            return parse(text)
        except MessageRefused as refusal:
            self._counts[refusal.reason] += 1
            return []
