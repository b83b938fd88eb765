"""One place for a host, seen from the main process: its process, its pipe, and what it is doing.

A seat starts a host below a warden (``warden``), writes to it and reads from it without ever
waiting, has it killed with everything its tasks have started, and learns of its end from the
warden's, after which nothing of it is left: a child of a task may hold the pipe open for as long as
it likes. What to do about any of it is decided in ``crew``, on whose one thread all of this runs.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from protocol.commands import NOT_IN_THEIR_HOST
from protocol.values import Json, dumps
from worker.frames import FrameRefused, Frames, pack
from worker.pool.gauge import memory_of
from worker.soft_limit import NUDGE, NUDGE_PERIOD
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
GAUGE_PERIOD: Final = 0.2  # seconds between two looks at the memory of a run, at the least
_SECOND_LOOK: Final = 0.05  # seconds until the next, if that was too much
_GAUGE_PAUSES: Final = 20  # times what a look takes: of this thread's time no more than a part
_OURS: Final = str(Path(__file__).resolve().parents[2])
_WARDEN: Final = str(Path(__file__).resolve().with_name("warden.py"))
#: Seconds for a warden to end once it is told; longer than it takes to give up (``SWEEP_TIME``).
_LAST_PATIENCE: Final = 10.0

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
        #: Why its host was killed under that work: it was to be ended, or its time was over.
        self.ending: Literal["stopped", "limit", "memory"] | None = None
        #: Bytes its processes took at the last look.
        self.memory_taken = 0
        #: On the monotonic clock, infinite if never: when to remind its host of the soft limit, and
        #: when the time of the work is over.
        self.nudge_at = self.limit_at = math.inf
        #: The same: when to look at how much memory the work takes.
        self.gauge_at = math.inf
        #: When it was killed, on the monotonic clock; infinite: it was not.
        self.killed_at = math.inf
        #: Specs it was told to offer and has not answered for, oldest first.
        self.unanswered: list[str] = []
        #: Why its host could not load the tasks, in the host's own words; None: it has not said so.
        self.refusal: str | None = None
        #: How often in a row its host has died before it was ready.
        self.failed_starts = 0
        #: When to start the next host, on the monotonic clock; None: one is there.
        self.start_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._host_pid: int | None = None
        #: To the warden, whose end of it is the host's end.
        self._lifeline: socket.socket | None = None
        self._pipe: socket.socket | None = None
        self._frames = Frames()
        self._outgoing = bytearray()

    @property
    def process(self) -> int | None:
        """The process that ends when the host and all its tasks have started is gone; or None."""
        return None if self._process is None else self._process.pid

    @property
    def pid(self) -> int | None:
        """The host's own process id, once it has told it; for people."""
        return self._host_pid or self.process

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
        # Not Path.resolve(): a link on the path must stay one, whose target may change.
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
        with contextlib.ExitStack() as unless_started:
            lifeline, wardens = _pair(unless_started)
            pipe, theirs = _pair(unless_started)
            with wardens, theirs:
                ends = wardens.fileno(), theirs.fileno()
                warden = [sys.executable, "-I", "-S", _WARDEN, *map(str, ends)]
                host = [sys.executable, "-c", _BOOT, str(ends[1]), _OURS, *path]
                self._process = subprocess.Popen(
                    [*warden, *host],
                    stdin=subprocess.DEVNULL,
                    pass_fds=ends,
                    start_new_session=True,
                )
            unless_started.pop_all()
        self._lifeline, self._pipe = lifeline, pipe
        self._frames = Frames()
        self._outgoing.clear()
        self.state = "starting"
        self.refusal = None
        self.start_at = None
        self.unanswered.clear()
        self.send(dumps(["load", *specs]))

    def is_ready(self, host_pid: int) -> None:
        """The host has loaded, and told who it is."""
        self._host_pid = host_pid
        self.state = "idle"
        self.failed_starts = 0

    def run(self, work: Work, now: float) -> None:
        """Give an idle host its work; ``now``, on the monotonic clock, its limits begin."""
        self.state = "busy"
        self.work = work
        soft_limit = None
        if work.soft_time_limit is not None:
            self.nudge_at = now + work.soft_time_limit
            soft_limit = (work.soft_time_limit, self.nudge_at)
        if work.time_limit is not None:
            self.limit_at = now + work.time_limit
        if work.memory_limit is not None:
            self.gauge_at = now
            self.memory_taken = 0
        fields = [
            work.task,
            work.name,
            work.action,
            work.args,
            work.arguments,
            work.result,
            work.failures,
            soft_limit,
        ]
        self.send(f'["run",{work.key}]', dumps(fields, f"request {work.uuid}"))

    def has_ended(self) -> None:
        """The work has come to its end; a host that was not killed is idle again."""
        self.work = None
        self.nudge_at = self.limit_at = self.gauge_at = math.inf
        if self.killed_at == math.inf:
            self.state = "idle"

    def is_over_memory(self, now: float) -> bool:
        """Look at how much memory the work takes, and later again; whether that is too much.

        Twice in a row: a child that has not become its program yet looks as large as its parent.
        """
        assert self.work is not None
        assert self._process is not None
        limit = self.work.memory_limit or 0
        is_apart = self.work.task in NOT_IN_THEIR_HOST and self._host_pid is not None
        but = (self._host_pid,) if is_apart else ()
        taken = memory_of(self._process.pid, limit, but)
        was_over, self.memory_taken = self.memory_taken > limit, taken
        pause = GAUGE_PERIOD if taken <= limit or was_over else _SECOND_LOOK
        self.gauge_at = now + max(pause, _GAUGE_PAUSES * (time.monotonic() - now))
        return was_over and taken > limit

    def nudge(self, now: float) -> None:
        """Have the host look at the clock, and again later: its task's soft limit is over."""
        assert self._lifeline is not None
        self.nudge_at = now + NUDGE_PERIOD
        with contextlib.suppress(OSError):  # a full socket is a warden that is stopped
            self._lifeline.send(bytes([NUDGE]))

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

    def read_on(self, at_most: int) -> Iterator[list[Json]]:
        """What there is to read, in so many reads. All of it can only be had of a dead host, who
        writes nothing more; a child of its may hold the pipe open.
        """
        for _ in range(at_most):
            frames, reading = self.read()
            yield from frames
            if reading != "data":
                break

    def kill(self, now: float) -> None:
        """Have the host killed, and everything its tasks have started; the warden does."""
        if self._lifeline is not None:
            self.killed_at = min(self.killed_at, now)
            self.nudge_at = self.limit_at = self.gauge_at = math.inf
            with contextlib.suppress(OSError):  # shut down before, or it is dead
                self._lifeline.shutdown(socket.SHUT_RDWR)

    def give_up(self) -> None:
        """Kill the warden itself, which does not answer; its host goes with it."""
        if self._process is not None:
            self._process.kill()

    def is_dead(self) -> bool:
        """Whether the host's process has ended, and everything its tasks have started."""
        return self._process is not None and self._process.poll() is not None

    def wait(self) -> str:
        """Wait for the end of a host that is dead or killed; how it ended: ``exit code 3``."""
        assert self._process is not None
        try:
            code = self._process.wait(_LAST_PATIENCE)
        except subprocess.TimeoutExpired:
            self.give_up()
            code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {-code} ({signal.Signals(-code).name})"
        return f"signal {-code}"

    def clear(self) -> None:
        """Take a host away that is dead or killed."""
        self.wait()
        self.pipe.close()
        if self._lifeline is not None:
            self._lifeline.close()
        self._process = self._host_pid = self._pipe = self._lifeline = None
        self.state = "empty"
        self.work = self.ending = None
        self.nudge_at = self.limit_at = self.gauge_at = self.killed_at = math.inf


def _pair(unless_started: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    unless_started.enter_context(ours)
    ours.setblocking(False)
    return ours, theirs
