"""The thread that owns the ledger: it takes what others put into its mailbox and performs effects.

Whatever it does is: take everything that is there, ask the ledger, then do what the ledger wants in
order: send, then set futures (on the deliverer's thread). It never blocks on anything but its
mailbox, and it runs no user code.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bus.wire import Mailbox, Publisher
from executor.deliverer import Deliverer
from executor.effects import Crowd, Dispatch, Effect, Fail, GiveUp, Publish, Succeed, Tell
from executor.future import Future
from executor.ledger import Ledger
from executor.request import Order
from protocol.errors import TasklineError
from protocol.failure import to_exception
from protocol.messages import UPDATE_PROGRESS
from protocol.parcel import Parcel, Received, Refused
from protocol.values import Json

logger = logging.getLogger("taskline.executor.keeper")

STOP_TIMEOUT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Heard:
    """From the listener: deliveries, sorted."""

    deliveries: list[Received | Refused]


@dataclass(frozen=True, slots=True)
class Consuming:
    """From the listener: it consumes, for the first time or again."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """From a caller: this future was cancelled before it was sent."""

    uuid: str


@dataclass(frozen=True, slots=True)
class Gone:
    """From the private workers' guard: the process of this worker has ended."""

    worker: str


@dataclass(frozen=True, slots=True)
class Hopeless:
    """From the private workers' guard: they cannot work, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """From a caller: call this with the ledger and the time, on the keeper's thread."""

    question: Callable[[Ledger, float], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """From the engine: end."""


Input = Order | Heard | Consuming | Withdrawn | Gone | Hopeless | Ask | Stop


@dataclass(slots=True)
class Open:
    """An open request, as the client's side knows it: its future and who listens to its events."""

    future: Future[Json]
    on_progress: Callable[[float, dict[str, Json]], object] | None = None
    on_event: Callable[[str, dict[str, Json]], object] | None = None
    #: Which of the executors on this engine it was submitted to.
    via: object = None


class Keeper:
    """Owns a ledger. ``put`` from any thread; everything else happens on its own."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        deliverer: Deliverer,
        *,
        name: str,
        on_crowd: Callable[[int], None],
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._deliverer = deliverer
        self._on_crowd = on_crowd
        self._mailbox: Mailbox[Input] = Mailbox()
        #: Open requests by uuid. A caller adds before it puts the order; the deliverer removes.
        self.open: dict[str, Open] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        #: Why it has ended; None while it runs.
        self.died: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, item: Input) -> None:
        """Hand something over. Any thread; never blocks."""
        self._mailbox.put(item)
        if self.died is not None:  # nobody will take it any more
            self._fail_everything()

    def futures(self, via: object = None) -> list[Future[Json]]:
        """The futures that are not set yet: all, or those of one executor. Any thread."""
        entries = self.open.copy().values()  # other threads add and remove meanwhile
        return [entry.future for entry in entries if via is None or entry.via is via]

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End; what is still open fails, saying so."""
        self._mailbox.put(Stop())
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self.died = TasklineError("the executor was shut down before the request ended")
        except BaseException as error:
            logger.critical("the keeper ended by a bug; all open requests fail", exc_info=True)
            self.died = TasklineError(
                f"the executor's keeper ended by a bug of ours, {type(error).__name__}: {error}"
            )
            self.died.__cause__ = error
        self._fail_everything()
        self._on_crowd(0)  # who waits for workers looks up

    def _turn(self) -> bool:
        ledger = self._ledger
        wait = ledger.next_deadline() - time.monotonic()
        items = self._mailbox.take(max(0.0, wait))
        now = time.monotonic()
        orders: list[Order] = []
        effects: list[Effect] = []
        going_on = True
        for item in items:
            if isinstance(item, Order):
                orders.append(item)
                continue
            if orders:  # in the order they were put
                effects += ledger.submitted(orders, now)
                orders = []
            if isinstance(item, Heard):
                effects += ledger.heard(item.deliveries, now)
            elif isinstance(item, Withdrawn):
                effects += self._withdraw(item.uuid, now)
            elif isinstance(item, Ask):
                item.question(ledger, now)
            elif isinstance(item, Consuming):
                effects += ledger.consuming(now)
            elif isinstance(item, Gone):
                effects += ledger.gone(item.worker, now)
            elif isinstance(item, Hopeless):
                effects += ledger.hopeless(item.reason, now)
            else:
                going_on = False
        if orders:
            effects += ledger.submitted(orders, now)
        if now >= ledger.next_deadline():
            effects += ledger.tick(now)
        while effects:
            effects = self._perform(effects, now)
        return going_on

    def _perform(self, effects: list[Effect], now: float) -> list[Effect]:
        """Do these; returns what came of requests that turned out to be cancelled."""
        parcels: list[Parcel] = []
        calls: list[Callable[[], None]] = []
        more: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Dispatch):
                if effect.attempt == 1 and not self._begin(effect.uuid):
                    more += self._ledger.withdrawn(effect.uuid, now)
                    continue
                parcels.append(effect.parcel)
            elif isinstance(effect, Publish):
                parcels.append(effect.parcel)
            elif isinstance(effect, Crowd):
                self._on_crowd(effect.workers)
            else:
                calls.append(self._delivery(effect))
        if parcels:
            self._publisher.send(parcels)
        if calls:
            self._deliverer.deliver(calls)
        return more

    def _begin(self, uuid: str) -> bool:
        """Whether its future agrees to be run: from now on it cannot be cancelled."""
        entry = self.open.get(uuid)
        if entry is None:
            return False
        if entry.future.begin():
            return True
        self.open.pop(uuid, None)
        return False

    def _withdraw(self, uuid: str, now: float) -> list[Effect]:
        entry = self.open.get(uuid)
        if entry is None:
            return []
        entry.future.begin()  # tells those who wait on several futures
        self.open.pop(uuid, None)
        return self._ledger.withdrawn(uuid, now)

    def _delivery(self, effect: Succeed | Fail | GiveUp | Tell) -> Callable[[], None]:
        if isinstance(effect, Tell):
            return partial(self._tell, effect)
        return partial(self._end, effect)

    def _end(self, effect: Succeed | Fail | GiveUp) -> None:
        entry = self.open.get(effect.uuid)
        if entry is None:
            return
        try:
            # A request that expired before it was sent is still cancellable until this moment.
            if not entry.future.begin():
                return
            if isinstance(effect, Succeed):
                entry.future.set_result(effect.value)
            elif isinstance(effect, Fail):
                entry.future.set_exception(to_exception(effect.failure, effect.worker))
            else:
                entry.future.set_exception(effect.error)
        finally:  # not before it is set: a shutdown waits for the futures of what is open
            self.open.pop(effect.uuid, None)

    def _tell(self, effect: Tell) -> None:
        entry = self.open.get(effect.uuid)
        if entry is None:
            return
        details = dict(effect.details)
        if effect.event_type != UPDATE_PROGRESS:
            if entry.on_event is not None:
                entry.on_event(effect.event_type, details)
            return
        fraction = details.pop("progress", None)
        if entry.on_progress is not None and isinstance(fraction, (int, float)):
            entry.on_progress(min(1.0, max(0.0, float(fraction))), details)

    def _fail_everything(self) -> None:
        cause = self.died
        effects: list[GiveUp] = []
        for future in self.futures():
            error = TasklineError(
                f"request {future.uuid} ({future.task}) ended unanswered: {cause}"
            )
            error.__cause__ = cause
            effects.append(GiveUp(future.uuid, error))
        self._deliverer.deliver([partial(self._end, effect) for effect in effects])
