"""Everything a worker process holds: ``(shift, input, now) → effects``. Pure; the keeper owns it.

Decided here: what is taken, run, given back, kept and given up, and when who is told of it. Not
decided here: how a task runs (the pool) and how a message travels; and in rooms of their own: who
is heard (``reception``), what a message does to a request that is held (``table``), who is known
and which tickets are over (``known``, ``tombstones``), when a result is sent again (``outbox``),
what runs next (``slots``), what is said (``voice``, ``letters``).

The rules, in short (native dialect, sections 1, 6 and 7; taskflow ``worker_based/server.py``):

* A request that cannot be run still gets an answer if there is anybody to answer: FAILURE, or
  RELEASE if it may be run elsewhere.
* RUNNING is always sent before the end: taskflow's executor dies of a SUCCESS without it. But for
  who has announced that an end says as much (``ends``) there is none of a run that is over by then.
* A request is not started once our clock has passed its start-by. A ticket that is over is never
  run again, however often the broker delivers it.
* What the pool has and has not begun is queued still, but nobody knows for certain. A cancel of it,
  and whatever else has it go back, asks the pool for it; the pool's answer decides.
* The end of a run is kept, and told again and again, until it is receipted. At a bound the oldest
  is thrown away; that it ran is remembered still. An end that the broker does not take is a FAILURE
  instead, which says so.
* What has been queued for ``QUEUE_PATIENCE`` while every slot is taken goes back: somebody may be
  idle.
* So does all that is queued when we find that we stood still for about a lease, and what comes in
  the moment after that: somebody else has it by now (``standstill``).
* Questions are answered at once, however busy the slots are, with all that is held. An executor
  that is known hears from us every beat, question or not, until it has been silent itself for its
  ``keep``; then nothing is held for it any more.
* Going down: what is queued is given back at once, what runs may finish until the limit; what is
  still running then is ended and told as stopped, so that it runs elsewhere. For the receipts of
  the last results we stay a moment.

To taskflow's peers no header is sent and nothing they do not know; what is queued for them is put
back on the topic when we go down, for they have no RELEASE. What reaches us from there after that
is put back with the next beat: at once, and it would go round between us and the broker.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from protocol import envelope, messages
from protocol.envelope import Envelope
from protocol.errors import MessageRefused, ValueRefused
from protocol.failure import from_exception, from_text
from protocol.messages import Cancel, Question, Receipt, ReleaseReason, Request, Response
from protocol.parcel import Parcel, Received, Refused
from protocol.resources import NodeReport
from protocol.states import FAILURE, SUCCESS
from protocol.timing import BEAT, RECEIPT_DELAY, RESULT_RESENDS, pace
from protocol.topology import Names, takes_replies
from worker import table
from worker.effects import Done, Effect, Run, Send, TakeBack
from worker.effects import End as EndRun
from worker.known import Executors, Known
from worker.letters import Letters
from worker.reception import Reception
from worker.record import Asked, CancelOf, Record
from worker.slots import Slots
from worker.standstill import Standstill
from worker.table import Verdict
from worker.tombstones import HORIZON
from worker.voice import Voice
from worker.work import (
    Encoded,
    End,
    Ended,
    Offer,
    Offers,
    PoolEnded,
    Report,
    Returned,
    Started,
    TaskEvent,
)

#: There are few of them, and each sends often.
_takes_replies: Final = lru_cache(maxsize=1000)(takes_replies)

#: Seconds for the receipts of the last results to come when everything else is over.
LAST_WORDS: Final = 2 * RECEIPT_DELAY
#: Seconds for the pool to return what it was asked for, once nothing else is waited for.
RETURN_TIME: Final = 0.5


class Shift:
    """All a worker process holds. Keeper only. ``now`` is its clock, in seconds."""

    def __init__(
        self,
        names: Names,
        topics: tuple[str, ...],
        *,
        worker: str,
        boot: str,
        slots: int,
        beat: float = BEAT,
        can_stop: bool = True,
        replaces: str | None = None,
        machine: NodeReport | None = None,
    ) -> None:
        """``can_stop``: a task that runs can be ended. ``replaces``: as :meth:`replace` has it.

        ``machine``: what is told of it, and may be taken of it at once; None: nothing is told.
        """
        #: What was refused, thrown away or came to nothing, by reason.
        self.counts: Counter[str] = Counter()
        self._is_native = names.is_native
        self._topics = topics
        self._worker = worker
        self._beat = beat
        have = None if machine is None else machine.have
        self._slots = Slots(worker, slots, can_stop=can_stop, have=have)
        self._standstill = Standstill(beat)
        self._executors = Executors()
        self._reception = Reception(boot, self._executors, self.counts, pace=pace(beat))
        self._letters = Letters(
            names,
            topics,
            worker=worker,
            boot=boot,
            slots=slots,
            beat=beat,
            can_stop=can_stop,
            takes_batches=self._executors.take_batches,
            machine=machine,
        )
        self._letters.replaces = replaces
        self._voice = Voice(
            self._letters, self._slots, self._executors, self.counts, pace=pace(beat)
        )
        self._next_beat = 0.0
        self._is_listening = True
        self._draining_until = math.inf
        #: Until when the receipts of the last results are waited for, once all else is over.
        self._last_words_until = math.inf
        #: taskflow's requests that came while we go down, until they are put back.
        self._aside: list[Record] = []
        self._is_done = False
        #: Executors that were sent ends since their alarm was set.
        self._unalarmed: dict[str, Known] = {}

    def replace(self, boot: str | None) -> None:
        """This process has come in the place of that one, provably dead. Before any input."""
        self._letters.replaces = boot

    def measured(self, cores_used: float | None, memory_used: float | None) -> None:
        """These parts of the machine's cores and memory are in use, 0 to 1; None: unknown."""
        self._letters.measured(cores_used, memory_used)

    def credit(self, now: float) -> int:
        """How many unfinished requests we take."""
        return self._slots.credit(now)

    @property
    def held(self) -> tuple[int, int]:
        """How many requests are queued, those included that the pool has, and how many run."""
        slots = self._slots
        return len(slots.queue) + len(slots.handed) + len(slots.recalled), len(slots.running)

    @property
    def kept(self) -> tuple[int, int]:
        """How many results wait for their receipts, and how many were dropped and do so still."""
        results = sum(len(known.outbox) for known in self._executors)
        return results, sum(known.dropped for known in self._executors)

    # inputs -----------------------------------------------------------------------------------

    def offering(self, tasks: Iterable[Offer], now: float) -> list[Effect]:
        """These are the tasks offered from now on: everybody is told."""
        self._slots.offer(tasks)
        return self._voice.hello(now)

    def consuming(self, now: float) -> list[Effect]:
        """The listener has (again) begun to consume."""
        self._standstill.consumes(now)
        return self._voice.hello(now)

    def listening(self, is_listening: bool, now: float) -> None:
        """Whether what is sent to us can arrive, which is so until something else is said.

        While it cannot, no executor is given up: the silence is not theirs.
        """
        if is_listening and not self._is_listening:
            self._executors.could_not_be_heard(now)
        self._is_listening = is_listening

    def heard(self, deliveries: Iterable[Received | Refused], now: float) -> list[Effect]:
        """What the listener took from the broker, in order."""
        effects = self._come_round(now)
        asked: dict[str, bool] = {}
        for delivery in deliveries:
            if isinstance(delivery, Refused):
                effects += self._refused(delivery)
                continue
            around, message = delivery.envelope, delivery.message
            reply_to = around.reply_to
            if reply_to is None or not self._may_answer(reply_to):
                self.counts["reply_to_not_addressable"] += 1
            elif isinstance(message, Question):
                asked[reply_to] = self._asked(around, reply_to, now) or asked.get(reply_to, False)
            elif isinstance(message, Request):
                effects += self._requested(around, reply_to, message, now)
            elif isinstance(message, (Cancel, Receipt)):
                effects += self._told(around, reply_to, message, now)
        effects += self._fill(now)
        for reply_to, is_native in asked.items():  # once each, however many questions had piled up
            effects += self._voice.answer(reply_to, now, is_native=is_native)
        for known in self._reception.take_returned():
            effects += self._voice.everything(known, now, RESULT_RESENDS[0])
            self._executors.set_alarm(known, now)
        return effects + self._finish(now)

    def reported(self, reports: Iterable[Report], now: float) -> list[Effect]:
        """What the pool says, in order."""
        effects = self._come_round(now)
        reports = tuple(reports)
        ended = {report.key for report in reports if isinstance(report, Ended)}
        returned: list[int] = []
        for report in reports:
            if isinstance(report, Ended):
                effects += self._ended(report, now)
            elif isinstance(report, Started):
                effects += self._begun(report.key, now, has_ended=report.key in ended)
            elif isinstance(report, TaskEvent):
                effects += self._happened(report, now)
            elif isinstance(report, Returned):
                returned.append(report.key)
            elif isinstance(report, Offers):
                effects += self.offering(report.tasks, now)
            else:
                assert isinstance(report, PoolEnded)
                # Nothing runs here any more: what came is told.
                effects += self.drain(now, LAST_WORDS)
        for key in reversed(returned):  # each goes to the front
            effects += self._returned(key, now)
        return effects + self._fill(now) + self._finish(now)

    def undeliverable(self, parcel: Parcel, why: str, now: float) -> list[Effect]:
        """The broker does not take this message, and will not: what was an end becomes a FAILURE.

        Whatever else it was, nobody waits for it, or says it again.
        """
        if not _is_end(parcel):
            return []
        instead = self._letters.instead_of(parcel, why)
        if 2 * len(instead.body) > len(parcel.body):  # its length was not the reason
            return []
        if parcel.envelope.header is None:
            self.counts["undeliverable"] += 1
            return [Send(instead)]
        for known in self._executors:
            record = known.records.get(parcel.envelope.correlation_id or "")
            if record is not None and known.outbox.holds(record, parcel.body):
                self.counts["undeliverable"] += 1
                known.outbox.forget(record)
                return self._keep(known, record, instead.body, now) + self._finish(now)
        return []

    def drain(self, now: float, limit: float) -> list[Effect]:
        """Go down: give back what is queued, let what runs finish for ``limit`` seconds at most."""
        self._draining_until = min(self._draining_until, now + limit)
        if self._slots.is_closed:
            return self.tick(now)
        self._slots.is_closed = True
        effects = self._voice.hello(now)
        for record in list(self._slots.queue):
            effects += self._give_back(record, "drain", now)
        for record in list(self._slots.handed.values()):
            effects += self._recall(record, "drain")
        return effects + self._finish(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: beat, remind, forget, end what has had its time."""
        effects = self._come_round(now)
        if now >= self._next_beat:
            self._next_beat = now + self._beat
            effects += self._put_back()
            if self._is_listening:
                self._executors.grow_older(now)
        for known in self._executors.take_due(now):
            effects += self._look_at(known, now)
        if now >= self._draining_until:
            for record in list(self._slots.running.values()):
                effects += self._stop(record, now)
        if now >= self._draining_until + RETURN_TIME:  # a pool that does not answer
            for record in list(self._slots.recalled.values()):
                self._slots.begin(record.key)
                effects += self._stop(record, now)
        while self._slots.impatient_at <= now:
            oldest = self._slots.oldest
            assert oldest is not None
            if oldest.is_handed_over:
                effects += self._recall(oldest, "full")
            else:
                effects += self._give_back(oldest, "full", now)
        return effects + self._finish(now)

    def next_deadline(self) -> float:
        """When ``tick`` has something to do at the latest."""
        deadline = min(
            self._next_beat,
            self._executors.next_alarm,
            self._slots.impatient_at,
            self._standstill.until,
        )
        if self._is_done:
            return deadline
        ends = self._draining_until
        if self._slots.recalled and not self._slots.running:
            ends += RETURN_TIME
        return min(deadline, ends, self._last_words_until)

    # what executors say -----------------------------------------------------------------------

    def _asked(self, around: Envelope, reply_to: str, now: float) -> bool:
        """A question; whether it is a native peer's."""
        header = around.header
        if header is None or not self._is_native:
            return False
        known = self._reception.meet(reply_to, header, now)
        if known is not None and not known.is_past(header.incarnation):
            known.wants_kept(header.keep)
            known.caps = header.caps if header.caps is not None else known.caps
        return True

    def _requested(
        self, around: Envelope, reply_to: str, request: Request, now: float
    ) -> list[Effect]:
        uuid = around.correlation_id or ""
        header = around.header if self._is_native else None
        asked = Record(uuid, reply_to, request, header, now)
        if header is None:
            return self._take(asked, None, now)
        known = self._reception.addressed(reply_to, header, now)
        tickets = self._reception.named(known, uuid, header, now) if known else []
        if known is not None and header.caps is not None:
            known.caps = header.caps
        if known is None or not tickets:
            return []
        held = known.records.get(uuid)
        if held is not None and held.is_handed_over and asked.base > held.attempt:
            held.unanswered["REQUEST", asked.attempt, ""] = Asked(asked, tickets)
            return self._recall(held, "full")
        return self._carry_out(table.requested(known, asked, tickets, now), known, uuid, now)

    def _told(
        self, around: Envelope, reply_to: str, message: Cancel | Receipt, now: float
    ) -> list[Effect]:
        uuid, header = around.correlation_id or "", around.header
        if header is None or not self._is_native:
            self.counts["not_spoken_here"] += 1
            return []
        known = self._reception.addressed(reply_to, header, now)
        if known is None:
            return []
        effects: list[Effect] = []
        if isinstance(message, Receipt):
            known.may_start_until(now + HORIZON, now)
            for verdict in table.receipted(known, self._reception.read(message.tickets)):
                effects += self._carry_out(verdict, known, uuid, now)
            return effects
        tickets = self._reception.named(known, uuid, header, now)
        if not tickets:
            return []
        record = known.records.get(uuid)
        if record is not None and record.is_handed_over:
            copy_of = "CANCEL", header.attempt or 1, message.if_started
            record.unanswered[copy_of] = CancelOf(header, tickets, message.if_started)
            return self._recall(record, "full")
        verdict = table.cancelled(known, uuid, header, tickets, message.if_started)
        return self._carry_out(verdict, known, uuid, now)

    def _carry_out(self, verdict: Verdict, known: Known, uuid: str, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if verdict.counted:
            self.counts[verdict.counted] += 1
        if verdict.end is not None:
            effects += self._end(verdict.end)
        if verdict.leave is not None:
            self._slots.queue.pop(verdict.leave, None)
            effects += self._recall(verdict.leave, "full")
        if verdict.release:
            effects += self._voice.release(known, uuid, verdict.release, now)
        is_stopping = verdict.end is not None and verdict.end.is_ending  # its end is on its way
        if verdict.tell is not None and not is_stopping:
            effects += self._voice.again(known, verdict.tell, now)
        if verdict.take is not None:
            effects += self._take(verdict.take, known, now)
        return effects

    def _may_answer(self, reply_to: str) -> bool:
        """Whether an answer may be sent there; in taskflow's dialect topics are queues as well."""
        return _takes_replies(reply_to) and (self._is_native or reply_to not in self._topics)

    def _refused(self, refused: Refused) -> list[Effect]:
        """A delivery that is no message: answered if it was a request and says whose."""
        uuid = refused.correlation_id if refused.kind == envelope.REQUEST else None
        if uuid is None or refused.reply_to is None or not self._may_answer(refused.reply_to):
            return []
        failure = from_text(
            ("protocol.errors.MessageRefused", "Exception"),
            f"worker {self._worker} refused the request ({refused.reason}): {refused.detail}",
        )
        return [Send(self._letters.refusal(refused.reply_to, uuid, failure))]

    # from taken to ended ----------------------------------------------------------------------

    def _take(self, record: Record, known: Known | None, now: float) -> list[Effect]:
        """One that is new here; of a native peer it is held already, under its tickets."""
        if record.is_late(now):
            return self._give_back(record, "late", now)
        if known is not None and known.is_full:
            return self._give_back(record, "full", now)
        failure = self._slots.why_not(record)
        if failure is not None:
            self.counts["failed_unrun"] += 1
            return self._keep_end(record, Response.failure(failure), "done", now)
        if self._slots.is_closed and known is None and not self._is_done:
            self._aside.append(record)
        elif self._slots.is_closed:
            return self._give_back(record, "drain", now)
        elif (self._slots.is_crowded or self._slots.is_paused) and known is not None:
            return self._give_back(record, "full", now)
        else:
            self._slots.queue[record] = None
        return []

    def _fill(self, now: float) -> list[Effect]:
        """Hand what is queued to the pool while there is room for it, in the order it came."""
        effects: list[Effect] = []
        begin_by = now + self._standstill.most
        while (record := self._slots.next(now)) is not None:
            if record.is_late(now):
                effects += self._give_back(record, "late", now)
            else:
                effects.append(Run(self._slots.hand_over(record, begin_by)))
        return effects

    def _begun(self, key: int, now: float, *, has_ended: bool) -> list[Effect]:
        """It runs, or has run: that is told, and what was waiting for it is answered."""
        record = self._slots.begin(key)
        if record is None:
            return []
        effects: list[Effect] = []
        if not record.is_nobodys and not (has_ended and self._end_will_do(record)):
            effects += self._voice.running(record, now)
        return effects + self._answer_late(record, now)

    def _returned(self, key: int, now: float) -> list[Effect]:
        """It has not begun: it goes where it was to go, or waits again, at the front."""
        record = self._slots.take(key)
        if record is None:
            return []
        reason, record.recalled = record.recalled, None
        known = self._known_of(record)
        if record.is_detached:
            return []
        if record.is_receipted:
            self.counts["receipted_unrun"] += 1
            assert known is not None
            known.let_go(record)
            return self._answer_late(record, now)
        was_asked = bool(record.unanswered)
        effects = self._answer_late(record, now)
        if known is not None and known.records.get(record.uuid) is not record:
            return effects  # it was cancelled
        if record.is_late(now):
            reason = "late"
        elif self._slots.is_closed:
            reason = "drain"
        elif was_asked and not self._slots.is_paused:  # by a newer round, or of an older attempt
            reason = None
        if reason is not None:
            return effects + self._give_back(record, reason, now)
        self._slots.queue[record] = None
        self._slots.queue.move_to_end(record, last=False)
        return effects

    def _answer_late(self, record: Record, now: float) -> list[Effect]:
        """What came while nobody knew whether it had begun is answered as if it came now."""
        effects: list[Effect] = []
        known = self._known_of(record)
        kept, record.unanswered = record.unanswered, {}
        for message in kept.values():
            assert known is not None
            if isinstance(message, Asked):
                verdict = table.requested(known, message.record, message.tickets, now)
            else:
                verdict = table.cancelled(known, record.uuid, *message)
            effects += self._carry_out(verdict, known, record.uuid, now)
        return effects

    def _recall(self, record: Record, reason: ReleaseReason) -> list[Effect]:
        """Ask the pool for it, if that has it and was not asked; it is given back when it comes."""
        if record.is_handed_over and self._slots.recall(record, reason):
            return [TakeBack(record.key)]
        return []

    def _end_will_do(self, record: Record) -> bool:
        """Whether its executor takes the end of a run as the word that it has begun, too."""
        known = self._known_of(record)
        return known is not None and known.takes_ends

    def _happened(self, event: TaskEvent, now: float) -> list[Effect]:
        effects = self._begun(event.key, now, has_ended=True)  # what it says, says as much
        record = self._slots.running.get(event.key)
        if record is None or record.is_nobodys:
            return effects
        try:
            return effects + self._voice.event(record, event, now)
        except (ValueRefused, MessageRefused):
            self.counts["event_refused"] += 1
            return effects

    def _ended(self, ended: Ended, now: float) -> list[Effect]:
        effects = self._begun(ended.key, now, has_ended=True)
        record = self._slots.end(ended.key, now)
        if record is None:
            self.counts["ended_unasked"] += 1
            return effects
        if record.is_nobodys:
            return effects + self._discard(record)
        result = ended.result
        if ended.failure is not None:
            response: Response | Encoded = Response.failure(ended.failure)
        else:
            response = result if isinstance(result, Encoded) else Response.success(result)
        return effects + self._keep_end(record, response, ended.end, now)

    def _discard(self, record: Record) -> list[Effect]:
        """Nobody waits for its end."""
        self.counts["discarded"] += 1
        known = self._executors.get(record.reply_to)
        if known is not None and not record.is_detached:
            known.let_go(record)
        return []

    def _keep_end(
        self, record: Record, response: Response | Encoded, end: End, now: float
    ) -> list[Effect]:
        """It has ended; what a native peer is told of it is kept until that is receipted."""
        record.end = end
        try:
            body = self._letters.body_of(record, response)
        except (ValueRefused, MessageRefused) as refusal:
            body = self._letters.body_of(record, Response.failure(from_exception(refusal)))
        known = self._known_of(record)
        if known is None:
            return [Send(self._letters.response(record, body, now))]
        record.state = "ended"
        record.request = None
        return self._keep(known, record, body, now)

    def _keep(self, known: Known, record: Record, body: bytes, now: float) -> list[Effect]:
        """Send this end, and keep it until it is receipted."""
        dropped = known.outbox.keep(record, body, now)
        effects = self._voice.end(known, record, now)
        if dropped:
            for one in dropped:
                known.drop(one)
            self.counts["dropped"] += len(dropped)
            effects += self._voice.dropped(known, dropped, now)
        if not known.understands(envelope.RECEIPT):
            known.let_go(record)
        self._unalarmed[known.reply_to] = known
        return effects

    def _end(self, record: Record) -> list[Effect]:
        """Have its process ended, if that can be done; its end is reported like any other."""
        if record.is_ending or not self._slots.can_stop:
            return []
        record.is_ending = True
        return [EndRun(record.key)]

    def _stop(self, record: Record, now: float) -> list[Effect]:
        """The limit of the drain: end it, and say so without waiting for its process."""
        self._slots.leave(record.key)
        if record.is_nobodys:
            return [*self._discard(record), EndRun(record.key)]
        text = f"worker {self._worker} went down while the task ran"
        failure = from_text(("worker.Stopped", "Exception"), text)
        effects = self._keep_end(record, Response.failure(failure), "stopped", now)
        return [*effects, EndRun(record.key)]

    def _give_back(self, record: Record, reason: ReleaseReason, now: float) -> list[Effect]:
        """It was not started and never will be here: it is queued, and the pool has it not."""
        self.counts[f"given_back_{reason}"] += 1
        self._slots.queue.pop(record, None)
        known = self._known_of(record)
        if known is None:  # a taskflow peer's: as it came, for another worker of the topic
            try:
                return [Send(self._letters.put_back(record))]
            except ValueRefused as refusal:
                failure = from_exception(refusal)
                return [Send(self._letters.refusal(record.reply_to, record.uuid, failure))]
        known.let_go(record)
        effects: list[Effect] = []
        if record.needs is not None and reason == "full":  # others have what it needs: tell it so
            effects = self._voice.beat(known, now)
            self._executors.set_alarm(known, now)
        return effects + self._voice.release(known, record.uuid, ((record.tickets, reason),), now)

    def _known_of(self, record: Record) -> Known | None:
        """Its executor; None if that is a taskflow peer."""
        return self._executors.get(record.reply_to) if record.is_native else None

    # time -------------------------------------------------------------------------------------

    def _come_round(self, now: float) -> list[Effect]:
        """At whatever input: see whether we stood still, or have caught up since.

        taskflow's peers have no leases: theirs stay.
        """
        effects: list[Effect] = []
        if self._standstill.ends(now):
            self.counts["stood_still"] += 1
            self._slots.is_paused = True
            for record in [record for record in self._slots.queue if record.is_native]:
                effects += self._give_back(record, "full", now)
            for record in [one for one in self._slots.handed.values() if one.is_native]:
                effects += self._recall(record, "full")
        elif self._slots.is_paused and self._standstill.is_caught_up(now):
            self._slots.is_paused = False
            for known in self._executors:  # who has no room with us, as far as they know
                if known.beat_at < math.inf:
                    effects += self._voice.beat(known, now)
                    self._executors.set_alarm(known, now)
        return effects

    def _look_at(self, known: Known, now: float) -> list[Effect]:
        """The alarm of an executor went off: beat and remind it; or give it up."""
        if known.is_gone(now) and self._is_listening:
            return self._give_up(known)
        effects: list[Effect] = []
        if now >= known.beat_at:
            effects += self._voice.beat(known, now)
        effects += self._voice.reminders(known, now)
        self._executors.set_alarm(known, now)
        return effects

    def _give_up(self, known: Known) -> list[Effect]:
        """It has been silent for longer than it wanted anything kept: nothing of it is held."""
        effects: list[Effect] = []
        known.beat_at = math.inf
        for record in list(known.records.values()):
            self.counts["given_up"] += 1
            if record.state == "running":
                effects += self._end(record)
            self._slots.queue.pop(record, None)
            effects += self._recall(record, "full")
            record.is_detached = True
            record.unanswered.clear()
            known.let_go(record)
        return effects

    def _put_back(self) -> list[Effect]:
        effects: list[Effect] = []
        for record in self._aside:
            effects += self._give_back(record, "drain", 0.0)
        self._aside.clear()
        return effects

    def _finish(self, now: float) -> list[Effect]:
        """At the end of an input: see to the alarms of whom was told something. And if we go down
        and nothing is queued or runs, wait for the last receipts; then it is over.
        """
        if self._unalarmed:
            for known in self._unalarmed.values():
                self._executors.set_alarm(known, now)
            self._unalarmed.clear()
        if self._is_done or not self._slots.is_closed or not self._slots.is_empty:
            return []
        until = min(self._last_words_until, now + LAST_WORDS, self._draining_until)
        self._last_words_until = until
        unheard = [k for k in self._executors if len(k.outbox) and not k.is_silent(now)]
        if unheard and now < until:
            return []
        self._is_done = True
        effects: list[Effect] = []
        for known in unheard:
            effects += self._voice.everything(known, now, RECEIPT_DELAY)
        return [*effects, *self._put_back(), *self._voice.hello(now), Done()]


def _is_end(parcel: Parcel) -> bool:
    """Whether it says how a run came to its end."""
    if parcel.envelope.kind != envelope.RESPONSE:
        return False
    said = messages.decode(envelope.RESPONSE, parcel.body, at_worker=False)
    return isinstance(said, Response) and said.state in (SUCCESS, FAILURE)
