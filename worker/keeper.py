"""The thread that owns the shift: it takes what others put into its mailbox and performs effects.

It never waits for anything but its mailbox and runs no user code, so that a worker always answers
and beats, however busy its slots are. (With ``pool="threads"`` a task that holds the interpreter's
lock holds this thread up too.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bus.wire import Mailbox, Publisher
from protocol.errors import TasklineError
from protocol.parcel import Parcel, Received, Refused
from worker.clock import clock
from worker.effects import Done, Effect, End, Run, Send, TakeBack
from worker.shift import Shift
from worker.work import Ended, Offers, Pool, PoolEnded, Report, Returned, Work

logger = logging.getLogger("taskline.worker.keeper")

STOP_TIMEOUT = 5.0  # seconds
QUIET = 60.0  # seconds between two log lines about the same kind of loss

#: What the shift counts that somebody should know of, and what it means.
_LOSSES = {
    "dropped": "results were thrown away: more are kept than fit, because an executor is slow to "
    "receipt them or has gone; what is lost it runs again, or reports as ResultLost",
    "given_up": "requests were given up: their executor has been silent for too long",
    "too_many_executors": "messages were not served: as many executors are known as there is room "
    "for, each with something held",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """From the listener: deliveries, sorted."""

    deliveries: list[Received | Refused]


@dataclass(frozen=True, slots=True)
class Consuming:
    """From the listener: it consumes, for the first time or again."""


@dataclass(frozen=True, slots=True)
class Reported:
    """From the pool: what its runs did."""

    reports: Sequence[Report]


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """From the publisher: the broker does not take this, and will not, for this reason."""

    parcel: Parcel
    why: str


@dataclass(frozen=True, slots=True)
class Drain:
    """From whoever ends the worker: go down within this many seconds."""

    limit: float


@dataclass(frozen=True, slots=True)
class Stop:
    """From the service: end now."""


#: Seconds between two looks at how much of the machine is in use.
LOOK_PERIOD = 5.0

Input = Heard | Consuming | Reported | Undeliverable | Drain | Stop


class Keeper:
    """Owns a shift. ``put`` from any thread; everything else happens on its own."""

    def __init__(
        self,
        shift: Shift,
        pool: Pool,
        publisher: Publisher,
        *,
        name: str,
        is_listening: Callable[[], bool],
        look: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        """``is_listening``: whether what is sent to us arrives, as far as is known. Any thread.

        ``look``: tells which parts of the machine's cores and memory are in use. Keeper's thread.
        """
        self._look = look
        self._look_at = 0.0
        self._shift = shift
        self._is_listening = is_listening
        self._was_listening = True
        self._pool = pool
        self._publisher = publisher
        self._mailbox: Mailbox[Input] = Mailbox()
        #: Set when the shift is over, or the thread ended by a bug.
        self.done = threading.Event()
        #: The bug it ended by, if any.
        self.error: BaseException | None = None
        #: Works handed to the pool whose end it has not reported, by the shift's number.
        self.open_works: set[int] = set()
        #: Why nothing can be run any more, if the pool ended by a fault of ours.
        self._fault = ""
        #: Of each loss: how many had been logged, and when.
        self._logged: dict[str, tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, item: Input) -> None:
        """Hand something over. Any thread, signal handlers included; never blocks."""
        self._mailbox.put(item)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End. Any thread but its own."""
        self._mailbox.put(Stop())
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            logger.critical("the keeper ended by a bug; the worker goes down", exc_info=True)
            self.error = error
        finally:
            self.done.set()

    def _turn(self) -> bool:
        shift = self._shift
        items = self._mailbox.take(max(0.0, shift.next_deadline() - clock()))
        now = clock()
        self._listen(now)
        if self._look is not None and now >= self._look_at:
            self._look_at = now + LOOK_PERIOD
            shift.measured(*self._look())
        effects: list[Effect] = []
        going_on = True
        for item in _joined(items):
            if isinstance(item, Heard):
                effects += shift.heard(item.deliveries, now)
            elif isinstance(item, Reported):
                self._take_note(item.reports)
                effects += shift.reported(item.reports, now)
            elif isinstance(item, Consuming):
                effects += shift.consuming(now)
            elif isinstance(item, Undeliverable):
                effects += shift.undeliverable(item.parcel, item.why, now)
            elif isinstance(item, Drain):
                effects += shift.drain(now, item.limit)
            else:
                going_on = False
        if now >= shift.next_deadline():
            effects += shift.tick(now)
        self._perform(effects)
        self._log_losses(now)
        return going_on

    def _listen(self, now: float) -> None:
        is_listening = self._is_listening()
        if is_listening is not self._was_listening:
            self._was_listening = is_listening
            self._shift.listening(is_listening, now)

    def _perform(self, effects: list[Effect]) -> None:
        """Everything is sent before anything runs: a run may end before this returns."""
        parcels: list[Parcel] = []
        works: list[Work] = []
        others: list[Effect] = []
        is_away = self._publisher.is_away
        for effect in effects:
            if isinstance(effect, Send):
                if not (is_away and effect.is_repeated):
                    parcels.append(effect.parcel)
            elif isinstance(effect, Run):
                works.append(effect.work)
            else:
                others.append(effect)
        if parcels:
            self._publisher.send(parcels)
        if works:  # before what is to become of them
            self.open_works.update(work.key for work in works)
            self._pool.run(*works)
        asked_back = [effect.key for effect in others if isinstance(effect, TakeBack)]
        if asked_back:
            self._pool.take_back(*asked_back)
        for effect in others:
            if isinstance(effect, End):
                self._pool.end(effect.key)
            elif isinstance(effect, Done):
                self._end()

    def _end(self) -> None:
        """The shift is over."""
        if self._fault:
            self.error = TasklineError(self._fault)
        self.done.set()

    def _log_losses(self, now: float) -> None:
        counts = self._shift.counts
        for loss, meaning in _LOSSES.items():
            total = counts[loss]
            before, since = self._logged.get(loss, (0, -QUIET))
            if total > before and now - since >= QUIET:
                logger.warning("%d %s", total - before, meaning)
                self._logged[loss] = (total, now)

    def _take_note(self, reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, (Ended, Returned)):
                self.open_works.discard(report.key)
            elif isinstance(report, Offers):
                for sentence in report.refused:
                    logger.warning("%s", sentence)
            elif isinstance(report, PoolEnded):
                logger.critical("the pool ended by a bug; the worker goes down: %s", report.reason)
                self._fault = report.reason


def _joined(items: Iterable[Input]) -> Iterator[Input]:
    """The same, what the pool has reported in a row as one: it costs less in one list."""
    reports: list[Report] = []
    for item in items:
        if isinstance(item, Reported):
            reports += item.reports
            continue
        if reports:
            yield Reported(reports)
            reports = []
        yield item
    if reports:
        yield Reported(reports)
