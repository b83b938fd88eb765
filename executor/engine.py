"""What one executor process runs: the threads, the private workers, and their beginning and end.

The listener takes, the keeper decides, the publisher sends, the deliverer sets futures. Everything
real is chosen and put together here, and nowhere else. Shared by an ``Executor`` and all that its
``options()`` return.

Which submissions are let in is decided at the ``door``, what becomes of them by the ledger. What is
decided here is how long each part may take to end, and that a forked child uses none of it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bus.news import Bus, Journal
from bus.wire import Claims, Dispatcher, Listener, Publisher, make_guard, parse_url
from executor import leaving
from executor.deliverer import Deliverer
from executor.door import Door
from executor.future import Future
from executor.herald import Herald
from executor.keeper import (
    Cancelled,
    Consuming,
    Gone,
    Heard,
    Hopeless,
    Keeper,
    Leaving,
    Undeliverable,
)
from executor.ledger import Ledger
from executor.memory import Memory
from executor.moments import Moments
from executor.nodes import NodeInfo, list_nodes
from executor.pen import Pen
from executor.places import check_topics, queues_of, topics_of
from executor.private import Staff, hire
from executor.recall import OnConflict, Recall
from executor.recovery import collector_paused, open_journal, take_up
from executor.request import Order
from executor.turn import Open, Requests
from executor.unique import Unique
from executor.workers import Crowd, WorkerInfo, list_workers
from protocol import events
from protocol.errors import (
    ConfigurationError,
    ExecutorClosed,
    ExecutorForked,
    ExecutorSuperseded,
    JournalError,
    TasklineError,
    UnknownRequest,
    WaitTimeout,
)
from protocol.topology import Dialect, check_name, identity_of, takes_replies
from protocol.values import Json

logger = logging.getLogger("taskline.executor.engine")

Answer = TypeVar("Answer")

ASK_TIMEOUT = 5.0  # seconds for the keeper to answer a question of ours
STOP_TIMEOUT = 10.0  # seconds for all threads and private workers to end, once nothing is open
FLUSH = 2.0  # of those, for what is to be sent, if the broker does not take it
LEAST = 0.1  # seconds that each gets to end, however late it is


class Engine:
    """All of an executor that runs. Threads start in ``__init__`` and end in ``shutdown``."""

    def __init__(
        self,
        url: str | None,
        *,
        exchange: str,
        topics: Sequence[str],
        name: str | None,
        journal: str | os.PathLike[str] | None,
        dialects: Sequence[Dialect],
        transport_options: Mapping[str, Any] | None,
        signing_keys: str | os.PathLike[str] | None,
        require_signature: bool | None,
        bus: Bus | None,
        patience: float,
        staff: Staff,
        offers: Callable[[], Sequence[str]],
    ) -> None:
        workers = staff.count
        self.broker = parse_url(url, transport_options)
        self.broker.check_dialects(dialects)
        self.dialects = tuple(dialects)
        checked = check_topics(topics, dialects, workers)
        if name:
            _check(name)
        if journal is not None and not name:
            raise ConfigurationError(
                f"journal={os.fspath(journal)!r} needs a name, which is written in it, so that "
                "nobody goes on with what another one began; give the same name each time, such "
                f"as Executor(name='nightly', journal={os.fspath(journal)!r})"
            )
        #: In which a call's ``eta`` is read.
        self.moments = Moments()
        self._crowd = Crowd()
        #: Held by who stops all threads.
        self._closing = threading.Lock()
        self._closed = False
        #: Set when all that starts has started, or has been stopped again.
        self._made = threading.Event()
        #: The process it was made in, and whether we are a forked child of that.
        self._process = os.getpid()
        self.is_forked = False

        if workers and self.broker.kind == "memory":
            raise ConfigurationError(
                "workers=N starts processes, and memory:// lives in this one only: leave the URL "
                "out, or run a worker.Worker(…, url='memory://') in this process"
            )
        self._journal_path = "" if journal is None else os.fspath(journal)
        self._journal: Journal | None = None
        #: What was open in the journal, until somebody has asked for that: uuids.
        self._taken: list[str] = []
        with collector_paused(), contextlib.ExitStack() as undo:
            if journal is not None and name:
                self._journal = open_journal(Path(journal), name)
                undo.callback(self._journal.close)
            #: What workers know it by. First of all: it is in the name of whatever is made below.
            self.id = self._identity(name)
            self.topics = topics_of(checked, self.id, workers)
            self._replies, self._hellos = queues_of(dialects, exchange, self.id)
            queues = [*self._replies, *self._hellos]
            self.deliverer = Deliverer(f"taskline-deliverer-{self.id[:8]}")
            guard = make_guard(signing_keys, require_signature, dialects, queues)
            if signing_keys is not None and "taskflow" in dialects:
                logger.warning(
                    "taskflow's peers know no signatures: what comes from there is believed "
                    "unsigned"
                )
            self._publisher = Publisher(
                self.broker,
                name=f"taskline-publisher-{self.id[:8]}",
                guard=guard,
                on_drop=lambda parcel, why: self._keeper.put(Undeliverable(parcel, why)),
            )
            self._dispatcher = Dispatcher(at_worker=False, guard=guard)
            self._listener = Listener(
                self.broker,
                queues,
                self._dispatcher,
                lambda deliveries: self._keeper.put(Heard(deliveries)),
                on_consuming=self._consumes,
                name=f"taskline-listener-{self.id[:8]}",
            )
            self._claims = Claims(self.broker, name=f"taskline-claims-{self.id[:8]}")
            self._herald = self._make_herald(bus, name)
            self._keeper = self._make_keeper(exchange, workers, patience)
            if self._journal is not None:
                make = self._make_future
                self._taken = take_up(self._journal, self._requests, self._keeper, make)
            undo.pop_all()
        self._private = None
        if workers:
            life = os.getpid() if self._journal is None else self._journal.incarnation
            self._private = hire(
                staff,
                self.broker,
                exchange=exchange,
                topic=self.topics[0],
                offers=offers() if staff.offers is None else staff.offers,
                name=f"private-{self.id[:16]}" + (f".{life}" if name else ""),
                guard=guard,
                on_end=lambda worker: self._keeper.put(Gone(worker)),
                on_hopeless=lambda reason: self._keeper.put(Hopeless(reason)),
            )
        leaving.watch(self)
        try:
            if self._private is not None:
                self._private.start()  # who take longest to be there
            self.deliverer.start()
            self._keeper.start()
            self._listener.start()
            self._publisher.start()  # after it: without a broker there is nothing to send
        except BaseException:
            self._stop_all(time.monotonic() + STOP_TIMEOUT)
            raise
        finally:
            self._made.set()

    def _identity(self, name: str | None) -> str:
        """The journal's, which goes on; else one that is drawn for this process, and ends with it.

        Nobody is kept from using a name twice.
        """
        if self._journal is not None:
            return self._journal.identity
        return identity_of(name, secrets.token_hex(4)) if name else secrets.token_hex(8)

    def _make_herald(self, bus: Bus | None, name: str | None) -> Herald:
        journal = self._journal
        incarnation = 1 if journal is None else journal.incarnation
        opened = events.Opened(name or self.id, incarnation, self.id)
        return Herald(bus, opened, keeps_journal=journal is not None)

    def _make_keeper(self, exchange: str, workers: int, patience: float) -> Keeper:
        """The keeper with its ledger, the door to it, and all that finds a request again."""
        memory = Memory()
        journal = self._journal
        pen = None if journal is None else Pen(journal)
        incarnation = 1 if journal is None else journal.incarnation
        self._requests = Requests(memory.ended if journal is None else None)
        self._recall = Recall(self._requests, pen, memory, self._make_future)
        ledger = Ledger(
            self.id,
            exchange,
            self.topics,
            self.dialects,
            self.topics[0] if workers else None,
            incarnation=incarnation,
            keeps_journal=journal is not None,
            patience=patience,
        )
        keeper = Keeper(
            ledger,
            self._requests,
            self._publisher,
            self.deliverer,
            name=f"taskline-keeper-{self.id[:8]}",
            on_crowd=self._crowd.count,
            is_listening=lambda: self._listener.is_consuming,
            stood_still=lambda: self._listener.stood_still,
            on_superseded=self._superseded,
            journal=pen,
            herald=self._herald,
        )
        shown = self.broker.shown
        unique = Unique(self.id, incarnation, exchange, self._recall, self._claims, shown)
        self._door = Door(self._requests, self._recall, keeper, pen, self._listener, shown, unique)
        return keeper

    def _make_future(self, uuid: str, task: str) -> Future[Any]:
        return Future(uuid, task, self)

    def _consumes(self) -> None:
        self._door.broker_is_back()
        self._keeper.put(Consuming())

    # submitting -------------------------------------------------------------------------------

    def submit(
        self,
        order: Order,
        entry: Open,
        body: Callable[[], Json],
        on_conflict: OnConflict,
        unique_for: float | None,
    ) -> Future[Any]:
        """Take an order over, or join it to one with the same key; see ``door``. Any thread.

        Raises ``ExecutorForked`` in a forked child.
        """
        self.demand_same_process()
        return self._door.submit(order, entry, body, on_conflict, unique_for)

    @property
    def wants_progress(self) -> bool:
        """Whether somebody on the bus listens to what running tasks say. Any thread."""
        return self._herald.wants_progress

    def offer(self, spec: str) -> None:
        """Have the private workers, if there are any, offer ``MODULE:NAME``."""
        if self._private is not None:
            self._private.offer(spec)

    # what futures ask -------------------------------------------------------------------------

    def demand_same_process(self) -> None:
        """Raise ``ExecutorForked`` in a forked child."""
        if self.is_forked:
            raise ExecutorForked(
                f"executor {self.id} was made in process {self._process}, and this is its forked "
                f"child {os.getpid()}, into which its threads and connections do not go along: "
                "make an Executor here, or hand back to the parent what is to be submitted"
            )

    def deliverer_thread(self) -> threading.Thread:
        """The thread that sets futures."""
        return self.deliverer.thread

    def record_cancel(self, uuid: str, *, force: bool) -> None:
        """Write that a caller cancels this one. Raises ``JournalError``."""
        self._door.record(events.Cancelled(uuid, force))

    def cancelled(self, uuid: str, *, force: bool) -> None:
        """A caller has cancelled this one. Any thread."""
        self._keeper.put(Cancelled(uuid, force))

    def can_stop(self, uuid: str) -> bool | None:
        """Whether it runs where a run can be ended; None if it is not open any more."""
        return self._ask(
            lambda ledger, now: None if ledger.state_of(uuid) is None else ledger.can_stop(uuid)
        )

    # asking -----------------------------------------------------------------------------------

    def futures(self, via: object = None) -> list[Future[Any]]:
        """The futures that are not set yet: all, or those of one executor. Any thread."""
        return [entry.future for entry in self._requests.entries(via) if not entry.future.done()]

    def open_requests(self) -> list[Future[Any]]:
        """Those that are open, in order of submission; at first with all that were taken up.

        However quickly their results came: whoever asks for the first time gets them all.
        """
        self._demand_keeper()
        taken, self._taken = self._taken, []
        found: list[Future[Any]] = []
        for uuid in taken:
            with contextlib.suppress(UnknownRequest):  # it ended so long ago
                found.append(self._recall.future(uuid))
        seen = set(taken)
        return found + [future for future in self.futures() if future.uuid not in seen]

    def get(self, uuid: str) -> Future[Any]:
        """The future of any request that is open or remembered. Raises ``UnknownRequest``."""
        self._demand_keeper()
        return self._recall.future(uuid)

    def workers(self) -> list[WorkerInfo]:
        """The workers heard from and not forgotten, by name."""
        return self._ask(list_workers)

    def nodes(self) -> dict[str, NodeInfo]:
        """The machines they are on, by name."""
        return self._ask(list_nodes)

    def worker_gone(self, name: str) -> None:
        """The process of the worker of this name has ended."""
        self._demand_keeper()
        self._keeper.put(Gone(name))

    def unsettled(self, uuids: Iterable[str]) -> list[str]:
        """Those of which the ledger knows still."""
        asked = list(uuids)
        return self._ask(lambda ledger, now: [u for u in asked if ledger.state_of(u) is not None])

    def ignore(self, name: str, *, is_ignored: bool) -> None:
        """Send nothing more to this machine, or worker, or again."""
        self._ask(lambda ledger, now: ledger.ignore(name, now, is_ignored=is_ignored))

    def counts(self) -> dict[str, int]:
        """What was refused, dropped or came to nothing, by reason."""
        counted = self._ask(lambda ledger, now: dict(ledger.counts))
        for reason, number in self._dispatcher.refusals.items():
            counted[f"refused_{reason}"] = number
        ours = {
            "dropped_unsendable": self._publisher.dropped,
            "dropped_full": self._publisher.dropped_full,
            "dropped_events": self.deliverer.dropped,
            "listener_crowded": self._listener.crowded,
            "listener_replaced": self._listener.replaced,
        }
        counted.update((reason, number) for reason, number in ours.items() if number)
        return counted

    def wait_for_workers(self, count: int, timeout: float) -> list[WorkerInfo]:
        """Until ``count`` worker processes are known; ``WaitTimeout`` says how many are."""
        known = self._crowd.wait_for(count, timeout, self._demand_keeper)
        if known < count:
            raise WaitTimeout(
                f"waiting for {count} workers on topics {list(self.topics)} of "
                f"{self.broker.shown}: after {timeout:.1f} s {known} were heard from; start more "
                "with: python -m worker MODULE, with the same URL, exchange and topic"
            )
        return self.workers()

    def _ask(self, question: Callable[[Ledger, float], Answer]) -> Answer:
        self._demand_keeper()
        answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()

        def ask(ledger: Ledger, now: float) -> None:
            answer.set_result(question(ledger, now))

        self._keeper.ask(ask)
        try:
            return answer.result(ASK_TIMEOUT)
        except concurrent.futures.TimeoutError:
            self._demand_keeper()
            raise WaitTimeout(
                f"the executor did not answer within {ASK_TIMEOUT:.0f} s: its keeper is busy"
            ) from None

    def _demand_keeper(self) -> None:
        """Raise unless there is one to ask."""
        self.demand_same_process()
        if (error := self._door.superseded) is not None:
            raise ExecutorSuperseded(str(error)) from error
        if self._closed:
            raise ExecutorClosed("nothing can be asked after shutdown(): ask before it")
        if self._keeper.died is not None:
            raise TasklineError(str(self._keeper.died)) from self._keeper.died

    # ending -----------------------------------------------------------------------------------

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """End when every open request has ended; ``wait`` for that or leave it to a thread.

        ``cancel`` what is not known to run.
        """
        self.demand_same_process()
        self._door.shut()
        if cancel:
            self._cancel(self.futures())
        if wait and threading.current_thread() is not self.deliverer.thread:
            self._close()
            return
        name = f"taskline-closing-{self.id[:8]}"
        threading.Thread(target=self._close, name=name, daemon=True).start()
        if wait:
            self._refuse_to_hang(self.futures())

    def settle(self, via: object, *, wait: bool, cancel: bool) -> None:
        """The same for what was submitted to one of the executors on this engine, which goes on."""
        self.demand_same_process()
        futures = self.futures(via)
        if cancel:
            self._cancel(futures)
        if wait:
            self._refuse_to_hang(futures)
            concurrent.futures.wait(futures)

    @staticmethod
    def _cancel(futures: Sequence[Future[Any]]) -> None:
        try:
            for future in futures:
                future.cancel()
        except JournalError as error:
            logger.error("not everything could be cancelled: %s", error)  # noqa: TRY400

    def _refuse_to_hang(self, futures: Sequence[Future[Any]]) -> None:
        on_deliverer = threading.current_thread() is self.deliverer.thread
        if on_deliverer and not all(future.done() for future in futures):
            raise TasklineError(
                "shutdown(wait=True) inside a callback cannot wait for requests that only the "
                "callback's own thread can end; call shutdown(wait=False)"
            )

    def _close(self) -> None:
        if not self._closed:
            concurrent.futures.wait(self.futures())
        with self._closing:
            if not self._closed:
                self._closed = True
                self._stop_all(time.monotonic() + STOP_TIMEOUT)

    def _superseded(self, error: ExecutorSuperseded) -> None:
        """Another one has our identity and is served: take nothing more of what is its. Keeper."""
        self._door.superseded = error
        name = f"taskline-closing-{self.id[:8]}"
        threading.Thread(target=self._give_way, name=name, daemon=True).start()

    def _give_way(self) -> None:
        self._made.wait(2 * STOP_TIMEOUT)  # the listener's first connection, or its end
        self._close()

    def _stop_all(self, until: float, *, fails: bool = True) -> None:
        """End all threads, in ``until`` at the latest, near enough.

        What is still open fails, or is left as it is, for nobody to hear of it any more.
        """

        def left(most: float) -> float:
            return max(LEAST, min(most, until - time.monotonic()))

        leaving.forget(self)
        self._keeper.put(Leaving())
        if self._door.superseded is None:  # else they are another one's as well
            self._listener.delete_too(self._hellos)
            if self._journal is None or not (self._requests.unsettled or self.futures()):
                self._listener.delete_too(self._replies)  # nobody waits for what comes now
        if self._private is not None:
            self._private.stop(left(until - time.monotonic() - 2.0))  # the others need some as well
        self._listener.stop(left(STOP_TIMEOUT))
        self._keeper.stop(left(STOP_TIMEOUT), fails=fails)
        self._publisher.stop(left(FLUSH))
        self._door.wait_for_claims(left(FLUSH))
        self._claims.stop(left(FLUSH))
        if self._journal is not None:
            self._journal.close()
        self.deliverer.stop(left(STOP_TIMEOUT))

    # at the interpreter's end, and in a forked child --------------------------------------------

    def wind_up(self, until: float) -> None:
        """After a ``shutdown(wait=False)``: wait for what is open, until then at most."""
        if self._door.is_shut:
            concurrent.futures.wait(self.futures(), max(0.0, until - time.monotonic()))

    def leave(self, until: float) -> None:
        """Without a shutdown, or before it is through: send what was submitted, then go."""
        self._door.is_shut = True  # without its lock, which a thread may hold that hangs
        if not self._closing.acquire(timeout=max(0.0, until - time.monotonic())):
            return  # another thread is shutting it down, and has had its time
        try:
            if self._closed:
                return
            self._closed = True
            if open_now := len(self.futures()):
                logger.warning(
                    "%d requests were open when the program ended%s", open_now, self._what_then()
                )
            self._publisher.flush(FLUSH)  # before private workers end, who may take some of it
            self._stop_all(until, fails=False)
        finally:
            self._closing.release()

    def _what_then(self) -> str:
        if self._journal is not None:
            return (
                f"; they are in {self._journal_path}, and the next executor named "
                f"{self._journal.executor} with that journal takes them up again"
            )
        if self._private is not None:
            return ", and end with it: shutdown(), or with Executor(…), waits for them"
        return (
            ", and nobody will hear what becomes of them: shutdown(), or with Executor(…), waits "
            "for them"
        )

    def forked(self) -> None:
        """In the forked child: mark it all as the parent's, and let go of what would bind it."""
        self.is_forked = True
        for entry in self._requests.entries():
            entry.future.forked()
        if self._private is not None:
            self._private.forked()


def _check(name: str) -> None:
    """Raise ``ConfigurationError`` unless workers will answer to it: a name alone may be one's own.

    (Of a journal that was begun before there were identities.)
    """
    if not takes_replies(check_name("executor name", name)):
        raise ConfigurationError(
            f"executor name {name!r} ends as the queues of workers and fan-outs do: leave out "
            ".call, .hello, or the dot before sixteen hexadecimal digits"
        )
