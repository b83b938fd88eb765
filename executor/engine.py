"""What one executor process runs: the threads, the private workers, and their beginning and end.

The listener takes, the keeper decides, the publisher sends, the deliverer sets futures. Everything
real is chosen and put together here, and nowhere else. Shared by an ``Executor`` and all that its
``options()`` return.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bus.wire import Dispatcher, Listener, Publisher, parse_url
from executor.deliverer import Deliverer
from executor.keeper import Ask, Consuming, Gone, Heard, Hopeless, Keeper, Open, Withdrawn
from executor.ledger import Ledger
from executor.private import PrivateWorkers
from executor.request import Order
from protocol.errors import ConfigurationError, ExecutorClosed, TasklineError, WaitTimeout
from protocol.topology import DIALECTS, Dialect, Names, Queue, check_name

logger = logging.getLogger("taskline.executor.engine")

Answer = TypeVar("Answer")

ASK_TIMEOUT = 5.0  # seconds for the keeper to answer a question of ours
EXIT_FLUSH = 5.0  # seconds at interpreter exit for what was submitted to leave


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker, as this executor has heard of it."""

    #: Its name; for a taskflow worker the topic, which is all it tells.
    name: str
    #: ``native`` or ``taskflow``.
    dialect: Dialect
    #: The worker process, 16 hex digits; None for taskflow's.
    boot: str | None
    #: ``{topic: (task name, …)}``, sorted.
    topics: Mapping[str, tuple[str, ...]]
    #: Tasks it runs at once; None if it does not tell.
    slots: int | None
    #: Requests this executor has sent it that are not over.
    open: int
    #: Seconds since it was last heard from.
    silent: float


class Engine:
    """All of an executor that runs. Threads start in ``__init__`` and end in ``shutdown``."""

    def __init__(
        self,
        url: str | None,
        *,
        exchange: str,
        topics: Sequence[str],
        name: str | None,
        dialects: Sequence[Dialect],
        transport_options: Mapping[str, Any] | None,
        workers: int,
        offers: Callable[[], Sequence[str]],
    ) -> None:
        self.id = check_name("executor name", name) if name else secrets.token_hex(8)
        self.broker = parse_url(url, transport_options)
        self.dialects = tuple(dialects)
        if not dialects or set(dialects) - set(DIALECTS):
            raise ConfigurationError(f"dialects {list(dialects)!r}: choose from {list(DIALECTS)}")
        self.topics = tuple(check_name("topic", topic) for topic in topics)
        if workers:
            self.topics = (f"private.{self.id}", *self.topics)
        if self.id in self.topics:
            raise ConfigurationError(
                f"executor name {self.id!r} is one of its topics: both name a queue; take another"
            )
        if not self.topics:
            raise ConfigurationError("an executor needs a topic to submit to, or private workers")
        if workers and "native" not in dialects:
            raise ConfigurationError(
                f"workers={workers} starts workers of ours, whom dialects={list(dialects)!r} does "
                "not speak to: add 'native'"
            )
        #: Set while the number of known workers is looked at by ``wait_for_workers``.
        self._crowd = threading.Condition()
        self._workers_known = 0
        #: Guards ``_is_shut``: a submission is taken over before, or refused. Re-entrant, because a
        #: signal handler or a finalizer may submit in the middle of it.
        self._door = threading.RLock()
        self._is_shut = False
        #: Held by who closes, which may take as long as the open requests do.
        self._closing = threading.Lock()
        self._closed = False

        private = self.topics[0] if workers else None
        ledger = Ledger(self.id, exchange, self.topics, dialects, private)
        suffix = self.id[:8]
        self.deliverer = Deliverer(f"taskline-deliverer-{suffix}")
        self._publisher = Publisher(self.broker, name=f"taskline-publisher-{suffix}")
        self._keeper = Keeper(
            ledger,
            self._publisher,
            self.deliverer,
            name=f"taskline-keeper-{suffix}",
            on_crowd=self._count,
        )
        self._dispatcher = Dispatcher(at_worker=False)
        queues, passing = _queues(dialects, exchange, self.id, keeps_replies=name is not None)
        self._listener = Listener(
            self.broker,
            queues,
            self._dispatcher,
            lambda deliveries: self._keeper.put(Heard(deliveries)),
            on_consuming=lambda: self._keeper.put(Consuming()),
            name=f"taskline-listener-{suffix}",
            delete_at_end=passing,
        )
        self._private = self._make_private(workers, exchange, offers) if workers else None
        self.deliverer.start()
        self._keeper.start()
        try:
            self._listener.start()
            self._publisher.start()  # after it: without a broker there is nothing to send
            if self._private is not None:
                self._private.start()
        except BaseException:
            self._stop_all()
            raise
        _ENGINES.add(self)

    # submitting -------------------------------------------------------------------------------

    def submit(self, order: Order, entry: Open) -> None:
        """Take an order over. Any thread. Raises ``ExecutorClosed`` after a shutdown."""
        with self._door:
            if self._is_shut:
                raise ExecutorClosed(
                    f"cannot submit {order.task} after shutdown(): make a new Executor"
                )
            self._keeper.open[order.uuid] = entry
            self._keeper.put(order)

    def offer(self, spec: str) -> None:
        """Have the private workers, if there are any, offer ``MODULE:NAME``."""
        if self._private is not None:
            self._private.offer(spec)

    def withdraw(self, uuid: str) -> None:
        """This future was cancelled before it was sent. Any thread."""
        self._keeper.put(Withdrawn(uuid))

    def deliverer_thread(self) -> threading.Thread:
        """The thread that sets futures."""
        return self.deliverer.thread

    # asking -----------------------------------------------------------------------------------

    def workers(self) -> list[WorkerInfo]:
        """The workers heard from and not forgotten, by name."""
        return self._ask(_list_workers)

    def counts(self) -> dict[str, int]:
        """What was refused or came to nothing, by reason."""
        counted = self._ask(lambda ledger, now: dict(ledger.counts))
        for reason, number in self._dispatcher.refusals.items():
            counted[f"refused_{reason}"] = number
        if self._publisher.dropped:
            counted["dropped_unsendable"] = self._publisher.dropped
        return counted

    def wait_for_workers(self, count: int, timeout: float) -> list[WorkerInfo]:
        """Until ``count`` worker processes are known; ``WaitTimeout`` says how many are."""
        deadline = time.monotonic() + timeout
        with self._crowd:
            while self._workers_known < count:
                self._demand_keeper()
                left = deadline - time.monotonic()
                if left <= 0:
                    known = self._workers_known
                    raise WaitTimeout(
                        f"waiting for {count} workers on topics {list(self.topics)} of "
                        f"{self.broker.shown}: after {timeout:.1f} s {known} were heard from; "
                        "start more with: python -m worker MODULE, with the same URL, exchange "
                        "and topic"
                    )
                self._crowd.wait(left)
        return self.workers()

    def _count(self, workers: int) -> None:
        with self._crowd:
            self._workers_known = workers
            self._crowd.notify_all()

    def _ask(self, question: Callable[[Ledger, float], Answer]) -> Answer:
        self._demand_keeper()
        answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()

        def ask(ledger: Ledger, now: float) -> None:
            answer.set_result(question(ledger, now))

        self._keeper.put(Ask(ask))
        try:
            return answer.result(ASK_TIMEOUT)
        except concurrent.futures.TimeoutError:
            self._demand_keeper()
            raise WaitTimeout(
                f"the executor did not answer within {ASK_TIMEOUT:.0f} s: its keeper is busy"
            ) from None

    def _demand_keeper(self) -> None:
        """Raise unless there is one to ask."""
        if self._closed:
            raise ExecutorClosed("nothing is known of workers after shutdown(): ask before it")
        if self._keeper.died is not None:
            raise TasklineError(str(self._keeper.died)) from self._keeper.died

    # ending -----------------------------------------------------------------------------------

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """End when every open request has ended; ``wait`` for that or leave it to a thread.

        ``cancel`` what has not been sent.
        """
        with self._door:
            self._is_shut = True
        if cancel:
            self._cancel(self._keeper.futures())
        if wait and threading.current_thread() is not self.deliverer.thread:
            self._close()
            return
        threading.Thread(target=self._close, name=f"taskline-closing-{self.id[:8]}").start()
        if wait:
            self._refuse_to_hang(self._keeper.futures())

    def settle(self, via: object, *, wait: bool, cancel: bool) -> None:
        """The same for what was submitted to one of the executors on this engine, which goes on."""
        futures = self._keeper.futures(via)
        if cancel:
            self._cancel(futures)
        if wait:
            self._refuse_to_hang(futures)
            concurrent.futures.wait(futures)

    @staticmethod
    def _cancel(futures: Sequence[concurrent.futures.Future[Any]]) -> None:
        for future in futures:
            future.cancel()

    def _refuse_to_hang(self, futures: Sequence[concurrent.futures.Future[Any]]) -> None:
        on_deliverer = threading.current_thread() is self.deliverer.thread
        if on_deliverer and not all(future.done() for future in futures):
            raise TasklineError(
                "shutdown(wait=True) inside a callback cannot wait for requests that only the "
                "callback's own thread can end; call shutdown(wait=False)"
            )

    def _close(self) -> None:
        with self._closing:
            if self._closed:
                return
            concurrent.futures.wait(self._keeper.futures())
            self._closed = True
            self._stop_all()
            _ENGINES.discard(self)

    def _stop_all(self) -> None:
        if self._private is not None:
            self._private.stop()
        self._listener.stop()
        self._keeper.stop()
        self._publisher.stop()
        self.deliverer.stop()

    def leave(self) -> None:
        """At interpreter exit, without a shutdown: let what was submitted leave, then go."""
        self._publisher.flush(EXIT_FLUSH)
        if self._private is not None:
            lost = len(self._keeper.futures())
            if lost:
                logger.warning(
                    "%d requests were open when the program ended, and end with it: "
                    "shutdown(), or with Executor(…), waits for them",
                    lost,
                )
            self._private.stop()
        self._listener.stop()  # with it goes the queue of our replies

    # ------------------------------------------------------------------------------------------

    def _make_private(
        self, count: int, exchange: str, offers: Callable[[], Sequence[str]]
    ) -> PrivateWorkers:
        if self.broker.kind == "memory":
            raise ConfigurationError(
                "workers=N starts processes, and memory:// lives in this one only: leave the URL "
                "out, or run a worker.Worker(…, url='memory://') in this process"
            )
        options = [f"--transport-option={key}={value}" for key, value in self.broker.given.items()]
        arguments = [
            *offers(),
            "--tasks-from-stdin",
            f"--exchange={exchange}",
            f"--topic={self.topics[0]}",
            "--concurrency=1",
            "--log-level=warning",
            "--no-banner",
            *options,
        ]
        # By environment, not by command line: a URL may hold a password.
        return PrivateWorkers(
            count,
            arguments,
            {"TASKLINE_URL": self.broker.url},
            name=f"private-{self.id[:16]}",
            on_end=lambda name: self._keeper.put(Gone(name)),
            on_hopeless=lambda reason: self._keeper.put(Hopeless(reason)),
        )


def _queues(
    dialects: Sequence[Dialect], exchange: str, key: str, *, keeps_replies: bool
) -> tuple[list[Queue], list[Queue]]:
    """What to consume, and what of it nobody needs after a clean end."""
    queues: list[Queue] = []
    passing: list[Queue] = []
    for dialect in dialects:
        names = Names(dialect, exchange)
        replies = names.replies(key)
        queues.append(replies)
        if not keeps_replies:
            passing.append(replies)
        if names.is_native:
            hello = names.hello_queue(key)
            queues.append(hello)
            passing.append(hello)
    return queues, passing


def _list_workers(ledger: Ledger, now: float) -> list[WorkerInfo]:
    found = [
        WorkerInfo(
            name=peer.name,
            dialect=peer.dialect,
            boot=peer.key if peer.is_native else None,
            topics={topic: tuple(sorted(names)) for topic, names in sorted(peer.topics.items())},
            slots=peer.slots,
            open=len(peer.open),
            silent=max(0.0, now - peer.heard),
        )
        for peer in ledger.directory
    ]
    return sorted(found, key=lambda worker: (worker.name, worker.boot or ""))


#: Engines nobody has shut down yet.
_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


# A forked child has neither the threads nor the workers, and must not end the latter.
os.register_at_fork(after_in_child=_ENGINES.clear)


@atexit.register
def _leave_all() -> None:
    for engine in list(_ENGINES):
        engine.leave()
