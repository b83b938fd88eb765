"""Private workers: ``Executor(workers=N)`` starts them, and they live as long as it does.

Each is an ordinary worker process on a topic of the executor's own. It reads what more to offer
from its standard input, one ``MODULE:NAME`` a line, and ends when that is closed: by us, or by the
kernel when we are no more. One that dies is replaced, less and less eagerly if it keeps dying; one
that says by its exit code that it cannot work is not, and the executor is told.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bus.wire.backoff import Backoff

logger = logging.getLogger("taskline.executor.private")

#: The worker's exit codes for which another try comes to the same: a wrong command line, and tasks
#: that cannot be imported. (``worker.cli`` names them; the floors keep us from importing it.)
HOPELESS: Final = {2: "its command line is wrong", 3: "its tasks cannot be imported"}

LOOK = 0.5  # seconds between two looks at whether they live
STOP_TIMEOUT = 5.0  # seconds for a worker to end by itself, then it is killed

#: What the child runs: our own packages come first while they are imported, so that a ``worker.py``
#: of the user's is not taken for ours; after that it sees the path its parent has.
_PROGRAM: Final = (
    "import json, sys; home, path = json.loads(sys.argv.pop(1)); sys.path.insert(0, home); "
    "import worker.cli; sys.path[:] = path; sys.exit(worker.cli.main(sys.argv[1:]))"
)


class PrivateWorkers:
    """N worker processes. ``start`` returns at once, ``stop`` when they have ended."""

    def __init__(
        self,
        count: int,
        arguments: Iterable[str],
        environment: Mapping[str, str],
        on_hopeless: Callable[[str], None],
    ) -> None:
        """``arguments``: the worker's command line; ``environment``: what to add to ours.

        ``on_hopeless`` is called once, with the reason, from the thread that watches them.
        """
        self._on_hopeless = on_hopeless
        self._count = count
        self._arguments = tuple(arguments)
        self._environment = {**os.environ, **environment}
        #: Guards ``_processes`` and ``_specs``: callers add specs while the guard replaces workers.
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._specs: list[str] = []
        self._known: set[str] = set()
        self._stopping = threading.Event()
        self._guard = threading.Thread(target=self._watch, name="taskline-private", daemon=True)

    def start(self) -> None:
        """Start them all; they come up by themselves."""
        with self._lock:
            self._processes = [self._spawn() for _ in range(self._count)]
        self._guard.start()

    def offer(self, spec: str) -> None:
        """Have them all offer ``MODULE:NAME`` too, once. Any thread."""
        if spec in self._known:
            return
        with self._lock:
            if spec in self._known:
                return
            self._known.add(spec)
            self._specs.append(spec)
            for process in self._processes:
                _tell(process, [spec])

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Close their standard input, wait for their end, kill who has not ended in time."""
        self._stopping.set()
        if self._guard.ident is not None:
            self._guard.join(timeout)
        with self._lock:
            for process in self._processes:
                _close(process)
            for process in self._processes:
                try:
                    process.wait(timeout)
                except subprocess.TimeoutExpired:
                    logger.warning("private worker %d did not end in time; killed", process.pid)
                    process.kill()
                    process.wait()
            self._processes = []

    def _spawn(self) -> subprocess.Popen[bytes]:
        home = str(Path(__file__).resolve().parent.parent)
        arguments = [json.dumps([home, _import_path()]), *self._arguments]
        process: subprocess.Popen[Any] = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for us; their end is the end of their input
        )
        _tell(process, self._specs)
        return process

    def _watch(self) -> None:
        backoff = Backoff()
        while not self._stopping.wait(LOOK):
            with self._lock:
                dead = [process for process in self._processes if process.poll() is not None]
            for process in dead:
                if process.returncode in HOPELESS:
                    self._give_up(process)
                    return
                wait = backoff.next()
                logger.error(
                    "private worker %d ended with %d; another starts in %.1f s",
                    process.pid,
                    process.returncode,
                    wait,
                )
                if self._stopping.wait(wait):
                    return
                _close(process)
                with self._lock:
                    self._processes[self._processes.index(process)] = self._spawn()
            if not dead:
                backoff.reset()

    def _give_up(self, process: subprocess.Popen[bytes]) -> None:
        why = HOPELESS[process.returncode]
        logger.error("private worker %d ended: %s; no other is started", process.pid, why)
        self._on_hopeless(f"the executor's private workers ended: {why}, see their output above")


def _import_path() -> list[str]:
    """Our import path, with the current folder written out: the child may not be where we are."""
    return [entry or str(Path.cwd()) for entry in sys.path]


def _tell(process: subprocess.Popen[bytes], specs: Iterable[str]) -> None:
    try:
        assert process.stdin is not None
        process.stdin.write("".join(f"{spec}\n" for spec in specs).encode())
        process.stdin.flush()
    except OSError:
        logger.debug("private worker %d is gone; its successor will be told", process.pid)


def _close(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:
        logger.debug("private worker %d was gone already", process.pid)
