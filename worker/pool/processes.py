"""The default pool: each slot is a process of its own, and each can be ended alone.

The main process never imports a task module, so it always answers and beats, whatever a task does.
It has one thread here, ``taskline-pool``, which owns the hosts (``crew``); everybody else leaves a
note and wakes it, which never blocks. A fault of that thread ends the pool, and says so with a
``PoolEnded``. Why not a library's process pool: docs/decisions/001.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.failure import from_exception
from worker.host import HostCrashed
from worker.pool.crew import LEAVE_TIME, Crew, Note, Reporter
from worker.work import Ended, Offer, Work

log = logging.getLogger("taskline.worker.pool.processes")

START_TIMEOUT: Final = 30.0  # seconds until all hosts must have imported the tasks


class ProcessesPool:
    """Hosts in processes. A :class:`worker.work.Pool`; tests/conformance has its contract."""

    kind: Literal["processes", "threads"] = "processes"
    can_stop = True

    def __init__(
        self,
        specs: Sequence[str],
        slots: int,
        *,
        preload: Sequence[str] = (),
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        """``preload``: modules that each host imports for the commands it runs."""
        #: How many works run at once.
        self.slots = slots
        self._specs = tuple(specs)
        self._preload = tuple(preload)
        self._start_timeout = start_timeout
        self._notes: deque[Note] = deque()
        self._wake_reader = self._wake_writer = -1
        self._ready: Future[tuple[Offer, ...]] = Future()
        self._thread: threading.Thread | None = None
        self._report: Reporter | None = None
        # Guards the four above and the two below: a note is either left before the end, and then
        # seen by the pool's thread, or not left at all.
        self._life = threading.Lock()
        self._is_over = False
        self._fault: HostCrashed | None = None

    def start(self, report: Reporter) -> tuple[Offer, ...]:
        """Import the tasks in every host and be ready to run; returns what is offered.

        Raises ``TasksUnloadable`` with the import's own traceback, or if that has not ended after
        ``start_timeout`` seconds; nothing runs then. A second call returns, or raises, the same.
        """
        with self._life:
            if self._thread is None and self._is_over:
                raise TasksUnloadable("the pool was stopped before it was started")
            if self._thread is None:
                if not _orphans_are_found():
                    log.warning(
                        "what a task starts outlives the end of its process if it leaves the "
                        "process group: that takes Linux and a Python with ctypes to prevent"
                    )
                self._report = report
                self._wake_reader, self._wake_writer = os.pipe()
                os.set_blocking(self._wake_writer, False)
                os.set_blocking(self._wake_reader, False)
                crew = Crew(
                    self.slots,
                    self._specs,
                    self._notes,
                    self._wake_reader,
                    report,
                    self._preload,
                )
                self._thread = threading.Thread(
                    target=self._own,
                    args=(crew, time.monotonic() + self._start_timeout),
                    name="taskline-pool",
                    daemon=True,
                )
                self._thread.start()
        return self._ready.result()

    def run(self, *works: Work) -> None:
        """Run these, ``slots`` at once, in their order. Keeper only; never blocks.

        After ``stop()`` they are ignored.
        """
        if not self._leave_note("run", works) and self._fault is not None and self._report:
            # The pool's thread is dead, so the reports it would have made are made here.
            failure = from_exception(self._fault)
            self._report([Ended(work.key, failure=failure, end="crash") for work in works])

    def take_back(self, *keys: int) -> None:
        """Return these, as far as they have not begun. Keeper only; never blocks."""
        self._leave_note("back", keys)

    def offer(self, spec: str) -> None:
        """Offer one spec more; answered by an ``Offers`` report once a host has imported it."""
        self._leave_note("offer", spec)

    def end(self, key: int) -> None:
        """Kill the process that runs this work, and all that the task has started."""
        self._leave_note("end", key)

    def stop(self, timeout: float = 5.0) -> None:
        """End everything within ``timeout`` seconds; works still open are reported as stopped."""
        self._leave_note("stop", time.monotonic() + timeout)
        with self._life:
            thread = self._thread
            self._is_over = self._is_over or thread is None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout + LEAVE_TIME)

    def _leave_note(self, word: str, subject: Any) -> bool:
        with self._life:
            if self._is_over:
                return False
            self._notes.append((word, subject))
            if self._wake_writer >= 0:
                # A full pipe is a thread about to wake anyhow.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_writer, b"!")
            return True

    def _own(self, crew: Crew, start_by: float) -> None:
        """The pool's thread, from its first host to its last."""
        fault: HostCrashed | None = None
        try:
            try:
                offers = crew.start(start_by)
            except TasksUnloadable as error:
                self._ready.set_exception(error)
            else:
                self._ready.set_result(offers)
                crew.serve()
        except Exception as error:
            log.exception("the pool of processes has failed; its works are ended as crashed")
            fault = HostCrashed(f"the worker's pool of processes has failed: {error!r}")
            if not self._ready.done():
                self._ready.set_exception(TasksUnloadable(str(fault)))
        finally:
            with self._life:
                self._is_over = True
                self._fault = fault
            try:
                crew.finish(fault)
            except Exception:  # the reporter's: there is nobody to tell
                log.exception("the pool of processes could not report its end")
            os.close(self._wake_reader)
            os.close(self._wake_writer)


def _orphans_are_found() -> bool:
    return sys.platform == "linux" and find_spec("_ctypes") is not None
