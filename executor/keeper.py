"""The thread that owns the ledger: it takes what others put into its mailbox and performs effects.

A turn is: take everything that is there, ask the ledger, and then, for all of it at once, write the
journal's lines, send, and have the futures set (on the deliverer's thread). What comes of a turn is
put together in ``turn``; here it is done. It blocks on its mailbox and on the journal's file, and
on nothing else, and it runs no user code.

If the journal cannot be written, nothing of that turn is sent or set: it is kept, and tried again
every second for as long as it takes. Meanwhile nothing more is taken from the mailbox (the listener
stops at its bound, and what the broker has stays there), and only questions are answered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

from bus.news.line import MAX_LINE
from bus.wire import Mailbox, Publisher
from executor import outcomes
from executor.deliverer import Deliverer
from executor.effects import Effect, Error, Outcome, Tell
from executor.herald import Herald
from executor.ledger import Ledger
from executor.request import Order
from executor.turn import Requests, Turn
from protocol.errors import ExecutorSuperseded, JournalError, TasklineError
from protocol.events import Event, Opened
from protocol.history import RequestStatus
from protocol.messages import UPDATE_PROGRESS
from protocol.parcel import Parcel, Received, Refused

logger = logging.getLogger("taskline.executor.keeper")

STOP_TIMEOUT = 5.0  # seconds
RETRY = 1.0  # seconds between two tries to write a journal that cannot be written


class Lines(Protocol):
    """Where the lines of a turn go: a journal."""

    def append(self, events: Sequence[Event], /) -> None:
        """Write them all, or raise ``JournalError`` and none. Any thread."""


@dataclass(frozen=True, slots=True)
class Heard:
    """From the listener: deliveries, sorted."""

    deliveries: list[Received | Refused]


@dataclass(frozen=True, slots=True)
class Consuming:
    """From the listener: it consumes, for the first time or again."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """From a caller: this future was cancelled, or with ``force`` its run is to be ended."""

    uuid: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """From the publisher: the broker does not take this, and will not, for this reason."""

    parcel: Parcel
    why: str


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
    """From ``ask``: a question is to be answered, after all that was put before it."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """From the engine: it is about to end, and who waits for a receipt gets it at once."""


@dataclass(frozen=True, slots=True)
class Stop:
    """From the engine: end."""


Question = Callable[[Ledger, float], None]
Input = (
    Order | Heard | Consuming | Cancelled | Undeliverable | Gone | Hopeless | Ask | Leaving | Stop
)


class Keeper:
    """Owns a ledger. ``put`` and ``ask`` from any thread; all else happens on its own."""

    def __init__(
        self,
        ledger: Ledger,
        requests: Requests,
        publisher: Publisher,
        deliverer: Deliverer,
        *,
        name: str,
        on_crowd: Callable[[int], None],
        is_listening: Callable[[], bool],
        stood_still: Callable[[], tuple[float, float]],
        on_superseded: Callable[[ExecutorSuperseded], None] | None = None,
        journal: Lines | None = None,
        herald: Herald | None = None,
    ) -> None:
        """``on_superseded``: called on its thread, before it ends because of that."""
        self._ledger = ledger
        self._requests = requests
        self._publisher = publisher
        self._deliverer = deliverer
        self._on_crowd = on_crowd
        self._is_listening = is_listening
        self._stood_still = stood_still
        #: Until when that is accounted for.
        self._went_on = 0.0
        self._was_listening = True
        self._on_superseded = on_superseded
        self._journal = journal
        self._herald = herald or Herald(None, Opened("", 0), keeps_journal=False)
        self._mailbox: Mailbox[Input] = Mailbox()
        self._questions: SimpleQueue[Question] = SimpleQueue()
        #: What came of those that were taken up from the journal; done in the first turn.
        self._restored: list[Effect] = []
        self._stopping = threading.Event()
        #: Whether what is open when it ends fails; if not, it is left as it is.
        self._fails_what_is_open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        #: Why it has ended; None while it runs.
        self.died: TasklineError | None = None
        #: Why the journal cannot be written; None while it can.
        self.trouble: JournalError | None = None

    def restore(self, statuses: Sequence[RequestStatus], wall: float) -> None:
        """Before ``start``, on that thread: what the journal holds open goes to the ledger.

        ``wall``: wall-clock seconds, to which the journal's stamps compare.
        """
        self._restored = self._ledger.restored(statuses, time.monotonic(), wall)
        self._herald.took_up(statuses)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, item: Input) -> None:
        """Hand something over. Any thread; never blocks."""
        self._mailbox.put(item)
        if self.died is not None:  # nobody will take it any more
            self._fail_everything()

    def ask(self, question: Question) -> None:
        """Have this called with the ledger and the time, on the keeper's thread. Any thread.

        After all that was put before it; while the journal cannot be written, within ``RETRY``.
        """
        self._questions.put(question)
        self.put(Ask())

    def stop(self, timeout: float = STOP_TIMEOUT, *, fails: bool = True) -> None:
        """End; what is still open fails, saying so, or is left as it is."""
        self._fails_what_is_open = fails
        self._stopping.set()
        self._mailbox.put(Stop())
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._herald.opened()
            while self._turn():
                pass
            self.died = TasklineError("the executor was shut down before the request ended")
        except ExecutorSuperseded as error:
            logger.error("%s", error)  # noqa: TRY400 - its words say it all, and it is no bug
            self._fails_what_is_open = True
            self.died = error
            if self._on_superseded is not None:
                self._on_superseded(error)
        except BaseException as error:
            logger.critical("the keeper ended by a bug; all open requests fail", exc_info=True)
            self._fails_what_is_open = True
            self.died = TasklineError(
                f"the executor's keeper ended by a bug of ours, {type(error).__name__}: {error}"
            )
            self.died.__cause__ = error
        if self._fails_what_is_open:
            self._fail_everything()
        self._deliverer.deliver([self._herald.closed])  # after what has failed
        self._on_crowd(0)  # who waits for workers looks up

    # a turn -----------------------------------------------------------------------------------

    def _turn(self) -> bool:
        ledger = self._ledger
        wait = ledger.next_deadline() - time.monotonic()
        items = self._mailbox.take(max(0.0, wait))
        # First: what the listener finds when it goes on, a broken line perhaps, is of later.
        since, until = self._stood_still()
        now = max(time.monotonic(), until)
        if until > self._went_on:  # another time, or more of the same
            ledger.stood_still(max(since, self._went_on), until)
            self._went_on = until
        is_listening = self._is_listening()
        if is_listening is not self._was_listening:
            self._was_listening = is_listening
            ledger.listening(is_listening, now)
        orders: list[Order] = []
        effects, self._restored = self._restored, []
        cancelled: list[str] = []
        going_on = True
        is_heard = self._herald.is_heard
        for item in items:
            if isinstance(item, Order):
                orders.append(item)
                if is_heard:
                    self._herald.submitted(item)
                continue
            if orders:  # in the order they were put
                effects += ledger.submitted(orders, now)
                orders = []
            if isinstance(item, Heard):
                effects += ledger.heard(item.deliveries, now)
            elif isinstance(item, Cancelled):
                effects += ledger.cancelled(item.uuid, item.force, now)
                cancelled.append(item.uuid)
                if is_heard:
                    self._herald.cancelled(item.uuid, force=item.force)
            elif isinstance(item, Ask):
                self._answer(now)
            elif isinstance(item, Consuming):
                effects += ledger.consuming(now)
            elif isinstance(item, Undeliverable):
                effects += ledger.undeliverable(item.parcel, item.why, now)
            elif isinstance(item, Gone):
                effects += ledger.gone(item.worker, now)
            elif isinstance(item, Hopeless):
                effects += ledger.hopeless(item.reason, now)
            else:
                effects += ledger.leaving()
                going_on = going_on and not isinstance(item, Stop)
        if orders:
            effects += ledger.submitted(orders, now)
        if now >= ledger.next_deadline():
            effects += ledger.tick(now)
        if effects or cancelled:
            turn = Turn(self._requests, cancelled)
            turn.gather(effects, ledger, now)
            return self._perform(turn) and going_on
        if is_heard:
            self._herald.turned(())
        return going_on

    def _perform(self, turn: Turn) -> bool:
        """Do what it came to; False if the journal could not be written until the end."""
        if self._journal is not None and turn.lines and not self._write(turn, self._journal):
            return False
        turn.close(time.time())
        if turn.parcels and turn.superseded is None:
            self._publisher.send(turn.parcels)
        if self._herald.is_heard:
            self._herald.turned(turn.happened())
        ends: list[Callable[[], None]] = []
        for news in turn.news:
            if isinstance(news, Tell):
                self._deliverer.deliver(ends)  # what ended before that was said
                ends = []
                self._deliverer.tell(partial(self._tell, news))
            else:
                ends.append(partial(self._end, *news))
        self._deliverer.deliver(ends)
        if turn.crowd is not None:
            self._on_crowd(turn.crowd)
        if turn.superseded is not None:
            raise turn.superseded
        return True

    def _write(self, turn: Turn, journal: Lines) -> bool:
        """Until its lines are written; False if they have not been when we are to end."""
        began = time.monotonic()
        while True:
            try:
                journal.append(turn.lines)
            except JournalError as error:
                if self.trouble is None and turn.shed(MAX_LINE):
                    continue
                if self.trouble is None:
                    logger.error(  # noqa: TRY400 - its words say it all, and the disk is no bug
                        "%s; nothing is sent and no future ends until it can be written: tried "
                        "again every %.0f s",
                        error,
                        RETRY,
                    )
                self.trouble = error
            else:
                if self.trouble is not None:
                    self.trouble = None
                    took = time.monotonic() - began
                    logger.warning("the journal is written again, after %.1f s", took)
                return True
            if self._stopping.wait(RETRY):
                logger.error(
                    "the journal could not be written until the end; %d lines are lost, and what "
                    "they were about is taken up again as it was before",
                    len(turn.lines),
                )
                return False
            self._answer_all()

    # questions --------------------------------------------------------------------------------

    def _answer(self, now: float) -> None:
        try:
            question = self._questions.get_nowait()
        except Empty:  # answered while the journal could not be written
            return
        question(self._ledger, now)

    def _answer_all(self) -> None:
        now = time.monotonic()
        while not self._questions.empty():
            self._answer(now)

    # on the deliverer's thread ------------------------------------------------------------------

    def _end(self, uuid: str, outcome: Outcome) -> None:
        entry = self._requests.open.get(uuid)
        if entry is None:
            return
        try:
            outcomes.settle(entry.future, outcome)
        finally:  # not before it is set: a shutdown waits for the futures of what is open
            self._requests.open.pop(uuid, None)

    def _tell(self, effect: Tell) -> None:
        entry = self._requests.open.get(effect.uuid)
        if entry is None:
            return
        if effect.event_type != UPDATE_PROGRESS:
            if entry.on_event is not None:
                entry.on_event(effect.event_type, dict(effect.details))
        elif entry.on_progress is not None and (said := effect.progress) is not None:
            entry.on_progress(*said)

    def _fail_everything(self) -> None:
        cause = self.died
        then = "" if self._journal is None else "; an executor with its journal takes it up again"
        calls: list[Callable[[], None]] = []
        for entry in self._requests.entries():
            future = entry.future
            text = f"request {future.uuid} ({future.task}) ended unanswered: {cause}{then}"
            error = TasklineError(text) if cause is None else type(cause)(text)
            error.__cause__ = cause
            calls.append(partial(self._fail, future.uuid, error))
        self._deliverer.deliver(calls)

    def _fail(self, uuid: str, error: Exception) -> None:
        if uuid in self._requests.open:
            self._herald.failed(uuid, error)
        self._end(uuid, Error(error))
