"""Everything a worker process holds: ``(shift, input, now) → effects``. Pure; the keeper owns it.

Decided here: what is taken, run, given back and answered, and who is told that we are alive. Not
decided here: how a task runs (the pool) or a message travels.

The rules, in short (native dialect, sections 1, 6 and 7; taskflow ``worker_based/server.py``):

* A request that cannot be run still gets an answer if there is anybody to answer: FAILURE, or
  RELEASE if it may be run elsewhere.
* RUNNING is always sent before the end: taskflow's executor dies of a SUCCESS without it.
* A request is not started once our clock has passed its start-by. A ticket that is over is never
  run again, however often the broker delivers it.
* What has been queued for ``QUEUE_PATIENCE`` while every slot is taken goes back: somebody may be
  idle.
* Questions are answered at once, however busy the slots are; an executor whose work is held hears
  from us every beat, question or not, until it has been silent itself for ``KEEP``.
* Going down: what is queued is given back at once, what runs may finish until the limit; what is
  still running then is ended and told as stopped, so that it runs elsewhere.

To taskflow's peers no header is sent and nothing they do not know; what is queued for them is put
back on the topic when we go down, for they have no RELEASE. What reaches us from there after that
is put back with the next beat: at once, and it would go round between us and the broker.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from protocol import envelope, kombu_json, messages
from protocol.envelope import Envelope, Header
from protocol.errors import MessageRefused, ValueRefused
from protocol.failure import FailureDict, from_exception, from_text
from protocol.messages import Answer, Question, Release, ReleaseReason, Request, Response
from protocol.parcel import Parcel, Received, Refused
from protocol.states import FAILURE
from protocol.tickets import Ticket, TicketSet
from protocol.tickets import parse as parse_tickets
from protocol.timing import BEAT, CREDIT_MAX, KEEP, QUEUE_PATIENCE
from protocol.topology import Address, Names, inbox_key, is_addressable
from worker.effects import Done, Effect, Run, Send
from worker.effects import End as EndRun
from worker.work import End, Ended, Offer, Offers, Report, Started, TaskEvent, Work

#: Most executors remembered: a request from one more makes one forgotten that has nothing here, the
#: longest silent of them.
MAX_EXECUTORS: Final = 1000
#: Most gaps among an executor's tickets. At one more, all up to the newest count as over: what is
#: still under way is not run here, and goes elsewhere when its start-by has passed.
MAX_GAPS: Final = 10_000
#: Incarnations of an executor whose tickets are remembered, the latest.
MAX_INCARNATIONS: Final = 8

_Key = tuple[str, str]  # (reply_to, uuid)


class _Held:
    """One request taken: queued or running."""

    __slots__ = (
        "attempt",
        "detached",
        "header",
        "key",
        "reply_to",
        "request",
        "since",
        "ticket",
        "uuid",
    )

    def __init__(
        self, uuid: str, reply_to: str, request: Request, header: Header | None, now: float
    ) -> None:
        self.uuid = uuid
        self.reply_to = reply_to
        self.request = request
        #: The newest header; None from a taskflow peer.
        self.header = header
        self.attempt = (header.attempt or 1) if header else 1
        #: The newest ticket, under which it is answered.
        self.ticket: Ticket | None = None
        #: The pool's number for the run; 0 while it is queued.
        self.key = 0
        #: When it was taken.
        self.since = now
        #: Nobody waits for this run any more; its end is not told.
        self.detached = False


class _Over:
    """The tickets of one incarnation that are over: ended, or given back."""

    __slots__ = ("floor", "newest", "tickets")

    def __init__(self) -> None:
        self.tickets = TicketSet()
        #: All up to this one are over.
        self.floor = 0
        self.newest = 0

    def __contains__(self, number: int) -> bool:
        return number <= self.floor or number in self.tickets

    def add(self, number: int) -> None:
        self.tickets.add(number)
        self.newest = max(self.newest, number)
        if len(self.tickets) > MAX_GAPS:
            self.floor = self.newest
            self.tickets = TicketSet()


class _Executor:
    """One executor that has sent us a request."""

    __slots__ = ("heard", "incarnation", "over")

    def __init__(self) -> None:
        self.heard = 0.0
        #: The highest incarnation it has spoken under.
        self.incarnation = 0
        #: What is over, by incarnation.
        self.over: dict[int, _Over] = {}

    def put_over(self, ticket: Ticket) -> None:
        """It never runs again."""
        self.over.setdefault(ticket.incarnation, _Over()).add(ticket.number)
        if len(self.over) > MAX_INCARNATIONS:
            del self.over[min(self.over)]


class Shift:
    """All a worker process holds. Keeper only. ``now`` is its clock, in seconds."""

    def __init__(
        self, names: Names, topics: tuple[str, ...], *, worker: str, boot: str, slots: int
    ) -> None:
        #: What was refused or came to nothing, by reason.
        self.counts: Counter[str] = Counter()
        self._names = names
        self._topics = topics
        self._worker = worker
        self._boot = boot
        self._inbox = inbox_key(topics[0], boot)
        self._slots = slots
        self._offered: frozenset[str] = frozenset()
        self._queue: deque[_Held] = deque()
        self._running: dict[int, _Held] = {}
        self._held: dict[_Key, _Held] = {}
        self._executors: dict[str, _Executor] = {}
        self._last_key = 0
        self._next_beat = 0.0
        #: When tasks ended, within the last second: the rate that credit follows.
        self._ends: deque[float] = deque(maxlen=CREDIT_MAX)
        self._draining_until: float | None = None
        #: taskflow's requests that came while we go down, until they are put back.
        self._aside: list[_Held] = []
        self._is_done = False

    def credit(self, now: float) -> int:
        """How many unfinished requests we take: the slots, and what was finished within a second.

        So quick tasks queue up here and the slots never run dry, and long ones never wait here
        while another worker is idle.
        """
        if self._draining_until is not None:
            return 0
        while self._ends and now - self._ends[0] > 1.0:
            self._ends.popleft()
        return min(self._slots + len(self._ends), CREDIT_MAX)

    @property
    def held(self) -> tuple[int, int]:
        """How many requests are queued and how many run."""
        return len(self._queue), len(self._running)

    # inputs -----------------------------------------------------------------------------------

    def offering(self, tasks: Iterable[Offer], now: float) -> list[Effect]:
        """These are the tasks offered from now on: everybody is told."""
        self._offered = frozenset(offer.name for offer in tasks)
        return self._hello(now)

    def consuming(self, now: float) -> list[Effect]:
        """The listener has (again) begun to consume."""
        return self._hello(now)

    def heard(self, deliveries: Iterable[Received | Refused], now: float) -> list[Effect]:
        """What the listener took from the broker, in order."""
        effects: list[Effect] = []
        asked: dict[str, bool] = {}
        for delivery in deliveries:
            if isinstance(delivery, Refused):
                self._refused(delivery, effects, now)
                continue
            around = delivery.envelope
            reply_to = around.reply_to
            if not is_addressable(reply_to) or reply_to is None:
                self.counts["reply_to_not_addressable"] += 1
                continue
            if isinstance(delivery.message, Question):
                asked[reply_to] = around.header is not None
            elif isinstance(delivery.message, Request):
                self._requested(around, reply_to, delivery.message, effects, now)
        for reply_to, is_native in asked.items():  # once each, however many questions had piled up
            if is_native and reply_to in self._executors:
                self._executors[reply_to].heard = now
            effects += self._announce(self._names.to_replies(reply_to), now)
        self._fill(effects, now)
        return effects

    def reported(self, reports: Iterable[Report], now: float) -> list[Effect]:
        """What the pool says, in order."""
        effects: list[Effect] = []
        for report in reports:
            if isinstance(report, Ended):
                self._ended(report, effects, now)
            elif isinstance(report, TaskEvent):
                held = self._running.get(report.key)
                if held is not None and not held.detached:
                    response = Response.event(report.event_type, report.details)
                    try:
                        effects.append(self._respond(held, response, now))
                    except (ValueRefused, MessageRefused):
                        self.counts["event_refused"] += 1
            elif isinstance(report, Offers):
                effects += self.offering(report.tasks, now)
            else:
                assert isinstance(report, Started)  # told already, when it was handed over
        self._fill(effects, now)
        self._finish(effects, now)
        return effects

    def drain(self, now: float, limit: float) -> list[Effect]:
        """Go down: give back what is queued, let what runs finish for ``limit`` seconds at most."""
        if self._draining_until is not None:
            self._draining_until = min(self._draining_until, now + limit)
            return self.tick(now)
        self._draining_until = now + limit
        effects = self._hello(now)
        while self._queue:
            self._give_back(self._queue.popleft(), "drain", effects, now)
        self._finish(effects, now)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: beat, forget, end what has had its time."""
        effects: list[Effect] = []
        if now >= self._next_beat:
            self._beat(effects, now)
        if self._draining_until is not None and now >= self._draining_until:
            for held in list(self._running.values()):
                self._stop(held, effects, now)
        while self._queue and self._impatient_at() <= now:
            self._give_back(self._queue.popleft(), "full", effects, now)
        self._finish(effects, now)
        return effects

    def next_deadline(self) -> float:
        """When ``tick`` has something to do at the latest."""
        if self._draining_until is not None and self._running:
            return min(self._next_beat, self._draining_until)
        return min(self._next_beat, self._impatient_at())

    def _impatient_at(self) -> float:
        """When the request that has been queued longest goes back, so that an idle worker gets it.

        taskflow's peers would send it to this very topic again: theirs stay.
        """
        if self._queue and self._queue[0].ticket is not None:
            return self._queue[0].since + QUEUE_PATIENCE
        return math.inf

    # requests ---------------------------------------------------------------------------------

    def _requested(
        self, around: Envelope, reply_to: str, request: Request, effects: list[Effect], now: float
    ) -> None:
        header = around.header if self._names.is_native else None
        held = _Held(around.correlation_id or "", reply_to, request, header, now)
        if header is not None and not self._admit(held, header, effects, now):
            return
        if request.task not in self._offered:
            self._reject(held, self._unknown(request.task), effects, now)
        elif self._draining_until is not None:
            if held.ticket is None and not self._is_done:
                self._aside.append(held)
            else:
                self._give_back(held, "drain", effects, now)
        elif len(self._queue) + len(self._running) >= CREDIT_MAX and header is not None:
            self._give_back(held, "full", effects, now)
        else:
            if header is not None:
                self._held[reply_to, held.uuid] = held
            self._queue.append(held)

    def _admit(self, held: _Held, header: Header, effects: list[Effect], now: float) -> bool:
        """Whether a native request is new here, ours, and in time."""
        if header.boot != self._boot:
            self.counts["wrong_boot"] += 1
            return False
        executor = self._remember(held.reply_to, now)
        incarnation = header.incarnation or 1
        if incarnation < executor.incarnation:
            self.counts["old_incarnation"] += 1
            return False
        executor.incarnation = incarnation
        try:
            held.ticket = parse_tickets(header.tickets or "")[-1]
        except MessageRefused as refusal:
            self.counts[refusal.reason] += 1
            return False
        if held.ticket.number in executor.over.get(held.ticket.incarnation, ()):
            self.counts["double"] += 1
            return False
        known = self._held.get((held.reply_to, held.uuid))
        if known is not None:
            return self._again(known, held, header, effects, now)
        if now * 1000 >= (header.start_by or 0):
            self._give_back(held, "late", effects, now)
            return False
        return True

    def _again(
        self, known: _Held, held: _Held, header: Header, effects: list[Effect], now: float
    ) -> bool:
        """One we hold already: doubled, or a newer attempt. Whether to take it as a new request."""
        if known.key and (header.base or 1) > known.attempt:
            known.detached = True  # its round is past: it runs on, and its end is not told
            self._over(known)
            return True
        if held.attempt > known.attempt:  # the execution that is held serves the newest attempt
            self._put_over(known)
            known.attempt, known.ticket, known.header = held.attempt, held.ticket, header
        else:
            self.counts["double"] += 1
        if known.key:
            effects.append(self._respond(known, Response.running(), now))
        return False

    def _fill(self, effects: list[Effect], now: float) -> None:
        """Start what is queued while a slot is free, in the order it came."""
        while self._queue and len(self._running) < self._slots:
            held = self._queue.popleft()
            header = held.header
            if header is not None and now * 1000 >= (header.start_by or 0):
                self._give_back(held, "late", effects, now)
                continue
            self._last_key += 1
            held.key = self._last_key
            self._running[held.key] = held
            effects.append(self._respond(held, Response.running(), now))
            effects.append(Run(_work(held)))

    def _ended(self, ended: Ended, effects: list[Effect], now: float) -> None:
        held = self._running.pop(ended.key, None)
        if held is None or held.detached:
            self.counts["ended_unasked"] += 1
            return
        self._ends.append(now)
        if ended.failure is not None:
            response = Response.failure(ended.failure)
        else:
            response = Response.success(ended.result)
        try:
            effects.append(self._respond(held, response, now, end=ended.end))
        except (ValueRefused, MessageRefused) as refusal:
            failure = Response.failure(from_exception(refusal))
            effects.append(self._respond(held, failure, now, end=ended.end))
        self._over(held)

    def _stop(self, held: _Held, effects: list[Effect], now: float) -> None:
        """The limit of the drain: end it, and say so without waiting for its process."""
        del self._running[held.key]
        text = f"worker {self._worker} went down while the task ran"
        failure = from_text(("worker.Stopped", "Exception"), text)
        if not held.detached:
            effects.append(self._respond(held, Response.failure(failure), now, end="stopped"))
            self._over(held)
        effects.append(EndRun(held.key))

    def _reject(self, held: _Held, failure: FailureDict, effects: list[Effect], now: float) -> None:
        self.counts["failed_unrun"] += 1
        effects.append(self._respond(held, Response.failure(failure), now, end="done"))
        self._over(held)

    def _give_back(
        self, held: _Held, reason: ReleaseReason, effects: list[Effect], now: float
    ) -> None:
        self.counts[f"given_back_{reason}"] += 1
        if held.ticket is not None:
            self._over(held)
            release = Release(((str(held.ticket), reason),))
            header = replace(self._header(now), credit=self.credit(now))
            around = Envelope(envelope.RELEASE, correlation_id=held.uuid, header=header)
            effects.append(self._send(self._names.to_replies(held.reply_to), around, release))
            return
        # A taskflow peer: as it came, for another worker of the topic.
        around = Envelope(envelope.REQUEST, held.reply_to, held.uuid)
        effects.append(self._send(self._names.to_topic(self._topics[0]), around, held.request))

    def _over(self, held: _Held) -> None:
        """It is not held any more, and never runs again here."""
        known = self._held.get((held.reply_to, held.uuid))
        if known is held:
            del self._held[held.reply_to, held.uuid]
        self._put_over(held)

    def _put_over(self, held: _Held) -> None:
        """This ticket never runs again here."""
        executor = self._executors.get(held.reply_to)
        if held.ticket is not None and executor is not None:
            executor.put_over(held.ticket)

    def _unknown(self, task: str) -> FailureDict:
        offered = sorted(self._offered)
        shown = ", ".join(offered[:10]) or "nothing"
        more = f" and {len(offered) - 10} more" if len(offered) > 10 else ""
        return from_text(
            ("KeyError", "LookupError", "Exception"),
            f"worker {self._worker} does not offer the task {task!r}; it offers {shown}{more}",
        )

    def _refused(self, refused: Refused, effects: list[Effect], now: float) -> None:
        """A delivery that is no message: answered if it was a request and says whose."""
        answerable = refused.kind == envelope.REQUEST and refused.correlation_id is not None
        if not answerable or refused.reply_to is None or not is_addressable(refused.reply_to):
            return
        failure = from_text(
            ("protocol.errors.MessageRefused", "Exception"),
            f"worker {self._worker} refused the request ({refused.reason}): {refused.detail}",
        )
        around = Envelope(envelope.RESPONSE, correlation_id=refused.correlation_id)
        address = self._names.to_replies(refused.reply_to)
        effects.append(self._send(address, around, Response.failure(failure)))

    # speaking ---------------------------------------------------------------------------------

    def _respond(
        self, held: _Held, response: Response, now: float, end: End | None = None
    ) -> Effect:
        header = None
        if held.ticket is None:
            response = _readable(response, held.request.task)
        else:
            credit = self.credit(now) if end else None
            header = replace(self._header(now), tickets=str(held.ticket), end=end, credit=credit)
            if held.attempt > 1:
                header = replace(header, attempt=held.attempt)
        around = Envelope(envelope.RESPONSE, correlation_id=held.uuid, header=header)
        return self._send(self._names.to_replies(held.reply_to), around, response)

    def _header(self, now: float) -> Header:
        return Header(worker=self._worker, boot=self._boot, clock=int(now * 1000))

    def _send(self, address: Address, around: Envelope, message: messages.Message) -> Effect:
        return Send(Parcel(address, around, messages.encode(message)))

    def _announce(self, address: Address, now: float) -> list[Effect]:
        """One NOTIFY answer for each topic."""
        header = None
        if self._names.is_native:
            header = replace(
                self._header(now),
                caps=envelope.CAPS,
                slots=self._slots,
                credit=self.credit(now),
                inbox=self._inbox,
            )
        offered = () if self._draining_until is not None else tuple(sorted(self._offered))
        around = Envelope(envelope.NOTIFY, header=header)
        return [self._send(address, around, Answer(topic, offered)) for topic in self._topics]

    def _hello(self, now: float) -> list[Effect]:
        """Tell every executor that hears the fan-out. taskflow's have none: they ask."""
        if not self._names.is_native:
            return []
        return self._announce(self._names.to_everybody(self._names.hello), now)

    def _beat(self, effects: list[Effect], now: float) -> None:
        """Tell those whose work we hold that we live; forget executors that fell silent."""
        self._next_beat = now + BEAT
        self._put_back(effects, now)
        holding = self._holding()
        for reply_to, executor in list(self._executors.items()):
            is_silent = now - executor.heard > KEEP
            if reply_to in holding and not is_silent:
                effects += self._announce(self._names.to_replies(reply_to), now)
            elif reply_to not in holding and is_silent:
                del self._executors[reply_to]

    def _holding(self) -> set[str]:
        """The executors whose work is held."""
        holding = {held.reply_to for held in self._running.values()}
        holding.update(held.reply_to for held in self._queue)
        return holding

    def _put_back(self, effects: list[Effect], now: float) -> None:
        for held in self._aside:
            self._give_back(held, "drain", effects, now)
        self._aside.clear()

    def _remember(self, reply_to: str, now: float) -> _Executor:
        executor = self._executors.get(reply_to)
        if executor is None:
            if len(self._executors) >= MAX_EXECUTORS:
                self._forget_one()
            executor = self._executors[reply_to] = _Executor()
        executor.heard = now
        return executor

    def _forget_one(self) -> None:
        """The longest silent of those that have nothing here; the others are never forgotten."""
        holding = self._holding()
        idle = [reply_to for reply_to in self._executors if reply_to not in holding]
        if idle:
            del self._executors[min(idle, key=lambda reply_to: self._executors[reply_to].heard)]

    def _finish(self, effects: list[Effect], now: float) -> None:
        done = self._draining_until is not None and not self._running and not self._queue
        if done and not self._is_done:
            self._is_done = True
            self._put_back(effects, now)
            effects += self._hello(now)
            effects.append(Done())


def _readable(response: Response, task: str) -> Response:
    """What a taskflow peer is told. Raises ``ValueRefused`` for a value it could not read."""
    if response.state == FAILURE:
        return Response.failure(kombu_json.readable_failure(response.data["result"]))
    for name, value in response.data.items():
        kombu_json.check(value, f"{name} of {task}")
    return response


def _work(held: _Held) -> Work:
    request = held.request
    return Work(
        key=held.key,
        uuid=held.uuid,
        task=request.task,
        name=request.name,
        action=request.action,
        args=list(request.args),
        arguments=dict(request.arguments),
        result=None if request.result is None else list(request.result),
        failures=None if request.failures is None else dict(request.failures),
        attempt=held.attempt,
    )
