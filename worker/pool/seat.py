"""One place for a host, seen from the main process: its process, its pipe, and what it is doing.

A seat starts a host, writes to it and reads from it without ever waiting, kills it with everything
its tasks have started, and learns of its end from the process itself: a child of a task may hold
the pipe open for as long as it likes. What to do about any of it is decided in ``crew``, on whose
one thread all of this runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from protocol.values import Json, dumps
from worker.frames import FrameRefused, Frames, pack
from worker.work import Work

#: What a host is doing: it is being started (or loads), waits for work, runs a work, was told to
#: go, or there is none.
State = Literal["starting", "idle", "busy", "leaving", "empty"]

_READ_BYTES: Final = 1 << 18

#: What a host executes. These very packages, whatever else is called ``worker`` or ``protocol`` in
#: the current folder; the path by which the main process finds modules of tasks only after that.
_BOOT: Final = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

handle, ours, *path = sys.argv[1:]
del sys.argv[1:]
if sys.path[:1] == [""]:
    del sys.path[0]
for name in ("protocol", "worker"):
    spec = spec_from_file_location(name, f"{ours}/{name}/__init__.py")
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
from worker.host import main

sys.path[:] = path
main(int(handle))
"""
_OURS: Final = str(Path(__file__).resolve().parents[2])

#: What became of a read: something came, nothing is there now, nothing will ever come.
Reading = Literal["data", "empty", "closed"]


class Seat:
    """A host, or the lack of one."""

    def __init__(self, number: int) -> None:
        #: From 0; for logs.
        self.number = number
        self.state: State = "empty"
        #: What it runs, while busy.
        self.work: Work | None = None
        #: Whether its host was killed because that work was to be ended.
        self.is_ending = False
        #: Specs it was told to offer and has not answered for, oldest first.
        self.unanswered: list[str] = []
        #: Why its host could not load the tasks, in the host's own words; None: it has not said so.
        self.refusal: str | None = None
        #: How often in a row its host has died before it was ready.
        self.failed_starts = 0
        #: When to start the next host, on the monotonic clock; None: one is there.
        self.start_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None
        self._frames = Frames()
        self._outgoing = bytearray()

    @property
    def pid(self) -> int | None:
        """The process id of the host, None if there is none."""
        return None if self._process is None else self._process.pid

    @property
    def pipe(self) -> socket.socket:
        """The socket to the host, for a selector. Only while there is one."""
        assert self._pipe is not None
        return self._pipe

    @property
    def has_outgoing(self) -> bool:
        """Whether something is still to be written, as soon as the pipe takes more."""
        return bool(self._outgoing)

    def start(self, specs: Sequence[str]) -> None:
        """Start a host that loads these specs. Raises OSError if the system gives no process."""
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            # Not Path.resolve(): a link on the path must stay one, whose target may change.
            path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT, str(theirs.fileno()), _OURS, *path],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        self._pipe = ours
        self._frames = Frames()
        self._outgoing.clear()
        self.state = "starting"
        self.refusal = None
        self.start_at = None
        self.unanswered.clear()
        self.send(dumps(["load", *specs]))

    def run(self, work: Work) -> None:
        """Give an idle host its work."""
        self.state = "busy"
        self.work = work
        fields = [
            work.task,
            work.name,
            work.action,
            work.args,
            work.arguments,
            work.result,
            work.failures,
        ]
        self.send(f'["run",{work.key}]', dumps(fields, f"request {work.uuid}"))

    def send(self, *texts: str) -> None:
        """Write a frame, now or as soon as the host reads on."""
        self._outgoing += pack(texts)
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes; one that is closed takes nothing."""
        try:
            while self._outgoing:
                del self._outgoing[: self.pipe.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()

    def read(self) -> tuple[list[list[Json]], Reading]:
        """The frames that have come in, of at most ``_READ_BYTES`` bytes."""
        frames: list[list[Json]] = []
        try:
            data = self.pipe.recv(_READ_BYTES)
            frames.extend(self._frames.feed(data))
        except BlockingIOError:
            return frames, "empty"
        except (OSError, FrameRefused):  # what comes after that cannot be understood
            return frames, "closed"
        return frames, "data" if data else "closed"

    def read_rest(self) -> Iterator[list[Json]]:
        """What a host that has died still left in its pipe, which a child of its may hold open."""
        reading: Reading = "data"
        while reading == "data":
            frames, reading = self.read()
            yield from frames

    def kill(self) -> None:
        """Kill the host and whatever its tasks have started in its group."""
        if self._process is not None and self._process.returncode is None:
            # Its number cannot be anybody else's: we have not yet asked for its exit status.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def is_dead(self) -> bool:
        """Whether the host's process has ended; leaves it to be collected by :meth:`clear`."""
        if self._process is None:
            return False
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid, look) is not None
        except ChildProcessError:  # collected by someone else in this process, so it has ended
            return True

    def clear(self) -> str:
        """Take away a dead host, and its group; return how it ended: ``signal 9 (SIGKILL)``."""
        assert self._process is not None
        self.kill()
        code = self._process.wait()
        self.pipe.close()
        self._process = self._pipe = None
        self.state = "empty"
        self.work = None
        self.is_ending = False
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {-code} ({signal.Signals(-code).name})"
        return f"signal {-code}"
