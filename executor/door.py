"""The door by which requests come in: which are let in, and that each is written down first.

Decided here: that nothing comes in after a shutdown, beyond the bounds, or while the journal cannot
be written; that of several submissions with one key one is first, and what the others get; and
that with a journal a request's line is on the disk before ``submit`` returns, and before the keeper
sees the order. What a key stands for is ``recall``'s, what a claim at the broker means
``unique``'s.

Any thread, one at a time: a lock is held while one goes through. Not while one waits for the
broker, to claim its key: then others pass, but for those with the same key.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from executor.future import Future
from executor.keeper import Keeper
from executor.pen import Pen
from executor.recall import OnConflict, Recall
from executor.request import Order
from executor.turn import Open, Requests
from executor.unique import Unique
from protocol import events
from protocol.errors import (
    BrokerUnavailable,
    ExecutorClosed,
    ExecutorFull,
    ExecutorSuperseded,
    JournalError,
    KeyTaken,
)
from protocol.states import FAILURE, RUNNING, SUCCESS, WAITING
from protocol.values import Json

MAX_OPEN: Final = 1_000_000  # requests open at once; then ExecutorFull
MAX_OPEN_AWAY: Final = 100_000  # the same while the broker is away; then BrokerUnavailable
#: Seconds to wait for another thread that submits with the same key, and waits for the broker.
MAX_TURN: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Claiming:
    """Somebody is about to submit with a key."""

    order: Order
    thread: int = field(default_factory=threading.get_ident)
    over: threading.Event = field(default_factory=threading.Event)


class Ear(Protocol):
    """What knows whether the broker is there: a listener."""

    @property
    def is_consuming(self) -> bool:
        """Whether what is sent to us arrives, as far as is known. Any thread."""


class Door:
    """One for each engine."""

    def __init__(
        self,
        requests: Requests,
        recall: Recall,
        keeper: Keeper,
        pen: Pen | None,
        ear: Ear,
        broker: str,
        unique: Unique,
    ) -> None:
        """``broker``: what it is called in an error."""
        self._requests = requests
        self._recall = recall
        self._keeper = keeper
        self._pen = pen
        self._ear = ear
        self._broker = broker
        self._unique = unique
        #: Guards what is below, and keys: a submission is taken over before, or refused, and of
        #: those with one key one is first. Re-entrant, because a signal handler or a finalizer may
        #: submit in the middle of it.
        self._lock = threading.RLock()
        #: Keys that are being claimed, by whom.
        self._claiming: dict[str, _Claiming] = {}
        #: Nothing comes in any more.
        self.is_shut = False
        #: Why nothing would come of it any more. Set by the keeper's thread, without the lock: what
        #: passes meanwhile is failed by the keeper.
        self.superseded: ExecutorSuperseded | None = None
        #: Since when the broker is known to be away, by the wall clock.
        self._away_since: float | None = None

    def shut(self) -> None:
        """Let nothing in from now on."""
        with self._lock:
            self.is_shut = True

    def wait_for_claims(self, timeout: float) -> None:
        """After it was shut: until who was let in to claim a key has given it back, or so long."""
        until = time.monotonic() + timeout
        for claiming in list(self._claiming.values()):
            if claiming.thread != threading.get_ident():
                claiming.over.wait(max(0.0, until - time.monotonic()))

    def submit(
        self,
        order: Order,
        entry: Open,
        body: Callable[[], Json],
        on_conflict: OnConflict = "join",
        unique_for: float | None = None,
    ) -> Future[Any]:
        """Take an order over, or join it to a request with the same key.

        ``body``: the REQUEST's as JSON, if it is needed. ``unique_for``: seconds for which its key
        is claimed at the broker, before anything else is done. Returns the future of the request
        that there is now. Raises ``ExecutorClosed`` after a shutdown,
        ``ExecutorSuperseded`` when nobody serves us any more, ``ExecutorFull`` or
        ``BrokerUnavailable`` at the bounds, ``JournalError`` if the journal cannot be written,
        ``ConfigurationError`` for a key that names another call, ``KeyTaken`` for one that cannot
        be joined: then nothing was taken over.
        """
        key = order.key
        while True:
            with self._lock:
                self._demand_open(order)
                claiming = None if key is None else self._claiming.get(key)
                if claiming is None:
                    there = self._there(order, entry, body, on_conflict)
                    if there is not None:
                        return there
                    if key is None or unique_for is None:
                        self._take_over(order, entry, body)
                        return entry.future
                    self._refuse_beyond_bounds(order)
                    mine = self._claiming[key] = _Claiming(order)
                    break
            _wait_for(claiming, order)
        try:
            with self._unique.claimed(order, unique_for), self._lock:
                self._demand_open(order)
                self._take_over(order, entry, body)
        finally:
            with self._lock:
                del self._claiming[key]
            mine.over.set()
        return entry.future

    def _demand_open(self, order: Order) -> None:
        if self.superseded is not None:
            raise ExecutorSuperseded(f"cannot submit {order.task}: {self.superseded}")
        if self.is_shut:
            raise ExecutorClosed(
                f"cannot submit {order.task} after shutdown(): make a new Executor"
            )

    def _there(
        self, order: Order, entry: Open, body: Callable[[], Json], on_conflict: OnConflict
    ) -> Future[Any] | None:
        """The future of the request that has the order's key; None if there is none."""
        key = order.key
        if key is None:
            return None
        if on_conflict == "reject":
            holder = self._recall.holder(key)
            if holder is not None:
                raise _taken(order, holder.uuid, holder.task, _state_of(holder))
            return None
        joined = self._recall.join(key, order.task, body())
        if joined is not None:
            self._listen_to(joined.uuid, entry)
        return joined

    def _take_over(self, order: Order, entry: Open, body: Callable[[], Json]) -> None:
        self._refuse_beyond_bounds(order)
        if self._pen is not None:
            self.record(order.to_event(body()))
        if order.key is not None:
            self._recall.submitted(order.uuid, order.key, body())
        self._requests.open[order.uuid] = entry
        self._keeper.put(order)

    def record(self, event: events.Event) -> None:
        """Write one line at once, if there is a journal.

        Raises ``JournalError``: then what it says is not so.
        """
        if self._pen is None:
            return
        if (trouble := self._keeper.trouble) is not None:
            raise JournalError(f"{trouble}; nothing new is taken until it can be") from trouble
        self._pen.append([event])

    def broker_is_back(self) -> None:
        """The listener consumes, for the first time or again."""
        self._away_since = None

    def _listen_to(self, uuid: str, joined: Open) -> None:
        """To one taken up from the journal nobody listens yet: the first to join it does."""
        entry = self._requests.open.get(uuid)
        if entry is not None and entry.on_progress is None and entry.on_event is None:
            entry.on_progress, entry.on_event = joined.on_progress, joined.on_event

    def _refuse_beyond_bounds(self, order: Order) -> None:
        if self._ear.is_consuming:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = time.time()
        count = len(self._requests)
        if count >= MAX_OPEN:
            raise ExecutorFull(
                f"cannot submit {order.task}: {count} requests are open, as many as an executor "
                "holds; wait for some of them to end"
            )
        if count >= MAX_OPEN_AWAY and self._away_since is not None:
            since = datetime.fromtimestamp(self._away_since).astimezone()
            raise BrokerUnavailable(
                f"cannot submit {order.task}: {self._broker} has been away since {since:%H:%M:%S} "
                f"or longer ({time.time() - self._away_since:.0f} s), and {count} requests wait "
                "for it already; they go on when it is back, and new ones are taken then"
            )


def _taken(order: Order, uuid: str, task: str, state: str) -> KeyTaken:
    return KeyTaken(
        f"{order.task} was not submitted with key={order.key!r}: the key stands for request {uuid} "
        f'({task}), which is {state}; on_conflict="join" gives its future, as get({uuid!r}) does, '
        "and another key another request",
        key=order.key or "",
        request_uuid=uuid,
        task=task,
        state=state,
    )


def _state_of(future: Future[Any]) -> str:
    """As far as its caller is told."""
    if not future.done():
        return RUNNING if future.running() else WAITING
    return SUCCESS if not future.cancelled() and future.exception() is None else FAILURE


def _wait_for(claiming: _Claiming, order: Order) -> None:
    """Until it is known whether that was submitted."""
    if claiming.thread == threading.get_ident():
        raise KeyTaken(
            f"{order.task} was submitted with key={order.key!r} by a signal handler or a "
            "finalizer, in the middle of a submission with that key by the same thread, which "
            "would wait for itself: submit from ordinary code, to which these leave a note",
            key=order.key or "",
            request_uuid=claiming.order.uuid,
            task=claiming.order.task,
            state=WAITING,
        )
    if not claiming.over.wait(MAX_TURN):
        raise BrokerUnavailable(
            f"cannot submit {order.task} with key={order.key!r}: another thread has waited for "
            f"{MAX_TURN:.0f} s for the broker to say whether that key is free; nothing was "
            "submitted here"
        )
