"""Every request in flight: ``(ledger, input, now) → effects``. Pure; the keeper owns it.

Decided here: which request is sent to whom and when, what an answer means, when a request expires,
and what is asked of whom. Not decided here: how anything is sent, and what a future is.

The rules, in short (native dialect, sections 4, 5 and 7):

* A request waits here until a worker that offers its task has credit; nothing waits in the broker.
* Each dispatch is an attempt with an automaton of its own. The first end of the present round wins;
  whatever comes after it is counted and dropped.
* A worker gives a request back (RELEASE), lets its start-by pass, or falls silent for a lease: the
  request waits again, at the front, and the next attempt goes wherever there is credit. After
  ``MAX_ATTEMPTS`` silent workers it ends as ``WorkerLost``.
* A run that ended its process is a round of its own; the request gets ``MAX_ATTEMPTS`` of them.
* Expiry: an explicit timeout runs from submit. Without one, a native request expires only after
  ``REQUEST_TIMEOUT`` in which no live worker offers its task; one that can go to taskflow's workers
  only, ``REQUEST_TIMEOUT`` after submit, as taskflow's do. RUNNING or an end stops it. A run that
  is lost after that moment ends the request: there is no time left to start it again.
* taskflow's workers answer questions from the pool that runs their tasks, so one that is busy is
  silent: what runs there ends as lost only after ``TASKFLOW_SILENCE``.

No input costs more than the logarithm of what is in flight, but for a walk over the workers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from executor.directory import Directory, Peer
from executor.effects import (
    Crowd,
    Dispatch,
    Effect,
    Fail,
    GiveUp,
    Publish,
    Succeed,
    Tell,
)
from executor.lanes import LaneKey, Lanes, key_of
from executor.request import Attempt, Order, Request
from executor.timers import Timers
from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.errors import (
    IllegalTransition,
    MessageRefused,
    RequestTimeout,
    TasksUnloadable,
    WorkerLost,
)
from protocol.failure import from_text
from protocol.messages import Answer, Release, Response
from protocol.parcel import Parcel, Received, Refused
from protocol.states import EVENT, FAILURE, PENDING, RUNNING, SUCCESS
from protocol.tickets import parse as parse_tickets
from protocol.timing import (
    FIRST_CALL_WAIT,
    MAX_ATTEMPTS,
    NOTIFY_PERIOD,
    REQUEST_TIMEOUT,
    START_WINDOW,
    TASKFLOW_SILENCE,
    start_by_has_passed,
)
from protocol.topology import Address, Dialect, Names, inbox_key

#: Without a journal there is one incarnation of an executor's id.
INCARNATION: Final = 1


class Ledger:
    """All requests of one executor. Keeper only."""

    def __init__(
        self,
        executor: str,
        exchange: str,
        topics: tuple[str, ...],
        dialects: Sequence[Dialect] = ("native",),
        private: str | None = None,
    ) -> None:
        """``private``: the topic of the executor's own workers, if it has any."""
        self.directory = Directory()
        #: What happened that changed nothing: late, double, unknown or illegal answers, by reason.
        self.counts: Counter[str] = Counter()
        self._executor = executor
        self._topics = topics
        self._names = {dialect: Names(dialect, exchange) for dialect in dialects}
        self._requests: dict[str, Request] = {}
        self._lanes = Lanes(self.directory)
        #: Explicit deadlines (attempt 0), passed start-bys and silences (of that attempt).
        self._timers = Timers(self._requests)
        #: What was found for those of a lane that expire now: the same for all of them.
        self._found: dict[LaneKey, str] = {}
        #: When native and taskflow's workers are next asked who is there.
        self._next_call = self._next_notify = 0.0
        self._call_wait = FIRST_CALL_WAIT
        self._crowd = 0
        self._private = private
        #: Why no private worker will ever come; None while one may.
        self._hopeless: str | None = None

    def __len__(self) -> int:
        """How many requests are open."""
        return len(self._requests)

    @property
    def speaks_native(self) -> bool:
        """Whether native workers are among those asked."""
        return "native" in self._names

    # inputs -----------------------------------------------------------------------------------

    def submitted(self, orders: Iterable[Order], now: float) -> list[Effect]:
        """New requests, in the order they were submitted."""
        effects: list[Effect] = []
        touched: dict[LaneKey, None] = {}
        for order in orders:
            request = Request(order, now)
            self._requests[order.uuid] = request
            timeout = order.timeout
            if timeout is None and not self.speaks_native:
                timeout = REQUEST_TIMEOUT
            if timeout is not None:
                request.deadline = now + timeout
                self._timers.set(request.deadline, order.uuid)
            touched[self._lanes.enter(request, now)] = None
        for key in touched:
            self._serve(key, effects, now)
        return effects

    def withdrawn(self, uuid: str, now: float) -> list[Effect]:
        """Its future was cancelled before anything was sent: it never runs."""
        request = self._requests.get(uuid)
        if request is None:
            return []
        self._close(request)
        if request.current is None:
            return []
        return self._fill(now)  # chosen, but stopped at the door: the worker never heard of it

    def heard(self, deliveries: Iterable[Received | Refused], now: float) -> list[Effect]:
        """What the listener took from the broker, in order."""
        effects: list[Effect] = []
        self._found.clear()
        freed = False
        for delivery in deliveries:
            if isinstance(delivery, Refused):
                self._refused(delivery, effects)
                continue
            peer = self.directory.touch(delivery.envelope.header, now)
            message = delivery.message
            if isinstance(message, Answer):
                self._answered(message, delivery.envelope.header, effects, now)
            elif isinstance(message, Response):
                freed |= self._responded(delivery.envelope, message, effects, now)
            elif isinstance(message, Release):
                freed |= self._released(peer, message, now)
        if freed:
            effects += self._fill(now)
        return effects

    def gone(self, worker: str, now: float) -> list[Effect]:
        """The process of the native worker of this name has ended: no need to wait for a lease."""
        effects: list[Effect] = []
        for peer in self.directory.drop(worker):
            self._lost(peer, effects, now)
        self._lanes.note_offers(now)
        self._count_crowd(effects)
        return effects + self._fill(now)

    def hopeless(self, reason: str, now: float) -> list[Effect]:
        """The private workers cannot work: what nobody else offers ends now, and from now on."""
        self._hopeless = reason
        self._lanes.patience = -math.inf
        return self.tick(now)

    def consuming(self, now: float) -> list[Effect]:
        """The listener has (again) begun to consume: ask everybody who is there."""
        self._next_call = self._next_notify = now
        self._call_wait = FIRST_CALL_WAIT
        return self.tick(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: ask, forget, expire, dispatch again."""
        effects: list[Effect] = []
        self._found.clear()
        self._ask(effects, now)
        gone = self.directory.forget(now)
        for peer in gone:
            self._lost(peer, effects, now)
        if gone:
            self._lanes.note_offers(now)
            self._count_crowd(effects)
        self._run_timers(effects, now)
        self._expire_unoffered(effects, now)
        return effects + self._fill(now)

    def next_deadline(self) -> float:
        """When ``tick`` has something to do at the latest."""
        times = (
            self._timers.next,
            self.directory.next_expiry(),
            self._lanes.next_expiry(),
        )
        return min(self._next_call, self._next_notify, *(t for t in times if t is not None))

    def state_of(self, uuid: str) -> str | None:
        """The state of an open request; None if there is none."""
        request = self._requests.get(uuid)
        return request.state if request else None

    # asking -----------------------------------------------------------------------------------

    def _ask(self, effects: list[Effect], now: float) -> None:
        """Ask who is there: native workers all at once, taskflow's on each topic's queue.

        A call that nobody hears yet is gone, so the first follow each other quickly; what waits in
        a topic's queue is answered when somebody comes, so that one keeps taskflow's period.
        """
        if now >= self._next_call:
            self._next_call = now + self._call_wait
            self._call_wait = min(2 * self._call_wait, NOTIFY_PERIOD)
            if (names := self._names.get("native")) is not None:
                effects.append(self._question(names, names.to_everybody(names.call)))
        if now >= self._next_notify:
            self._next_notify = now + NOTIFY_PERIOD
            if (names := self._names.get("taskflow")) is not None:
                effects += [self._question(names, names.to_topic(topic)) for topic in self._topics]

    def _question(self, names: Names, address: Address) -> Effect:
        header = None
        if names.is_native:
            header = Header(executor=self._executor, incarnation=INCARNATION, caps=envelope.CAPS)
        around = Envelope(envelope.NOTIFY, reply_to=self._executor, header=header)
        return Publish(Parcel(address, around, _QUESTION))

    # answers ----------------------------------------------------------------------------------

    def _answered(
        self, answer: Answer, header: Header | None, effects: list[Effect], now: float
    ) -> None:
        dialect: Dialect = "native" if header else "taskflow"
        if dialect not in self._names or answer.topic not in self._topics:
            self.counts["answer_for_others"] += 1
            return
        peer, changed = self.directory.heard(answer.topic, answer.tasks, header, now)
        if peer is None:
            self.counts["incomplete_answer"] += 1
            return
        if changed:
            self._lanes.note_offers(now)
            self._count_crowd(effects)
        effects += self._fill(now)

    def _responded(
        self, around: Envelope, response: Response, effects: list[Effect], now: float
    ) -> bool:
        """Whether it ended an attempt, so that its worker has room again."""
        uuid = around.correlation_id or ""
        request = self._requests.get(uuid)
        if request is None:
            self.counts["late_or_unknown"] += 1
            return False
        attempt = self._attempt_of(request, around.header, response)
        if attempt is None:
            self.counts["not_sent_there"] += 1
            return False
        if not attempt.peer.is_native:
            self.directory.spoke(attempt.peer, now)
            self._count_crowd(effects)
        if attempt.number < request.base:
            self.counts["fenced"] += 1
            return False
        if response.state == EVENT:
            self._told(request, attempt, response, effects)
            return False
        if response.state not in (RUNNING, SUCCESS, FAILURE):
            self.counts["illegal_transition"] += 1
            return False
        if attempt.progress.is_terminal:
            # Given up too early: its worker lives after all. The work is done, so it is taken.
            return self._late_end(request, attempt, response, around, effects, now)
        try:
            if response.state == SUCCESS:
                attempt.progress.advance(RUNNING)  # a result implies that it ran
            attempt.progress.advance(response.state)
        except IllegalTransition:
            self.counts["illegal_transition"] += 1
            return False
        if response.state == RUNNING:
            return False
        return self._ended(request, attempt, response, around, effects, now)

    def _attempt_of(
        self, request: Request, header: Header | None, response: Response
    ) -> Attempt | None:
        """The attempt it is about.

        A worker that could not read a request cannot name its ticket: its refusal, a FAILURE
        without a header, is about the attempt that has not been answered.
        """
        if header is not None:
            return request.find(header.boot, header.tickets)
        attempt = request.find(None, None)
        if attempt is None and response.state == FAILURE and request.state == PENDING:
            return request.current
        return attempt

    def _late_end(
        self,
        request: Request,
        attempt: Attempt,
        response: Response,
        around: Envelope,
        effects: list[Effect],
        now: float,
    ) -> bool:
        if response.state == RUNNING:
            self.counts["late_or_unknown"] += 1
            return False
        self.counts["late_but_first"] += 1
        return self._ended(request, attempt, response, around, effects, now)

    def _ended(
        self,
        request: Request,
        attempt: Attempt,
        response: Response,
        around: Envelope,
        effects: list[Effect],
        now: float,
    ) -> bool:
        uuid = request.order.uuid
        end = around.header.end if around.header else None
        attempt.peer.open.pop(attempt.handle, None)
        if response.state == FAILURE and end in ("crash", "stopped", "limit"):
            if attempt is not request.attempts[-1]:
                self.counts["fenced"] += 1
                return True
            if request.rounds < MAX_ATTEMPTS and not request.has_expired(now):
                request.rounds += 1
                request.base = attempt.number + 1
                request.lost = 0
                self._wait_again(request, now)
                return True
        self._close(request)
        data = response.data
        if response.state == FAILURE:
            failure = data.get("result")
            effects.append(Fail(uuid, failure, attempt.peer.name))
        elif "result" in data:
            effects.append(Succeed(uuid, data["result"]))
        else:
            # taskflow's schema lets a SUCCESS without a result through; its engine dies of it.
            self.counts["result_missing"] += 1
            effects.append(Fail(uuid, _no_result(), attempt.peer.name))
        return True

    def _told(
        self, request: Request, attempt: Attempt, response: Response, effects: list[Effect]
    ) -> None:
        data = response.data
        if "event_type" not in data:
            self.counts["empty_event"] += 1
            return
        if attempt.progress.state == PENDING:
            attempt.progress.advance(RUNNING)  # who says something runs
        if request.order.wants_events:
            effects.append(Tell(request.order.uuid, data["event_type"], data["details"]))

    def _released(self, peer: Peer | None, release: Release, now: float) -> bool:
        """Whether anything waits again. What a forgotten worker held waits already."""
        again = False
        for text, _ in release.items:
            try:
                tickets = parse_tickets(text)
            except MessageRefused as refusal:
                self.counts[refusal.reason] += 1
                continue
            for ticket in tickets:
                attempt = peer.open.get(ticket) if peer is not None else None
                if attempt is None:
                    self.counts["release_of_unknown"] += 1
                elif attempt.progress.state != PENDING:
                    self.counts["illegal_transition"] += 1
                else:
                    self._give_up(self._requests[attempt.uuid], attempt, now)
                    again = True
        return again

    def _refused(self, refused: Refused, effects: list[Effect]) -> None:
        """A reply that is no message.

        If it is about a request of ours that its peer cannot answer better, the request ends with
        what was found: nothing is left hanging by a bad answer.
        """
        request = self._requests.get(refused.correlation_id or "")
        if request is None or refused.kind != envelope.RESPONSE:
            return
        current = request.current
        if current is None or (current.ticket is not None and current.progress.state == PENDING):
            return  # it waits, or its start-by will have it wait again
        self._close(request)
        failure = from_text(
            ("protocol.errors.MessageRefused", "Exception"),
            f"the worker's answer was refused ({refused.reason}): {refused.detail}",
        )
        effects.append(Fail(request.order.uuid, failure, current.peer.name))

    # waiting and dispatching ------------------------------------------------------------------

    def _fill(self, now: float) -> list[Effect]:
        """Use the credit there is, one lane after the other in turn."""
        effects: list[Effect] = []
        for key in self._lanes.occupied():
            if self._serve(key, effects, now):
                self._lanes.had_turn(key)
        return effects

    def _serve(self, key: LaneKey, effects: list[Effect], now: float) -> bool:
        """Dispatch from one lane while somebody takes it; whether anything was."""
        lane = self._lanes.lane(key)
        served = False
        while lane.waiting:
            request = lane.first
            if request.has_expired(now):  # its timer has not run yet
                self._expire(request, effects, now)
                continue
            chosen = self.directory.choose(key.task, key.topics, named_only=key.named_only)
            if chosen is None:
                break
            self._lanes.leave(request)
            effects.append(self._dispatch(request, *chosen, now))
            served = True
        return served

    def _dispatch(self, request: Request, peer: Peer, topic: str, now: float) -> Effect:
        order = request.order
        number = request.attempts[-1].number + 1 if request.attempts else 1
        left = START_WINDOW if request.deadline is None else max(0.0, request.deadline - now)
        window = min(left, START_WINDOW)
        native = peer.is_native
        ticket = peer.next_ticket(INCARNATION) if native else None
        attempt = Attempt(order.uuid, number, peer, ticket, sent=now, window=window)
        attempt.progress.advance(PENDING)
        request.add(attempt)
        peer.open[attempt.handle] = attempt
        names = self._names[peer.dialect]
        if native:
            header = Header(
                executor=self._executor,
                incarnation=INCARNATION,
                boot=peer.key,
                tickets=str(ticket),
                start_by=peer.start_by(now, window),
                attempt=number if number > 1 else None,
                base=request.base if request.base > 1 else None,
                mode="alo",
            )
            address = names.to_inbox(peer.inbox or inbox_key(topic, peer.key))
            self._timers.set(_start_by_passed(now, window), order.uuid, number)
        else:
            header = None
            address = names.to_topic(topic)
            if request.deadline is None:  # taskflow's meaning, from the moment it is taskflow's
                request.deadline = now + REQUEST_TIMEOUT
                self._timers.set(request.deadline, order.uuid)
        around = Envelope(envelope.REQUEST, self._executor, order.uuid, header)
        return Dispatch(order.uuid, number, Parcel(address, around, order.body))

    def _wait_again(self, request: Request, now: float) -> None:
        """To the front of its lane: it has waited already."""
        self._lanes.enter(request, now, in_front=True)
        if request.deadline is not None:  # its timer may have run while a worker had it
            self._timers.set(request.deadline, request.order.uuid)

    def _give_up(self, request: Request, attempt: Attempt, now: float) -> None:
        """This attempt will not answer: end it and have the request wait for the next."""
        attempt.progress.advance(FAILURE)
        attempt.peer.open.pop(attempt.handle, None)
        self._wait_again(request, now)

    def _lost(self, peer: Peer, effects: list[Effect], now: float) -> None:
        """A peer fell silent. taskflow's are not sent again: they would run it twice by design."""
        for attempt in list(peer.open.values()):
            request = self._requests[attempt.uuid]
            runs = attempt.progress.state == RUNNING
            if not peer.is_native:
                if runs:
                    self._timers.set(peer.heard + TASKFLOW_SILENCE, attempt.uuid, attempt.number)
                continue
            request.lost += 1
            if request.has_expired(now) and not runs:
                self._expire(request, effects, now)
            elif request.has_expired(now) or request.lost >= MAX_ATTEMPTS:
                self._give_up_for_lost(request, attempt, effects, now)
            else:
                self._give_up(request, attempt, now)

    def _give_up_for_lost(
        self, request: Request, attempt: Attempt, effects: list[Effect], now: float
    ) -> None:
        order, peer = request.order, attempt.peer
        self._close(request)
        if not peer.is_native:
            then = "a taskflow worker is not sent the same again"
        elif request.lost < MAX_ATTEMPTS:
            then = "its timeout leaves no time to start it again"
        else:
            then = f"it is the attempt number {request.lost} that ends like this"
        error = WorkerLost(
            f"request {order.uuid} ({order.task}) was sent to {peer.name} and is lost in "
            f"{attempt.progress.state}: nothing was heard from there for {now - peer.heard:.1f} s; "
            f"{then}; look in the worker's own log for what ended it, then submit again",
            request_uuid=order.uuid,
        )
        effects.append(GiveUp(order.uuid, error))

    def _close(self, request: Request) -> None:
        """It is over: nothing here knows it any more."""
        uuid = request.order.uuid
        del self._requests[uuid]
        for attempt in request.attempts:
            attempt.peer.open.pop(attempt.handle, None)
        self._lanes.leave(request)

    # time -------------------------------------------------------------------------------------

    def _run_timers(self, effects: list[Effect], now: float) -> None:
        for uuid, number in self._timers.take_due(now):
            request = self._requests.get(uuid)
            if request is None:
                continue
            current = request.current
            if number == 0:
                # Sent to a native worker: it is its start-by, never later than this, that decides.
                native = current is not None and current.ticket is not None
                if request.state != RUNNING and not native:
                    self._expire(request, effects, now)
            elif current is not None and current.number == number:
                if request.state == PENDING:
                    self._start_by_passed(request, current, effects, now)
                elif not current.peer.is_native:
                    self._silent(request, current, effects, now)

    def _start_by_passed(
        self, request: Request, attempt: Attempt, effects: list[Effect], now: float
    ) -> None:
        """Its worker can no longer start it, and has not said that it did."""
        if request.has_expired(now):
            self._expire(request, effects, now)
        elif start_by_has_passed(attempt.sent, attempt.window, now):
            self.counts["start_by_passed"] += 1
            self._give_up(request, attempt, now)
        else:  # woken a rounding error too early
            self._timers.set(now + 0.001, attempt.uuid, attempt.number)

    def _silent(
        self, request: Request, attempt: Attempt, effects: list[Effect], now: float
    ) -> None:
        """It runs on a taskflow topic that had fallen silent; perhaps it has spoken since."""
        until = attempt.peer.heard + TASKFLOW_SILENCE
        if now < until:
            self._timers.set(until, attempt.uuid, attempt.number)
        else:
            self._give_up_for_lost(request, attempt, effects, now)

    def _expire(self, request: Request, effects: list[Effect], now: float) -> None:
        order = request.order
        state = request.state
        current = request.current
        self._close(request)
        age = now - request.submitted
        if current is not None:
            found = (
                f"it was sent to {current.peer.name} {now - current.sent:.1f} s ago, which has not "
                "said that it started"
            )
            if not current.peer.is_native:
                found += " and, being a taskflow worker, may still run it"
            found += "; give it a longer timeout, or start more workers"
        else:
            if self._hopeless is not None:
                text = f"request {order.uuid} ({order.task}) cannot run: {self._hopeless}"
                effects.append(GiveUp(order.uuid, TasksUnloadable(text)))
                return
            found = self._what_is_found(request, now)
        text = (
            f"request {order.uuid} ({order.task}) expired after {age:.1f} s in {state}, "
            f"on topics {list(order.topics)}: {found}"
        )
        error = RequestTimeout(text, request_uuid=order.uuid, state=state)
        effects.append(GiveUp(order.uuid, error))

    def _what_is_found(self, request: Request, now: float) -> str:
        """In words; once for all of a lane, because looking for near names is slow."""
        key = key_of(request)
        found = self._found.get(key)
        if found is None:
            found = self.directory.describe(key.task, key.topics, now, named_only=key.named_only)
            self._found[key] = found
        return found

    def _expire_unoffered(self, effects: list[Effect], now: float) -> None:
        for lane in self._lanes.overdue(now):
            if self._hopeless is None and self._private_are_busy():
                lane.unoffered_since = now  # they learn what more to offer between two tasks
                continue
            while self._lanes.is_overdue(lane, now):
                self._expire(lane.first, effects, now)

    def _private_are_busy(self) -> bool:
        """Whether there are private workers, and each is at work."""
        own = [peer for peer in self.directory if self._private in peer.topics]
        return bool(own) and all(len(peer.open) >= (peer.slots or 1) for peer in own)

    def _count_crowd(self, effects: list[Effect]) -> None:
        if len(self.directory) != self._crowd:
            self._crowd = len(self.directory)
            effects.append(Crowd(self._crowd))


_QUESTION: Final = messages.encode(messages.Question())


def _start_by_passed(sent: float, window: float) -> float:
    """The earliest moment at which ``start_by_has_passed`` says so, near enough."""
    return sent + window * 1.01 + 0.101


def _no_result() -> dict[str, object]:
    return from_text(
        ("protocol.errors.MessageRefused", "Exception"),
        "the worker said SUCCESS without a result",
    )
