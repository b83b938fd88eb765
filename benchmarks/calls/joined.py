"""An executor and a worker joined in one thread, with time by hand and lists of a fixed length.

All of the rooms that decide, and all that a message goes through but the broker's library: what the
threads' loops and kombu add, ``living`` counts. The same sources give the same counts, to a call.

Each *turn* of the world is one list of requests, from their submission to their receipt.
"""

from __future__ import annotations

import random
import uuid as uuids
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import kombu

from benchmarks.calls.counter import Calls, Counter
from benchmarks.tasks import bump
from bus.wire.broker import Delivery
from bus.wire.dispatcher import Dispatcher
from bus.wire.load import Load
from bus.wire.outbox import Outbox
from bus.wire.outgoing import properties_of
from executor import naming, outcomes
from executor.effects import Effect as ExecutorEffect
from executor.effects import Outcome, Tell
from executor.future import Future
from executor.ledger import Ledger
from executor.moments import Moments
from executor.options import Options, order_of
from executor.request import Order
from executor.turn import Open, Requests, Turn
from protocol import messages
from protocol.messages import Request
from protocol.parcel import Parcel, Received, Refused
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC, Names
from protocol.values import check
from worker.effects import Effect as WorkerEffect
from worker.effects import Run, Send
from worker.registry import Registry
from worker.runner import Call, run
from worker.shift import Shift
from worker.work import Encoded, Ended, Offer, Started, Work

_TURN: Final = 0.6  # seconds of a turn's time: long enough for its receipts to leave
_WARM_UP: Final = 2  # turns
_BOOT: Final = "0123456789abcdef"
_MOST: Final = 500  # messages in one list of the publisher's

Meter = AbstractContextManager[object]


class Nobody:
    """Whom the futures here ask: nothing of it is needed to set one."""

    def demand_same_process(self) -> None:
        """It is the same."""

    def deliverer_thread(self) -> None:
        """There is none."""

    def record_cancel(self, uuid: str, *, force: bool) -> None:
        """Nothing is cancelled here."""

    def cancelled(self, uuid: str, *, force: bool) -> None:
        """Nothing is cancelled here."""

    def can_stop(self, uuid: str) -> bool | None:
        """Nothing is cancelled here."""
        return None


class Submitter:
    """What an ``Executor`` is made of, called as its threads would."""

    def __init__(self) -> None:
        self._ledger = Ledger("joined", DEFAULT_EXCHANGE, (DEFAULT_TOPIC,))
        self._requests = Requests()
        self._moments = Moments()
        self._dispatcher = Dispatcher(at_worker=False)
        self._outbox = Outbox()
        self._news: list[Tell | tuple[str, Outcome]] = []

    def consumes(self, now: float) -> None:
        """It hears, and asks who is there."""
        self._did(self._ledger.consuming(now), now)

    def submits(self, count: int, now: float) -> list[Future[Any]]:
        """So many requests at once."""
        orders, futures = [], []
        for number in range(count):
            order, future = self._order(number)
            orders.append(order)
            futures.append(future)
        self._did(self._ledger.submitted(orders, now), now)
        return futures

    def hears(self, messages_: Sequence[kombu.Message], now: float) -> None:
        """What has come for it."""
        if messages_:
            self._did(self._ledger.heard(_sorted(self._dispatcher, messages_), now), now)

    def waits(self, now: float) -> None:
        """It is so late now."""
        if now >= self._ledger.next_deadline():
            self._did(self._ledger.tick(now), now)

    def sends(self) -> list[dict[str, Any]]:
        """What leaves, as its broker is told it."""
        return _left(self._outbox)

    def ends(self) -> None:
        """The futures of what has ended are set."""
        news, self._news = self._news, []
        for one in news:
            if not isinstance(one, Tell):
                uuid, outcome = one
                outcomes.settle(self._requests.open[uuid].future, outcome)
                self._requests.open.pop(uuid)

    def _order(self, number: int) -> tuple[Order, Future[Any]]:
        """As ``Executor.submit`` does it."""
        callee = naming.describe(bump)
        args, arguments = naming.bind(callee, (number,), {})
        request = Request(callee.name, args=args, arguments=arguments)
        for value in (*args, *arguments.values()):
            check(value, "an argument")
        uuid = str(uuids.uuid4())
        future: Future[Any] = Future(uuid, callee.name, Nobody())
        order = order_of(
            uuid,
            callee.name,
            messages.encode(request),
            Options(),
            callee.options,
            topics=(DEFAULT_TOPIC,),
            named_only=not args,
            moments=self._moments,
        )
        self._requests.open[uuid] = Open(future)
        return order, future

    def _did(self, effects: list[ExecutorEffect], now: float) -> None:
        if effects:
            turn = Turn(self._requests)
            turn.gather(effects, self._ledger, now)
            turn.close(now)
            self._news += turn.news
            if turn.parcels:
                self._outbox.put(turn.parcels)


class Workplace:
    """What a ``Worker`` is made of, called as its threads would; its pool runs all at once."""

    def __init__(self, slots: int) -> None:
        self._registry = Registry()
        self._registry.load("benchmarks.tasks")
        names = Names("native", DEFAULT_EXCHANGE)
        topics = (DEFAULT_TOPIC,)
        self._shift = Shift(names, topics, worker="joined", boot=_BOOT, slots=slots)
        self._shift.offering([Offer(e.name, e.version) for e in self._registry.entries], 0.0)
        self._dispatcher = Dispatcher(at_worker=True)
        self._outbox = Outbox()
        self._works: list[Work] = []

    def hears(self, messages_: Sequence[kombu.Message], now: float) -> None:
        """What has come for it."""
        if messages_:
            self._did(self._shift.heard(_sorted(self._dispatcher, messages_), now))

    def begins(self, now: float) -> None:
        """All that was handed to the pool runs, and takes long enough for that to be told."""
        if self._works:
            self._did(self._shift.reported([Started(work.key) for work in self._works], now))

    def runs(self, now: float) -> None:
        """All that was handed to the pool, to its end."""
        works, self._works = self._works, []
        if works:
            self._did(self._shift.reported([self._ended(work) for work in works], now))

    def waits(self, now: float) -> None:
        """It is so late now."""
        if now >= self._shift.next_deadline():
            self._did(self._shift.tick(now))

    def sends(self) -> list[dict[str, Any]]:
        """What leaves, as its broker is told it."""
        return _left(self._outbox)

    def _ended(self, work: Work) -> Ended:
        call = Call(work.task, work.name, work.action, work.args, work.arguments)
        outcome = run(self._registry, call, _nobody)
        return Ended(work.key, Encoded(outcome.result.encode("ascii")), outcome.failure)

    def _did(self, effects: list[WorkerEffect]) -> None:
        parcels = []
        for effect in effects:
            if isinstance(effect, Send):
                parcels.append(effect.parcel)
            elif isinstance(effect, Run):
                self._works.append(effect.work)
        if parcels:
            self._outbox.put(parcels)


def _nobody(event_type: str, details: str) -> None:
    """No task here says anything."""


def _left(outbox: Outbox) -> list[dict[str, Any]]:
    """All that is queued, as ``Producer.publish`` is told it, with its ``body``."""
    left = []
    while len(outbox):
        parcels = [item for item in outbox.take(0.0, _MOST) if isinstance(item, Parcel)]
        load = Load(parcels)
        for parcel in load.first(_MOST):
            properties = properties_of(parcel)
            properties["body"] = parcel.body
            left.append(properties)
    return left


def _sorted(dispatcher: Dispatcher, messages_: Iterable[kombu.Message]) -> list[Received | Refused]:
    return dispatcher.sort([Delivery(message) for message in messages_])


def carried(left: Iterable[dict[str, Any]]) -> list[kombu.Message]:
    """What a broker would make of them; not counted."""
    return [
        kombu.Message(
            body=said["body"],
            content_type=said["content_type"],
            content_encoding=said["content_encoding"],
            headers=said["headers"],
            properties={
                name: said[name] for name in ("type", "reply_to", "correlation_id") if name in said
            },
        )
        for said in left
    ]


class Joined:
    """The two. Whatever one of them does, it does within ``with`` of its meter."""

    def __init__(self, at_once: int, submitting: Meter, working: Meter) -> None:
        """``at_once``: requests in a list, and slots of the worker."""
        self._at_once = at_once
        self._submitter = Submitter()
        self._workplace = Workplace(at_once)
        self._submitting, self._working = submitting, working
        #: Broker messages that each has published.
        self.published = dict.fromkeys(("submitter", "worker"), 0)
        self._now = 100.0  # seconds
        self._submitter.consumes(self._now)
        self._settle()
        for _ in range(_WARM_UP):
            self.turn()

    def turn(self) -> None:
        """One list of requests."""
        with self._submitting:
            futures = self._submitter.submits(self._at_once, self._now)
        self._settle()
        found = [future.result(0.0) for future in futures]
        if found != [bump(number) for number in range(self._at_once)]:
            raise RuntimeError(f"wrong results came: {found[:10]}")
        self._now += _TURN
        with self._submitting:
            self._submitter.waits(self._now)
        with self._working:
            self._workplace.waits(self._now)
        self._settle()

    def _settle(self) -> None:
        """Until nobody has anything more to say."""
        while True:
            with self._submitting:
                asked = self._submitter.sends()
            to_worker = carried(asked)
            with self._working:
                self._workplace.hears(to_worker, self._now)
                begun = self._workplace.sends()
                self._workplace.runs(self._now)
                ended = self._workplace.sends()
            if not (asked or begun or ended):
                return
            self.published["submitter"] += len(asked)
            self.published["worker"] += len(begun) + len(ended)
            for said in (begun, ended):
                to_submitter = carried(said)
                with self._submitting:
                    self._submitter.hears(to_submitter, self._now)
                    self._submitter.ends()


def count(at_once: int, turns: int) -> dict[str, Calls]:
    """``{"submitter": …, "worker": …}`` for one task, of so many turns."""
    chance = random.getstate()
    random.seed(0)  # a worker is chosen by it, in as many calls as it takes
    try:
        submitting, working = Counter(), Counter()
        joined = Joined(at_once, submitting, working)
        submitting.take(1)
        working.take(1)
        before = dict(joined.published)
        for _ in range(turns):
            joined.turn()
    finally:
        random.setstate(chance)
    tasks = turns * at_once
    found = {"submitter": submitting.take(tasks), "worker": working.take(tasks)}
    for side, calls in found.items():
        calls.messages = (joined.published[side] - before[side]) / tasks
    return found
