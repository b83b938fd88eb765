"""``PrivateServer``: the life of one server process, from start to the removal of its folder.

Decided here: when it is ready, how it ends, who cleans up. Which program, with what settings and
what "ready" sounds like, is each server's own room. Any thread may call, one at a time.
"""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from bus.wire.testing.living import Living
from bus.wire.testing.ports import free_port
from bus.wire.testing.processes.guard import Guard, end_group
from bus.wire.testing.processes.tree import members

_LOOK: Final = 0.02  # seconds between two looks at whether it answers
_KILL_TIMEOUT: Final = 10.0  # seconds for the system to bury a process killed with -9
_STARTS: Final = 3  # tries: somebody else may take the port between our look and its start
_SHOWN: Final = 2000  # characters of its log in an error


class PrivateServer(Living):
    """A server of a test's own. ``start`` returns when it answers, ``stop`` when nothing is left.

    Both may be called twice, ``with`` does both. The port, and so the URL, stays the same through
    :meth:`kill` and :meth:`restart`. If the test process is killed, so is the server.
    """

    #: What it is called in sentences.
    kind: ClassVar[str]
    #: Seconds in which it answers after a start, on a busy machine.
    start_timeout: ClassVar[float]
    #: Seconds for a clean end.
    end_timeout: ClassVar[float]

    def __init__(self, *, folder: Path | str | None = None) -> None:
        self._given = None if folder is None else Path(folder).absolute()
        self._made: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = Guard()
        self._has_answered = False
        self.port = free_port()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on 127.0.0.1:{self.port}>"

    @classmethod
    @abc.abstractmethod
    def missing(cls) -> str | None:
        """Why it cannot run on this machine, in one sentence; None if it can."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where it is reached when it runs, as ``Executor`` and ``Worker`` take it."""

    @property
    def pid(self) -> int:
        """Its process, or the script that runs it; ``RuntimeError`` when it does not run.

        ``Freezer(server.pid)`` freezes all of it.
        """
        if self._process is None:
            raise RuntimeError(f"{self!r} does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process runs; it may not answer yet, or be frozen."""
        return self._process is not None and self._process.poll() is None

    @property
    def folder(self) -> Path:
        """Where it keeps its data and its log; if none was given, one that ``stop`` removes."""
        if self._given is not None:
            return self._given
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix=f"taskline-{self.kind.lower()}-"))
            self._guard.remove_at_our_end(self._made)
        return self._made

    # its life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, with the data that is there; returns when it answers.

        Raises ``RuntimeError`` with the end of its log if it ends, or does not answer in time, or
        cannot run here at all.
        """
        if self.is_running:
            return
        sentence = self.missing()
        if sentence is not None:
            raise RuntimeError(sentence)
        self.folder.mkdir(parents=True, exist_ok=True)
        for tries_left in reversed(range(_STARTS)):
            self._launch()
            try:
                self.wait_ready(self.start_timeout)
                return
            except RuntimeError:
                was_up = self.is_running
                self.kill()
                if was_up or not tries_left:
                    raise

    def restart(self) -> None:
        """Start it again, same port and same data; a clean end first if it runs."""
        self.terminate()
        self.start()

    def wait_ready(self, timeout: float) -> None:
        """Until it answers. Raises ``RuntimeError`` if that takes longer, or if it has ended."""
        until = time.monotonic() + timeout
        pause = threading.Event()
        while True:
            if self._process is None or self._process.poll() is not None:
                code = None if self._process is None else self._process.returncode
                raise RuntimeError(f"{self!r} ended with {code} before it answered{self._log()}")
            with contextlib.suppress(OSError):
                if self.answers():
                    self._has_answered = True
                    return
            if time.monotonic() > until:
                raise RuntimeError(f"{self!r} did not answer within {timeout} s{self._log()}")
            pause.wait(_LOOK)

    def kill(self) -> None:
        """kill -9, with its helpers; its data stays as that leaves it. Nothing if it is down."""
        self._end(signal.SIGKILL, 0.0)

    def terminate(self) -> None:
        """SIGTERM, and wait for the end; killed if that takes too long."""
        self._end(signal.SIGTERM, self.end_timeout)

    def wipe(self) -> None:
        """Kill it if it runs, and remove all that it has kept: it starts empty."""
        self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def stop(self) -> None:
        """Kill it, and remove its folder if that is its own."""
        self.kill()
        made, self._made = self._made, None
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        self._guard.stop()

    # what each is --------------------------------------------------------------------------------

    @abc.abstractmethod
    def answers(self) -> bool:
        """Ask it one thing, over a connection of its own; ``OSError`` if there is none."""

    @abc.abstractmethod
    def _command(self) -> Sequence[str]: ...

    @property
    def _data(self) -> Path:
        """What :meth:`wipe` removes."""
        return self.folder / "data"

    def _environment(self) -> Mapping[str, str] | None:
        """Its environment; None for ours."""
        return None

    def _launch(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = self._popen(self._command(), self._environment(), log.fileno())

    def _popen(
        self, command: Sequence[str], environment: Mapping[str, str] | None, output: int
    ) -> subprocess.Popen[bytes]:
        """Start a process that ends when we do.

        It inherits nothing of ours: a pipe would stay open as long as it lives.
        """
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self._guard.kill_at_our_end(process.pid)
        return process

    def _end(self, number: int, timeout: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._bury(process, number, timeout)
        if self._has_answered:  # else somebody else may listen there, which is why it ended
            self._has_answered = False
            # A process of many threads counts as dead when its first one is; the port goes last.
            self._wait(lambda: not self._is_listened_on(), f"{self!r} was killed and still listens")

    def _is_listened_on(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return True

    def _bury(self, process: subprocess.Popen[bytes], number: int, timeout: float) -> None:
        end_group(process, number)
        if number != signal.SIGKILL:
            end_group(process, signal.SIGCONT)  # a frozen one hears nothing
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
            end_group(process)
        process.wait(_KILL_TIMEOUT)
        # The leader of the group may be a script, and the server, which has the port, its child.
        self._wait(lambda: not _kill_all(process.pid), f"{self!r} was killed and is still there")
        self._guard.leave(process.pid)

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + _KILL_TIMEOUT
        pause = threading.Event()
        while not is_so():
            if time.monotonic() > until:
                raise TimeoutError(otherwise)
            pause.wait(_LOOK)

    def _log(self) -> str:
        try:
            said = (self.folder / "server.log").read_text(errors="replace")
        except OSError:
            return ""
        return f"; the end of its log:\n{said[-_SHOWN:]}"


def _kill_all(group: int) -> bool:
    """Kill whoever is left of a process group; whether there was anybody."""
    left = members(group)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(left)
