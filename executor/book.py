"""The requests in flight, and what is kept of them: where each waits, its clocks, its end.

Decided here: when a request is due, in which lane it waits, when it expires, and that whoever was
sent one that has ended may forget it. Not decided here: who is sent what (``dispatching``), what
follows an attempt (``rounds``), how a cancel ends (``withdrawals``). What is to be done about an
input is gathered in ``out``, which the ledger hands out after it. Keeper only.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Final

from executor.directory import Directory
from executor.effects import Effect, Error, Outcome, Publish, Resolve, Value, Withdrawn
from executor.lanes import LaneKey, Lanes
from executor.later import Later
from executor.letters import Letters
from executor.receipts import Receipts
from executor.request import Attempt, Order, Request
from executor.throttle import Throttle
from executor.timers import Timers
from protocol.errors import PoisonTask
from protocol.timing import REQUEST_TIMEOUT

#: Requests that come due in one turn: about 10 ms of work. The others follow in the next.
MOST_DUE: Final = 2_000


class Book:
    """All requests of one executor, with whatever belongs to them."""

    def __init__(self, letters: Letters, *, speaks_native: bool) -> None:
        #: Whether native workers are among those asked.
        self.speaks_native = speaks_native
        #: What is to be done about the present input, in order.
        self.out: list[Effect] = []
        #: What happened that changed nothing: late, double, unknown or illegal answers, by reason.
        self.counts: Counter[str] = Counter()
        self.letters = letters
        self.directory = Directory()
        self.requests: dict[str, Request] = {}
        #: Uuids, by the other names of their rounds at peers that know no tickets.
        self._by_name: dict[str, str] = {}
        self.lanes = Lanes(self.directory)
        #: Requests whose time has not come.
        self.later = Later()
        #: Which of those that wait their own limits let go.
        self.throttle = Throttle()
        #: Expiries, next CANCELs, passed start-bys and silences.
        self.timers = Timers(self.requests)
        self.receipts = Receipts()
        #: Why no private worker will ever come; None while one may.
        self.hopeless: str | None = None
        #: What was found for those of a lane that expire now: the same for all of them.
        self.found: dict[LaneKey, str] = {}

    def take(self) -> list[Effect]:
        """What is to be done about the input that was just worked through."""
        out, self.out = self.out, []
        self.found.clear()
        return out

    def open(self, order: Order, now: float) -> Request:
        """One more."""
        request = self.requests[order.uuid] = Request(order, now)
        return request

    def about(self, correlation_id: str | None) -> Request | None:
        """The open request that a message of this correlation id is about."""
        name = correlation_id or ""
        return self.requests.get(name) or self.requests.get(self._by_name.get(name, ""))

    def know(self, request: Request, attempt: Attempt) -> None:
        """An attempt was added: what is said under its name is about this request."""
        name, uuid = attempt.name, request.order.uuid
        if name != uuid and name not in self._by_name:
            self._by_name[name] = uuid
            request.names.append(name)

    def start_clock(self, request: Request, now: float) -> None:
        """Have it expire at its time, if that runs at all."""
        request.deadline = self.deadline_of(request, now)
        if request.deadline is not None:
            self.timers.set(request.deadline, request.order.uuid)

    def deadline_of(self, request: Request, now: float) -> float | None:
        """When it expires; None: no clock runs."""
        timeout = request.order.timeout
        if timeout is not None and not request.has_run:
            return request.ready_since + timeout
        if request.is_pending_at_taskflow or not (self.speaks_native or request.has_run):
            return max(now, request.ready_since) + REQUEST_TIMEOUT
        return request.deadline

    # waiting ----------------------------------------------------------------------------------

    def wait(self, request: Request, now: float, *, in_front: bool = False) -> LaneKey | None:
        """Have it wait in its lane, which is returned; None if its time has not come.

        Then it is held until ``request.not_before``, and offered to nobody.
        """
        self.throttle.frees(request)
        if request.is_due(now):
            self.later.leave(request)
            return self.lanes.enter(request, now, in_front=in_front)
        self.lanes.leave(request)
        self.later.hold(request)
        return None

    def take_due(self, now: float) -> list[LaneKey]:
        """Those whose time has come wait from now on, behind those that wait already.

        Returned are their lanes. So many at a time that nothing else has to wait for it.
        """
        due = islice(self.later.take_due(now), MOST_DUE)
        return list({self.lanes.enter(request, now): None for request in due})

    def wait_no_more(self, request: Request) -> None:
        """It is offered to nobody."""
        self.later.leave(request)
        self.lanes.leave(request)

    # ending -----------------------------------------------------------------------------------

    def resolve(
        self, request: Request, outcome: Outcome, now: float, worker: str | None = None
    ) -> None:
        """It is over: whoever was sent it may forget it."""
        self.close(request)
        for attempt in request.attempts:
            if attempt.ticket is not None:
                self.receipts.add(attempt.peer, (attempt.ticket,), now)
        is_dead = _is_dead(request, outcome)
        self.out.append(Resolve(request.order.uuid, outcome, worker, is_dead))

    def close(self, request: Request) -> None:
        """Nothing here knows it any more."""
        del self.requests[request.order.uuid]
        for name in request.names:
            del self._by_name[name]
        for attempt in request.attempts:
            attempt.peer.drop(attempt)
            attempt.close()
        self.wait_no_more(request)
        self.throttle.frees(request)

    def post(self, now: float) -> None:
        """Send the receipts whose time has come."""
        for peer, tickets in self.receipts.leaving(now):
            self.out.append(Publish(self.letters.receipt(peer, tickets)))


def _is_dead(request: Request, outcome: Outcome) -> bool:
    """Whether somebody should see to it: it is poison, or was to be retried and came to nothing."""
    if request.phase == "CANCELLING" or isinstance(outcome, (Value, Withdrawn)):
        return False
    is_poison = isinstance(outcome, Error) and isinstance(outcome.error, PoisonTask)
    return is_poison or request.order.retries is not None
