"""The pool by choice: tasks run in threads of this process, in futurist's thread pool.

Cheap, and enough for tasks that mostly wait. The price: the task modules are imported here, a task
that holds the interpreter holds the worker, one that crashes takes the worker with it, and none can
be ended from outside. Reports come from the thread of the task they are about.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.values import loads
from worker.registry import Registry
from worker.runner import Call, run
from worker.work import Ended, Offer, Offers, Report, Started, TaskEvent, Work

if TYPE_CHECKING:
    import futurist

log = logging.getLogger("taskline.worker.pool.threads")

Reporter = Callable[[list[Report]], None]

_NOT_STARTED: Final = "the pool was stopped before it was started"


class ThreadsPool:
    """Tasks in threads. A :class:`worker.work.Pool`; tests/conformance has its contract."""

    kind: Literal["processes", "threads"] = "threads"

    def __init__(self, specs: Sequence[str], slots: int) -> None:
        #: How many works run at once.
        self.slots = slots
        self._specs = tuple(specs)
        self._registry = Registry()
        self._report: Reporter = _nobody
        self._executor: futurist.ThreadPoolExecutor | None = None
        self._is_over = False
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
            self._report = report
            # Here, because a worker with the other pool starts without it in a tenth less time.
            import futurist  # noqa: PLC0415

            self._executor = futurist.ThreadPoolExecutor(max_workers=self.slots)
        return self._offers()

    def run(self, work: Work) -> None:
        """Run one work. Keeper only; never blocks; only while fewer than ``slots`` are open.

        After ``stop()`` it is ignored.
        """
        if self._executor is not None and not self._is_over:
            with self._changed:
                self._open.add(work.key)
            self._executor.submit(self._run, work)

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
        outcome = run(self._registry, call, started, tell)
        self._report([Ended(work.key, loads(outcome.result), outcome.failure)])
        with self._changed:
            self._open.discard(work.key)
            self._changed.notify_all()

    def _offer(self, spec: str) -> None:
        refused: tuple[str, ...] = ()
        with self._loading:
            try:
                self._registry.load(spec)
            except TasksUnloadable as error:
                log.warning("cannot offer %s: %s", spec, error)
                refused = (str(error),)
                self._registry.explain(spec, str(error))
            refused = refused or self._registry.left_out
            self._report([Offers(self._offers(), refused)])

    def _offers(self) -> tuple[Offer, ...]:
        return tuple(
            Offer(entry.name, entry.version, entry.doc) for entry in self._registry.entries
        )


def _nobody(_reports: list[Report]) -> None:
    """Who is reported to before anything can be."""
