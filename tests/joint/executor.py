"""An executor process in the joint world: the real ledger, turns and futures, and a small keeper.

Of all that a turn comes to the keeper writes the journal's lines first, then sends, then ends
futures: that order is what makes kill -9 harmless, and it can be killed between any two of these
steps. The journal is a list of events that outlives the process. Callers cancel on a thread of
their own: what they do is written before they are told, and the ledger hears of it later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bus.wire.deadlines import STANDSTILL
from executor import outcomes
from executor.effects import Effect, Outcome, Tell
from executor.future import Future
from executor.ledger import Ledger
from executor.request import Order
from executor.turn import Open, Requests, Turn
from protocol import envelope
from protocol.errors import CannotStop, WaitTimeout
from protocol.events import Cancelled, Event, Opened, Submitted
from protocol.history import Entry, History
from protocol.parcel import Parcel, Received
from protocol.values import loads
from tests.joint.channel import EXCHANGE, TOPIC
from tests.joint.promises import outcome_of
from tests.joint.worker import Killed

if TYPE_CHECKING:
    from tests.joint.world import World

#: The wall clock when the world begins, in seconds.
EPOCH: Final = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Cancel:
    """In the mailbox: a caller cancelled this."""

    uuid: str
    force: bool


@dataclass(slots=True)
class Journal:
    """Lines that are written, whoever dies."""

    entries: list[Entry]

    def append(self, event: Event, stamp: float) -> None:
        """One line."""
        self.entries.append(Entry(len(self.entries) + 1, stamp, event))

    def folded(self) -> History:
        """What they come to."""
        history = History()
        for entry in self.entries:
            history.apply(entry)
        return history


class ExecutorProcess:
    """One process of an executor. It is what its futures ask, and what its turns ask."""

    def __init__(self, world: World, name: str, incarnation: int, journal: Journal | None) -> None:
        self.world = world
        self.name = name
        self.incarnation = incarnation
        self.journal = journal
        #: Since when it stands still, in its own clock; None: it does not.
        self._frozen_since: float | None = None
        #: Whether what is sent to it can arrive.
        self.is_listening = True
        #: It is killed within this turn, after so many more things done; None: it is not.
        self.fuse: int | None = None
        #: How many it has done, and how many it lives to do.
        self.done = 0
        self.doom: int | None = None
        #: When it is to be woken, in its own clock, once that has been asked since its last turn.
        self.deadline: float | None = None
        #: Its monotonic clock begins anywhere.
        self._ahead = world.random.uniform(0, 1e6)
        self.ledger = Ledger(
            name,
            EXCHANGE,
            (TOPIC,),
            incarnation=incarnation,
            keeps_journal=journal is not None,
        )
        self.mailbox: list[Order | Cancel | Received] = []
        self.requests = Requests()
        #: All that its callers have in their hands, by uuid.
        self.futures: dict[str, Future[Any]] = {}

    @property
    def now(self) -> float:
        """Its monotonic clock."""
        return self.world.time + self._ahead

    @property
    def wall(self) -> float:
        """The wall clock."""
        return EPOCH + self.world.time

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen_since is not None

    @is_frozen.setter
    def is_frozen(self, is_frozen: bool) -> None:
        """Once it goes on, its listener knows since when it has taken nothing."""
        if is_frozen and self._frozen_since is None:
            self._frozen_since = self.now
        elif not is_frozen and self._frozen_since is not None:
            since, self._frozen_since = self._frozen_since, None
            if self.is_listening and self.now > since + STANDSTILL:
                self.ledger.stood_still(since + STANDSTILL, self.now)
                self.deadline = None

    def next_deadline(self) -> float:
        """In the world's time."""
        if self.deadline is None:
            self.deadline = self.ledger.next_deadline()
        return self.deadline - self._ahead + 1e-6

    # the process ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take up what the journal says, then consume."""
        if self.journal is None:
            self.world.promises.restarted(None)
        else:
            self._restore(self.journal)
        self._perform(self._looked_at(self.ledger.consuming(self.now)))
        self._is_through()

    def _restore(self, journal: Journal) -> None:
        history = journal.folded()
        self.world.promises.restarted(history)
        for uuid, status in history.requests.items():
            future = self.futures[uuid] = Future(uuid, status.submitted.task, self)
            if status.ended is not None:
                outcomes.settle(future, outcomes.from_event(status.ended))
                self.world.promises.saw(uuid, outcome_of(status.ended))
            elif status.is_cancelled:
                future.withdraw()
                self.requests.unsettled[uuid] = future
            else:
                if status.has_run:
                    future.begin()
                self.requests.open[uuid] = Open(future)
        journal.append(Opened(self.name, self.incarnation), self.wall)
        statuses = list(history.open_requests())
        effects = self.ledger.restored(statuses, self.now, self.wall)
        self._perform(self._looked_at(effects))

    def turn(self, *deliveries: Received) -> None:
        """What its keeper does with what is in its mailbox, these after all that is there."""
        now, ledger = self.now, self.ledger
        effects: list[Effect] = []
        cancelled: list[str] = []
        is_due = now >= (ledger.next_deadline() if self.deadline is None else self.deadline)
        items, self.mailbox = self.mailbox, []
        for item in items:
            if isinstance(item, Order):
                effects += self._looked_at(ledger.submitted([item], now))
            elif isinstance(item, Received):
                effects += self._heard([item], now)
            else:
                effects += self.cancelled_by_its_caller(item, now)
                cancelled.append(item.uuid)
        if deliveries:
            effects += self._heard(deliveries, now)
        if is_due:
            effects += self._looked_at(ledger.tick(now))
        self._perform(effects, cancelled)
        self.world.promises.counted(ledger.counts, "the ledger")
        self._is_through()

    def listens(self, is_listening: bool, *, is_known: bool = True) -> None:
        """Its connection is there again, or not: of that the ledger is told if it ``is_known``."""
        was_listening, self.is_listening = self.is_listening, is_listening
        if is_known or is_listening:
            self.ledger.listening(is_listening, self.now)
            self.deadline = None
        if is_listening and not was_listening:
            self._perform(self._looked_at(self.ledger.consuming(self.now)))
            self._is_through()

    def _heard(self, deliveries: Iterable[Received], now: float) -> list[Effect]:
        for delivery in deliveries:
            self.world.promises.heard(delivery, self.world.time)
        return self._looked_at(self.ledger.heard(deliveries, now))

    def gone(self, worker: str) -> None:
        """The process of its own worker of this name has ended."""
        self._perform(self._looked_at(self.ledger.gone(worker, self.now)))
        self._is_through()

    def cancelled_by_its_caller(self, item: Cancel, now: float) -> list[Effect]:
        """The ledger hears of it.

        By force it may have heard in the same turn that it runs: then the turn sees that it stays
        what its caller was told.
        """
        if not item.force and self.futures[item.uuid].cancelled():
            self.world.promises.ledger_cancelled(item.uuid)
        return self._looked_at(self.ledger.cancelled(item.uuid, item.force, now))

    def _perform(self, effects: list[Effect], cancelled: Iterable[str] = ()) -> None:
        """The lines, the messages, the ends: in this order."""
        self.deadline = None
        turn = Turn(self.requests, cancelled)
        turn.gather(effects, _Door(self), self.now)
        self._write(turn.lines)
        turn.close(self.wall)
        self._send(turn.parcels)
        self._tell(turn.news)

    def _write(self, lines: Iterable[Event]) -> None:
        for line in lines:
            self._burn()
            if self.journal is not None:
                self.journal.append(line, self.wall)
            self.world.promises.written(line, self.world.time)

    def _send(self, parcels: Iterable[Parcel]) -> None:
        for parcel in parcels:
            self._burn()
            if parcel.envelope.kind == envelope.REQUEST:
                self.world.promises.sending(parcel)
            elif parcel.envelope.kind == envelope.RECEIPT:
                self.world.promises.receipting(parcel)
            self.world.publish(parcel)

    def _tell(self, news: Iterable[Tell | tuple[str, Outcome]]) -> None:
        for one in news:
            self._burn()
            if isinstance(one, Tell):
                continue
            uuid, outcome = one
            future = self.futures[uuid]
            if not future.cancelled():
                self.world.promises.ending(uuid, outcome)
            outcomes.settle(future, outcome)
            self.requests.open.pop(uuid, None)
            assert future.done()
            word = outcome_of(outcomes.to_event(uuid, outcome))
            self.world.promises.saw(uuid, "cancelled" if future.cancelled() else word)
            self.world.tell("%s has ended: %s", uuid, word)

    def _looked_at(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            self.world.promises.decided(effect, self.world.time)
        return effects

    def _burn(self) -> None:
        if self.done == self.doom:
            raise Killed
        self.done += 1
        if self.fuse is not None:
            if self.fuse == 0:
                raise Killed
            self.fuse -= 1

    def _is_through(self) -> None:
        """Of a turn: what was to be killed within it and was not, is killed now."""
        if self.fuse is not None and not self.world.is_calm:
            raise Killed

    # the callers ----------------------------------------------------------------------------------

    def submit(self, order: Order) -> None:
        """``submit``: the line is written before it returns."""
        uuid = order.uuid
        self.world.promises.asks(uuid, order.mode, order.retries)
        if self.journal is not None:
            said = Submitted(
                uuid,
                order.task,
                loads(order.body),
                list(order.topics),
                order.named_only,
                order.timeout,
                order.mode,
                retries=None if order.retries is None else order.retries.to_json(),
            )
            self.journal.append(said, self.wall)
        self._burn()
        future = self.futures[uuid] = Future(uuid, order.task, self)
        self.requests.open[uuid] = Open(future)
        self.world.promises.submitted(uuid)
        self.mailbox.append(order)

    def cancel(self, uuid: str, force: bool) -> str:
        """``future.cancel(force)``: what it says."""
        future = self.futures[uuid]
        was_cancelled = future.cancelled()
        try:
            said = future.cancel(force)
        except (CannotStop, WaitTimeout) as error:
            return type(error).__name__
        if future.cancelled() and not was_cancelled:
            self.world.promises.cancelled(uuid)
        self.world.tell("it says %s", said)
        return str(said)

    # what its futures ask -------------------------------------------------------------------------

    def demand_same_process(self) -> None:
        """It is the same."""

    def deliverer_thread(self) -> threading.Thread | None:
        """There is none."""
        return None

    def record_cancel(self, uuid: str, *, force: bool) -> None:
        """The line."""
        self.world.promises.asked.add(uuid)
        if self.journal is not None:
            self.journal.append(Cancelled(uuid, force), self.wall)
        self._burn()

    def cancelled(self, uuid: str, *, force: bool) -> None:
        """The ledger is to hear of it."""
        self.mailbox.append(Cancel(uuid, force))

    def can_stop(self, uuid: str) -> bool | None:
        """Answered by the keeper."""
        if self.is_frozen:
            raise WaitTimeout("the keeper does not answer")
        return None if self.ledger.state_of(uuid) is None else self.ledger.can_stop(uuid)

    @property
    def open_uuids(self) -> list[str]:
        """What has not come to its end for its caller, and what is not settled yet."""
        return [*self.requests.open, *self.requests.unsettled]


class _Door:
    """What a turn asks the ledger when it finds a future cancelled."""

    def __init__(self, process: ExecutorProcess) -> None:
        self._process = process

    def withdrawn(self, uuid: str, now: float) -> list[Effect]:
        """At the door."""
        self._process.world.promises.closed(uuid)
        return self._process._looked_at(self._process.ledger.withdrawn(uuid, now))

    def cancelled(self, uuid: str, force: bool, now: float) -> list[Effect]:
        """When it began to run."""
        return self._process.cancelled_by_its_caller(Cancel(uuid, force), now)
