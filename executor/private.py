"""Private workers: ``Executor(workers=N)`` starts them, and they live as long as it does.

Each is an ordinary worker process on a topic of the executor's own. It reads what more to offer
from its standard input, one ``MODULE:NAME`` a line, and ends when that is closed: by us, or by the
kernel when we are no more. One that dies is replaced, less and less eagerly if it keeps dying; one
that says by its exit code that it cannot work is not, and the executor is told.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.wire import BrokerUrl
from bus.wire.backoff import Backoff
from bus.wire.guard import Guard

logger = logging.getLogger("taskline.executor.private")

#: The worker's exit codes for which another try comes to the same: a wrong command line, and tasks
#: that cannot be imported. (``worker.cli`` names them; the floors keep us from importing it.)
HOPELESS: Final = {2: "its command line is wrong", 3: "its tasks cannot be imported"}

LOOK = 0.5  # seconds between two looks at whether they live
STEADY = 30.0  # seconds; who lived as long does not count as one that keeps dying
STOP_TIMEOUT = 5.0  # seconds for a worker to end by itself, then it is killed

#: What an environment variable begins with that stands for an option of a worker's.
_MIRRORED: Final = "TASKLINE_"

#: What the child runs: our own packages come first while they are imported, so that a ``worker.py``
#: of the user's is not taken for ours; after that it sees the path its parent has.
_PROGRAM: Final = (
    "import json, sys; home, path = json.loads(sys.argv.pop(1)); sys.path.insert(0, home); "
    "import worker.cli; sys.path[:] = path; sys.exit(worker.cli.main(sys.argv[1:]))"
)


@dataclass(frozen=True, slots=True)
class Staff:
    """Private workers that are more than so many of the usual ones."""

    #: Worker processes.
    count: int
    #: Tasks that each runs at once.
    concurrency: int = 1
    #: What they offer from the beginning; None: the caller's own module.
    offers: tuple[str, ...] | None = None
    #: Further words of their command line.
    words: tuple[str, ...] = ()


class PrivateWorkers:
    """N worker processes. ``start`` returns at once, ``stop`` when they have ended."""

    def __init__(
        self,
        count: int,
        arguments: Iterable[str],
        environment: Mapping[str, str],
        *,
        name: str,
        on_end: Callable[[str], None],
        on_hopeless: Callable[[str], None],
    ) -> None:
        """``arguments``: the worker's command line; ``environment``: what to add to ours.

        They are called ``name-1``, ``name-2`` … ``on_end`` is told the name of each that has
        ended, ``on_hopeless`` once the reason why no other is started; both from the thread that
        watches them.
        """
        self._names = (f"{name}-{number}" for number in itertools.count(1))
        self._on_end = on_end
        self._on_hopeless = on_hopeless
        self._count = count
        self._arguments = tuple(arguments)
        # What is set for workers that people start is not meant for these.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_MIRRORED)}
        self._environment = {**kept, **environment}
        #: Guards ``_workers`` and ``_specs``: callers add specs while the guard replaces workers.
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._specs: dict[str, None] = {}
        self._stopping = threading.Event()
        self._guard = threading.Thread(target=self._watch, name="taskline-private", daemon=True)

    def start(self) -> None:
        """Start them all; they come up by themselves. Raises OSError if the system refuses."""
        with self._lock:
            for _ in range(self._count):
                self._workers.append(self._spawn())
        self._guard.start()

    def offer(self, spec: str) -> None:
        """Have them all offer ``MODULE:NAME`` too, once. Any thread."""
        if spec in self._specs:
            return
        with self._lock:
            if spec not in self._specs:
                self._specs[spec] = None
                for worker in self._workers:
                    worker.tell([spec])

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Close their standard input, wait for their end, kill who has not ended in time."""
        until = time.monotonic() + timeout
        self._stopping.set()
        if self._guard.ident is not None:
            self._guard.join(timeout)
        with self._lock:
            for worker in self._workers:
                worker.close()
            for worker in self._workers:
                worker.end(until)
            self._workers = []

    def forked(self) -> None:
        """In a forked child: they are the parent's. Not even their input is held open by us."""
        for worker in self._workers:
            worker.forked()

    def _spawn(self) -> _Worker:
        home = str(Path(__file__).resolve().parent.parent)
        name = next(self._names)
        arguments = [json.dumps([home, _import_path()]), *self._arguments, f"--name={name}"]
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for us; their end is the end of their input
        )
        worker = _Worker(name, process)
        worker.tell(self._specs)
        return worker

    def _watch(self) -> None:
        backoff = Backoff()
        while not self._stopping.wait(LOOK):
            with self._lock:
                for worker in self._workers:
                    worker.tell()
                dead = [worker for worker in self._workers if worker.process.poll() is not None]
            for worker in dead:
                self._on_end(worker.name)
                if worker.process.returncode in HOPELESS:
                    self._give_up(worker.process)
                    return
                if time.monotonic() - worker.since > STEADY:
                    backoff.reset()
                wait = backoff.next()
                logger.error(
                    "private worker %d ended with %d; another starts in %.1f s",
                    worker.process.pid,
                    worker.process.returncode,
                    wait,
                )
                if self._stopping.wait(wait):
                    return
                self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        with self._lock:
            try:
                self._workers[self._workers.index(worker)] = self._spawn()
            except OSError:  # no memory, too many processes: another try at the next look
                logger.exception("no private worker could be started")
            else:
                worker.close()

    def _give_up(self, process: subprocess.Popen[bytes]) -> None:
        why = HOPELESS[process.returncode]
        logger.error("private worker %d ended: %s; no other is started", process.pid, why)
        self._on_hopeless(f"the executor's private workers ended: {why}, see their output above")


def hire(
    staff: Staff,
    broker: BrokerUrl,
    *,
    exchange: str,
    topic: str,
    offers: Iterable[str],
    name: str,
    on_end: Callable[[str], None],
    on_hopeless: Callable[[str], None],
    guard: Guard | None = None,
) -> PrivateWorkers:
    """The workers of an executor at this broker, on a topic of its own; not started yet.

    ``offers``: what they offer from the beginning. ``name`` is no other workers' while these live,
    nor those of an earlier life of the executor: by it the end of a process is known.
    """
    options = [f"--transport-option={key}={value}" for key, value in broker.given.items()]
    arguments = [
        *offers,
        "--tasks-from-stdin",
        f"--exchange={exchange}",
        f"--topic={topic}",
        f"--concurrency={staff.concurrency}",
        f"--share={staff.count}",
        *staff.words,
        "--log-level=warning",
        "--no-banner",
        *options,
    ]
    # By environment, not by command line: a URL may hold a password.
    environment = {"TASKLINE_URL": broker.url}
    if guard is not None:  # where the keys are; what they are, each reads for itself
        environment["TASKLINE_SIGNING_KEYS"] = str(guard.file.path)
        environment["TASKLINE_REQUIRE_SIGNATURE"] = "yes" if guard.is_required else "no"
    return PrivateWorkers(
        staff.count, arguments, environment, name=name, on_end=on_end, on_hopeless=on_hopeless
    )


class _Worker:
    """One of them. Its pipe never blocks us: a worker that still starts does not read yet."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self.name = name
        self.process = process
        #: When it was started, on the monotonic clock.
        self.since = time.monotonic()
        self._stdin = process.stdin
        self._untold = bytearray()
        os.set_blocking(self._stdin.fileno(), False)

    def tell(self, specs: Iterable[str] = ()) -> None:
        """Write these, and what its pipe did not take before."""
        self._untold += "".join(f"{spec}\n" for spec in specs).encode()
        try:
            while self._untold:
                del self._untold[: os.write(self._stdin.fileno(), self._untold)]
        except BlockingIOError:
            pass  # at the next look
        except (OSError, ValueError):  # a broken pipe, or closed by us
            self._untold.clear()
            logger.debug("private worker %d is gone; its successor is told", self.process.pid)

    def close(self) -> None:
        """Close its standard input, by which it knows that it is over."""
        self._stdin.close()

    def forked(self) -> None:
        """In a forked child: close our copy of its input, and never wait for it."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()
        self.process.returncode = 0  # or its finalizer would ask for a child that is none of ours

    def end(self, until: float) -> None:
        """Wait for its end; after ``until``, on the monotonic clock, kill it."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("private worker %d did not end in time; killed", self.process.pid)
            self.process.kill()
            self.process.wait()


def _import_path() -> list[str]:
    """Our import path, with the current folder written out: the child may not be where we are."""
    return [entry or str(Path.cwd()) for entry in sys.path]
