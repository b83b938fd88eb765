"""Who is told what of what is held: the shift's way of speaking, as effects.

Decided here: what an answer, a beat and a reminder consist of, and what a peer that does not
understand a kind is spared. When there is something to say is the shift's to decide; how it is
written, ``letters``'.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final

from protocol import envelope
from protocol.errors import MessageRefused
from protocol.messages import RUNNING_BODY, Held, Response
from protocol.parcel import Parcel
from protocol.timing import KEEP
from worker.effects import Effect, Send
from worker.known import Executors, Known
from worker.letters import Letters
from worker.outbox import PROBE
from worker.record import Record
from worker.slots import Slots
from worker.table import Items
from worker.work import TaskEvent

#: Seconds of silence after which an executor that keeps a journal is away for longer: it is killed,
#: and whoever starts it again asks us. A beat in between would only fill the queue of its replies.
#: Of one for which nothing is held it is enough if it could have had all that an executor without a
#: journal has: perhaps it has ended, and never comes back.
AWAY: Final = 600.0
AWAY_FOR_NOTHING: Final = KEEP
#: Most tickets in one DROPPED: what its reader unfolds is bounded (``tickets.MAX_NAMED``).
_AT_ONCE: Final = 4096


class Voice:
    """Speaks for one worker process. The shift's thread only."""

    def __init__(
        self,
        letters: Letters,
        slots: Slots,
        executors: Executors,
        counts: Counter[str],
        *,
        pace: float,
    ) -> None:
        """``pace``: seconds between two beats, if nothing is said in between."""
        self._letters = letters
        self._slots = slots
        self._executors = executors
        self._counts = counts
        self._pace = pace

    # that we are here -------------------------------------------------------------------------

    def hello(self, now: float) -> list[Effect]:
        """To every executor that hears the fan-out."""
        credit = self._slots.credit(now)
        busy = self._slots.busy
        return _sent(self._letters.to_everybody(self._slots.offered, credit, now, busy))

    def answer(self, reply_to: str, now: float, *, is_native: bool) -> list[Effect]:
        """To a question: NOTIFY, and to a native peer all that is held of it, even if nothing."""
        known = self._executors.get(reply_to)
        if not is_native:
            credit = self._slots.credit(now)
            return _sent(self._letters.to_one(reply_to, self._slots.offered, credit, now))
        if known is not None:
            return self.beat(known, now, is_asked=True)
        # There is no room to know it: nothing of it is here, and nothing should come.
        parcels = self._letters.to_one(reply_to, self._slots.offered, 0, now)
        return _sent([*parcels, self._letters.held(reply_to, Held(), now)])

    def beat(self, known: Known, now: float, *, is_asked: bool = False) -> list[Effect]:
        """NOTIFY, and all that is held of it if there is anything, or if it ``is_asked`` for."""
        known.beat_at = now + self._until_next(known, now)
        credit = self._credit(known, now)
        serves = known.incarnation or None
        parcels = self._letters.to_one(
            known.reply_to,
            self._slots.offered,
            credit,
            now,
            serves,
            free=self._slots.free_for(known.reply_to),
            busy=self._slots.busy,
        )
        held = known.digest()
        if known.understands(envelope.HELD) and (is_asked or held != Held()):
            try:
                parcels.append(self._letters.held(known.reply_to, held, now))
            except MessageRefused:  # more tickets than a message may name: no executor of ours
                self._counts["held_refused"] += 1
        return _sent(parcels, is_repeated=True)

    def _until_next(self, known: Known, now: float) -> float:
        """Seconds to its next beat, unless it asks before; infinity: it must ask."""
        silence = now - known.heard
        if silence > AWAY_FOR_NOTHING and not known.records:
            return math.inf
        return max(self._pace, PROBE) if silence > AWAY else self._pace

    # how it is with one request ---------------------------------------------------------------

    def running(self, record: Record, now: float) -> list[Effect]:
        """RUNNING."""
        return [Send(self._letters.response(record, RUNNING_BODY, now))]

    def event(self, record: Record, said: TaskEvent, now: float) -> list[Effect]:
        """EVENT.

        Raises ``ValueRefused`` or ``MessageRefused`` for details that cannot travel.
        """
        body = self._letters.body_of(record, Response.event(said.event_type, said.details))
        return [Send(self._letters.response(record, body, now))]

    def end(
        self, known: Known, record: Record, now: float, *, is_repeated: bool = False
    ) -> list[Effect]:
        """Its result, which is kept."""
        body = known.outbox.take_body(record, now)
        parcel = self._letters.response(record, body, now, self._credit(known, now))
        return [Send(parcel, is_repeated)]

    def again(self, known: Known, record: Record, now: float) -> list[Effect]:
        """How it is with it: RUNNING, its result, or DROPPED. Of what waits there is nothing."""
        if record.state == "running":
            return self.running(record, now)
        if record.state == "ended":
            return self.end(known, record, now)
        if record.state == "dropped":
            return self.dropped(known, [record], now)
        return []

    def release(self, known: Known, uuid: str, items: Items, now: float) -> list[Effect]:
        """RELEASE."""
        credit = self._credit(known, now)
        return _sent([self._letters.release(known.reply_to, uuid, items, credit, now)])

    def dropped(self, known: Known, records: Iterable[Record], now: float) -> list[Effect]:
        """DROPPED, as many as it takes."""
        if not known.understands(envelope.DROPPED):
            return []
        tickets = [ticket for record in records for ticket in record.tickets]
        lists = [tickets[at : at + _AT_ONCE] for at in range(0, len(tickets), _AT_ONCE)]
        return _sent(self._letters.dropped(known.reply_to, some, now) for some in lists)

    # how it is with all of them ---------------------------------------------------------------

    def reminders(self, known: Known, now: float) -> list[Effect]:
        """Results due to be sent again: by the schedule, or a probe while it is silent."""
        if known.is_silent(now):
            probe = known.outbox.take_probe(now)
            due = [] if probe is None else [probe]
        else:
            due = known.outbox.take_due(now)
        return [
            effect for record in due for effect in self.end(known, record, now, is_repeated=True)
        ]

    def everything(self, known: Known, now: float, older: float) -> list[Effect]:
        """All its results that were not sent within the last ``older`` seconds, and DROPPED."""
        again = known.outbox.all_again(now, older)
        effects = [effect for record in again for effect in self.end(known, record, now)]
        dropped = [record for record in known.records.values() if record.state == "dropped"]
        return effects + self.dropped(known, dropped, now)

    def _credit(self, known: Known, now: float) -> int:
        return 0 if known.is_full else self._slots.credit(now)


def _sent(parcels: Iterable[Parcel], *, is_repeated: bool = False) -> list[Effect]:
    return [Send(parcel, is_repeated) for parcel in parcels]
