"""The pool by choice: tasks run in threads of this process, in futurist's thread pool.

Cheap, and enough for tasks that mostly wait. The price: the task modules are imported here, a task
that holds the interpreter holds the worker, one that crashes takes the worker with it, and none can
be ended from outside. So no limits are kept here, neither ``time_limit`` nor ``soft_time_limit``:
requests with one are refused before they get here, and what ``@task`` says of them is told once.
Reports come from the thread of the task they are about.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.failure import from_exception
from protocol.values import loads
from worker.host import HostCrashed
from worker.registry import Registry
from worker.runner import Call, run
from worker.work import (
    Ended,
    Offer,
    Offers,
    PoolEnded,
    Report,
    Started,
    TaskEvent,
    Work,
    limits_not_kept,
)

if TYPE_CHECKING:
    import futurist

log = logging.getLogger("taskline.worker.pool.threads")

Reporter = Callable[[list[Report]], None]

_NOT_STARTED: Final = "the pool was stopped before it was started"


class ThreadsPool:
    """Tasks in threads. A :class:`worker.work.Pool`; tests/conformance has its contract."""

    kind: Literal["processes", "threads"] = "threads"
    can_stop = False

    def __init__(self, specs: Sequence[str], slots: int) -> None:
        #: How many works run at once.
        self.slots = slots
        self._specs = tuple(specs)
        self._registry = Registry()
        self._report: Reporter = _nobody
        self._executor: futurist.ThreadPoolExecutor | None = None
        self._is_over = False
        #: What went wrong with the pool itself.
        self._fault: str | None = None
        # Guards _open, and loading: a registry has one writer at a time.
        self._open: set[int] = set()
        self._changed = threading.Condition()
        self._loading = threading.Lock()

    def start(self, report: Reporter) -> tuple[Offer, ...]:
        """Import the tasks, on the calling thread; returns what is offered.

        Raises ``TasksUnloadable`` with the import's own traceback. A second call returns the same.
        """
        if self._is_over:
            raise TasksUnloadable(_NOT_STARTED)
        if self._executor is None:
            for spec in self._specs:
                self._registry.load(spec)
            for sentence in self._registry.left_out:
                log.info("not offered: %s", sentence)
            self._warn_of_limits(())
            self._report = report
            with _current_folder_last():
                # Here, because a worker with the other pool starts a tenth quicker without it.
                import futurist  # noqa: PLC0415

            self._executor = futurist.ThreadPoolExecutor(max_workers=self.slots)
        return self._offers()

    def run(self, work: Work) -> None:
        """Run one work. Keeper only; never blocks; only while fewer than ``slots`` are open.

        After ``stop()`` it is ignored, after a fault of the pool it is reported as crashed.
        """
        if self._fault is not None:
            self._report([_crashed(work.key, self._fault)])
        elif self._executor is not None and not self._is_over:
            with self._changed:
                self._open.add(work.key)
            try:
                self._executor.submit(self._run, work)
            except RuntimeError as error:  # the system gives no more threads
                reason = f"{work.task} could not be run: no thread could be started: {error}"
                self._close(work.key, _crashed(work.key, reason))

    def offer(self, spec: str) -> None:
        """Offer one spec more; a thread of its own imports it and makes the ``Offers`` report."""
        threading.Thread(
            target=self._offer, args=(spec,), name="taskline-pool-import", daemon=True
        ).start()

    def end(self, key: int) -> None:
        """Nothing: a thread cannot be ended from outside, and is left to run."""

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more works and wait ``timeout`` seconds for those that run; leave the others."""
        self._is_over = True
        if self._executor is None:
            return
        self._executor.shutdown(wait=False)
        until = time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: not self._open, max(0.0, until - time.monotonic()))
            if self._open:
                log.warning("%d tasks still run in threads and are left behind", len(self._open))

    def _run(self, work: Work) -> None:
        def started() -> None:
            self._report([Started(work.key)])

        def tell(event_type: str, details: str) -> None:
            self._report([TaskEvent(work.key, event_type, loads(details))])

        call = Call(
            task=work.task,
            name=work.name,
            action=work.action,
            args=work.args,
            arguments=work.arguments,
            result=work.result,
            failures=work.failures,
        )
        try:
            outcome = run(self._registry, call, started, tell)
            self._close(work.key, Ended(work.key, loads(outcome.result), outcome.failure))
        except Exception as error:
            log.exception("the pool of threads has failed; its works are ended as crashed")
            self._fail(f"the worker's pool of threads has failed: {error!r}")

    def _close(self, key: int, ended: Ended) -> None:
        """Report an end, unless it was reported already, by a fault."""
        with self._changed:
            is_open = key in self._open
        if is_open:
            self._report([ended])
        with self._changed:
            self._open.discard(key)
            self._changed.notify_all()

    def _fail(self, reason: str) -> None:
        self._fault = reason
        with self._changed:
            still_open = sorted(self._open)
            self._open.clear()
            self._changed.notify_all()
        self._report([*(_crashed(key, reason) for key in still_open), PoolEnded(reason)])

    def _offer(self, spec: str) -> None:
        refused: tuple[str, ...] = ()
        with self._loading:
            before = self._offers()
            try:
                self._registry.load(spec)
            except TasksUnloadable as error:
                log.warning("cannot offer %s: %s", spec, error)
                refused = (str(error),)
                self._registry.explain(spec, str(error))
            refused = refused or self._registry.left_out
            self._warn_of_limits(before)
            self._report([Offers(self._offers(), refused)])

    def _offers(self) -> tuple[Offer, ...]:
        return tuple(
            Offer(e.name, e.version, e.doc, e.time_limit, e.soft_time_limit)
            for e in self._registry.entries
        )

    def _warn_of_limits(self, before: Sequence[Offer]) -> None:
        """Say once of each task that its limits are not kept here."""
        sentence = limits_not_kept(offer for offer in self._offers() if offer not in before)
        if sentence is not None:
            log.warning("%s", sentence)


def _nobody(_reports: list[Report]) -> None:
    """Who is reported to before anything can be."""


def _crashed(key: int, reason: str) -> Ended:
    return Ended(key, failure=from_exception(HostCrashed(reason)), end="crash")


@contextlib.contextmanager
def _current_folder_last() -> Iterator[None]:
    """Import what is installed, not a module of tasks of that name where the command was typed."""
    path = list(sys.path)
    with contextlib.suppress(FileNotFoundError):  # the folder has been removed
        here = ("", os.getcwd())  # noqa: PTH109  as it stands in sys.path
        sys.path.sort(key=lambda entry: entry in here)
    try:
        yield
    finally:
        sys.path[:] = path
