"""The pool by choice: tasks run in threads of this process, in futurist's thread pool.

Cheap, and enough for tasks that mostly wait. The price: the task modules are imported here, a task
that holds the interpreter holds the worker, one that crashes takes the worker with it, and none can
be ended from outside. So no limits are kept here, neither ``time_limit`` nor ``soft_time_limit``:
requests with one are refused before they get here, and what ``@task`` says of them is told once.

A thread takes works until there is none left. What it has to report waits for a moment, so that
whoever hears it is not woken for each quick task: for ``TELL_PERIOD`` at most where works end, and
for ``LOOK_PERIOD`` where they do not; then a thread that does nothing else, and sleeps when nothing
runs that was not told of, tells what has begun.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.failure import from_exception
from protocol.values import loads
from worker.clock import clock
from worker.host import HostCrashed
from worker.pool import ends
from worker.registry import Registry
from worker.runner import Call, run
from worker.work import (
    Encoded,
    Ended,
    Offer,
    Offers,
    PoolEnded,
    Report,
    Returned,
    Started,
    TaskEvent,
    Work,
    limits_not_kept,
)

if TYPE_CHECKING:
    import futurist

log = logging.getLogger("taskline.worker.pool.threads")

Reporter = Callable[[list[Report]], None]

TELL_PERIOD: Final = 0.001  # seconds between two lists of reports while works end
LOOK_PERIOD: Final = 0.003  # seconds between two looks at what has begun

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
        # Guards all up to _loading, which makes that a registry has one writer at a time.
        self._changed = threading.Condition()
        self._waiting: deque[Work] = deque()
        #: What runs, by key: whether it was seen to, and whether that was told.
        self._running: dict[int, Literal["new", "seen", "told"]] = {}
        #: How many threads take works.
        self._serving = 0
        #: What is to be reported, and when something was last.
        self._said: list[Report] = []
        self._told_at = -TELL_PERIOD
        #: Whether somebody looks at what has begun.
        self._is_watched = False
        self._loading = threading.Lock()
        # Held while something is reported, so that all comes in order.
        self._telling = threading.Lock()
        self._to_watch = threading.Event()
        self._is_stopped = threading.Event()

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
            threading.Thread(target=self._watch, name="taskline-pool", daemon=True).start()
        return self._offers()

    def run(self, *works: Work) -> None:
        """Run these, ``slots`` at once, in their order. Keeper only; never blocks.

        After ``stop()`` they are ignored, after a fault of the pool reported as crashed.
        """
        if self._fault is not None:
            self._tell([_crashed(work.key, self._fault) for work in works])
            return
        if self._executor is None or self._is_over:
            return
        with self._changed:
            self._waiting.extend(works)
            more = min(self.slots - self._serving, len(works))
            self._serving += more
        for number in range(more):
            try:
                self._executor.submit(self._serve)
            except RuntimeError as error:  # the system gives no more threads
                self._serve_less(more - number, f"no thread could be started: {error}")
                break

    def take_back(self, *keys: int) -> None:
        """Return these, as far as they have not begun. Keeper only; never blocks."""
        self._tell([Returned(work.key) for work in self._take_out(keys)])

    def offer(self, spec: str) -> None:
        """Offer one spec more; a thread of its own imports it and makes the ``Offers`` report."""
        threading.Thread(
            target=self._offer, args=(spec,), name="taskline-pool-import", daemon=True
        ).start()

    def end(self, key: int) -> None:
        """End what has not begun; a thread cannot be ended from outside, and is left to run."""
        how = "was ended before it ran"
        self._tell([ends.stopped(work, how) for work in self._take_out([key])])

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more works and wait ``timeout`` seconds for those that run; leave the others."""
        self._is_over = True
        if self._executor is None:
            return
        self._executor.shutdown(wait=False)
        self._is_stopped.set()
        self._to_watch.set()
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
        self._tell([ends.stopped(work, "was ended with its worker") for work in left])
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout)
            if self._running:
                log.warning("%d tasks still run in threads and are left behind", len(self._running))

    # works ------------------------------------------------------------------------------------

    def _take_out(self, keys: Sequence[int]) -> list[Work]:
        """Of these what has not begun: it never will."""
        with self._changed:
            found = [work for work in self._waiting if work.key in keys]
            for work in found:
                self._waiting.remove(work)
        return found

    def _serve(self) -> None:
        """Run works until there is none. A thread of the pool's."""
        try:
            while (work := self._next()) is not None:
                self._run(work)
            self._tell(())
        except Exception as error:
            log.exception("the pool of threads has failed; its works are ended as crashed")
            self._fail(f"the worker's pool of threads has failed: {error!r}")

    def _next(self) -> Work | None:
        with self._changed:
            while self._waiting:
                work = self._waiting.popleft()
                if work.start_by is not None and clock() * 1000 >= work.start_by:
                    self._said.append(Returned(work.key))
                    continue
                self._running[work.key] = "new"
                if not self._is_watched:
                    self._is_watched = True
                    self._to_watch.set()
                return work
            self._serving -= 1
        return None

    def _serve_less(self, threads: int, why: str) -> None:
        """So many threads could not be had; if that was all, nothing runs what waits."""
        with self._changed:
            self._serving -= threads
            lost = [] if self._serving else list(self._waiting)
            if lost:
                self._waiting.clear()
        self._tell([_crashed(work.key, f"{work.task} could not be run: {why}") for work in lost])

    def _run(self, work: Work) -> None:
        def tell(event_type: str, details: str) -> None:
            self._say(work.key, TaskEvent(work.key, event_type, loads(details)))

        call = Call(
            task=work.task,
            name=work.name,
            action=work.action,
            args=work.args,
            arguments=work.arguments,
            result=work.result,
            failures=work.failures,
        )
        outcome = run(self._registry, call, tell)
        result = Encoded(outcome.result.encode("ascii"))
        self._say(work.key, Ended(work.key, result, outcome.failure), is_end=True)

    def _fail(self, reason: str) -> None:
        self._fault = reason
        with self._changed:
            still_open = sorted([*self._running, *(work.key for work in self._waiting)])
            said, self._said = self._said, []
            self._running.clear()
            self._waiting.clear()
            self._changed.notify_all()
        crashed = [_crashed(key, reason) for key in still_open]
        self._report([*said, *crashed, PoolEnded(reason)])

    # reports ----------------------------------------------------------------------------------

    def _say(self, key: int, report: Report, *, is_end: bool = False) -> None:
        """Have this reported, unless its end was already, by a fault. Any thread."""
        with self._changed:
            known = self._running.get(key)
            if known is None:
                return
            if is_end:
                del self._running[key]
                self._changed.notify_all()
            elif known != "told":
                self._running[key] = "told"
                self._said.append(Started(key))
            self._said.append(report)
            is_due = time.monotonic() - self._told_at >= TELL_PERIOD
        if is_due:
            self._tell(())

    def _tell(self, reports: Sequence[Report]) -> None:
        """Report these, after what else is to be reported. Any thread."""
        with self._telling:
            with self._changed:
                said, self._said = [*self._said, *reports], []
                self._told_at = time.monotonic()
            if not said:
                return
            try:
                self._report(said)
            except BaseException:  # a fault of ours: told again with the end of the pool
                self._said = said + self._said
                raise

    def _watch(self) -> None:
        """Tell what has begun and is seen a second time, as long as something was not told of."""
        try:
            while self._to_watch.wait() and not self._is_stopped.wait(LOOK_PERIOD):
                with self._changed:
                    is_idle = not self._said
                    for key, known in self._running.items():
                        if known == "new":
                            self._running[key] = "seen"
                        elif known == "seen":
                            self._running[key] = "told"
                            self._said.append(Started(key))
                        is_idle &= known == "told"
                    if is_idle:
                        self._is_watched = False
                        self._to_watch.clear()
                        continue
                self._tell(())
        except Exception as error:
            log.exception("the pool of threads has failed; its works are ended as crashed")
            self._fail(f"the worker's pool of threads has failed: {error!r}")

    # what is on offer -------------------------------------------------------------------------

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
            self._tell([Offers(self._offers(), refused)])

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
