"""``WorkerKiller``: keeps some processes running and kills one with -9 every now and then.

Decided here: when, which one, and whether the process itself or a child of it. What the processes
are is the caller's affair; worker processes whose children are hosts are what it was made for. One
thread (``taskline-killer``) starts and kills; the methods may be called from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from bus.wire.testing.living import Living
from bus.wire.testing.processes.guard import Guard, end_group
from bus.wire.testing.processes.tree import descendants, members

logger = logging.getLogger("taskline.bus.wire.testing.killer")

#: What is killed: a process itself, one of the processes below it, or either by chance.
Victim = Literal["parent", "child", "both"]

_LOOK: Final = 0.05  # seconds between two looks at who has ended
_KILL_TIMEOUT: Final = 10.0  # seconds for the system to bury a process killed with -9


@dataclass(frozen=True, slots=True)
class Killed:
    """A process that was killed."""

    #: The process itself.
    pid: int
    #: The one that was started, of which it was a child; or the same.
    worker: int
    #: When, on the monotonic clock.
    moment: float


class WorkerKiller(Living):
    """``count`` processes, of which one is killed about every ``every`` seconds.

    ``start_worker`` starts one and returns its ``Popen``; it is called on the killer's thread, at
    the beginning and for each that has ended, however it did. ``every``: between half and one and a
    half of it, by chance; None: only when :meth:`kill_one` is called. ``seed``: the same numbers
    again, though not the same moments of what runs. ``stop`` ends the processes with SIGTERM and,
    after ``grace`` seconds, with -9; if the test process is killed, they are too. What a process
    that was killed had started goes on, and is killed by ``stop`` if it has not ended by then.
    """

    def __init__(
        self,
        start_worker: Callable[[], subprocess.Popen[Any]],
        *,
        count: int = 1,
        every: float | None = None,
        seed: int | None = None,
        victim: Victim = "parent",
        grace: float = 10.0,
    ) -> None:
        self._start_worker = start_worker
        self._count = count
        self._every = every
        self._victim = victim
        self._grace = grace
        self._random = random.Random(seed)
        self._guard = Guard()
        self._lock = threading.Lock()  # guards _workers: kill_one is anybody's
        self._workers: list[subprocess.Popen[Any]] = []
        self._orphans: dict[int, int] = {}  # what those who were killed had started: its group
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: Who was killed, in order.
        self.killed: list[Killed] = []
        #: Ends that were not ours: exit codes, in order.
        self.other_ends: list[int] = []

    def __repr__(self) -> str:
        return f"<WorkerKiller of {self._count}, {self.kills} killed>"

    @property
    def kills(self) -> int:
        """How many processes it has killed, by either way."""
        return len(self.killed)

    @property
    def parent_kills(self) -> int:
        """How many of them were the processes themselves."""
        return sum(killed.pid == killed.worker for killed in self.killed)

    @property
    def child_kills(self) -> int:
        """How many of them were children of those."""
        return self.kills - self.parent_kills

    @property
    def workers(self) -> tuple[subprocess.Popen[Any], ...]:
        """The processes that run at present, as they were started."""
        with self._lock:
            return tuple(self._workers)

    def start(self) -> None:
        """Start all of them, and begin to kill. Raises what ``start_worker`` raises."""
        if self._thread is not None:
            return
        self._stopping.clear()
        try:
            for _ in range(self._count):
                self._add()
        except BaseException:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._run, name="taskline-killer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill no more, and end all of them; returns when they have ended."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_KILL_TIMEOUT + self._grace)
        with self._lock:
            workers, self._workers = self._workers, []
        for worker in workers:
            end_group(worker, signal.SIGTERM)
        until = time.monotonic() + self._grace
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, until - time.monotonic()))
            end_group(worker)
            worker.wait(_KILL_TIMEOUT)
            self._guard.leave(worker.pid)
        self._end_orphans()
        self._guard.stop()

    def spare(self) -> None:
        """Kill no more from now on; those that end are still replaced."""
        self._every = None

    def kill_one(self) -> int | None:
        """Kill one now; returns the process that was killed, None if there was none to kill."""
        with self._lock:
            return self._kill_one()

    def _run(self) -> None:
        due = self._next_kill()
        while not self._stopping.wait(_LOOK):
            with self._lock:
                if self._every is not None and time.monotonic() >= due:
                    self._kill_one()
                    due = self._next_kill()
                ended = [worker for worker in self._workers if worker.poll() is not None]
            for worker in ended:
                self._forget(worker)
            while len(self._workers) < self._count and not self._stopping.is_set():
                try:
                    self._add()
                except OSError:  # no memory, too many processes: again at the next look
                    logger.exception("no process could be started in the place of another")
                    break

    def _next_kill(self) -> float:
        every = self._every or 0.0
        return time.monotonic() + self._random.uniform(0.5 * every, 1.5 * every)

    def _kill_one(self) -> int | None:
        alive = [worker for worker in self._workers if worker.poll() is None]
        if not alive:
            return None
        worker = self._random.choice(alive)
        wants_child = self._victim == "child" or (
            self._victim == "both" and self._random.random() < 0.5
        )
        below = descendants(worker.pid) if wants_child else []
        if wants_child and not below:
            return None  # it has only just been started
        pid = self._random.choice(below) if below else worker.pid
        orphans = descendants(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        self.killed.append(Killed(pid, worker.pid, time.monotonic()))
        # And what it started between that look and its end, if it leads a group.
        for orphan in {*orphans, *members(pid)} - {pid}:
            with contextlib.suppress(ProcessLookupError):
                self._orphans[orphan] = os.getpgid(orphan)
                self._guard.kill_at_our_end(orphan)
        if pid == worker.pid:
            worker.wait(_KILL_TIMEOUT)
        return pid

    def _end_orphans(self) -> None:
        orphans, self._orphans = self._orphans, {}
        for pid, group in orphans.items():
            with contextlib.suppress(ProcessLookupError):
                # A number that is another's by now is of another group, too.
                if os.getpgid(pid) == group:
                    os.kill(pid, signal.SIGKILL)

    def _forget(self, worker: subprocess.Popen[Any]) -> None:
        self._guard.leave(worker.pid)
        if worker.pid not in (killed.pid for killed in self.killed):
            self.other_ends.append(worker.returncode)
        with self._lock:
            self._workers.remove(worker)

    def _add(self) -> None:
        worker = self._start_worker()
        self._guard.kill_at_our_end(worker.pid)
        with self._lock:
            self._workers.append(worker)
