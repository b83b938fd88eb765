"""One place for a host, seen from the main process: its process, its pipes, and what it is doing.

A seat starts a host below a warden (``warden``), writes to it and reads from it without ever
waiting, has it killed with everything its tasks have started, and learns of its end from the
warden's, after which nothing of it is left: a child of a task may hold the pipe open for as long as
it likes. What to do about any of it is decided in ``crew``, on whose one thread all of this runs.

A host is handed several works, and begins each by taking its *token*, eight bytes, out of a pipe of
which this side holds the reading end as well. The system gives each token to one of the two: what
is taken back here never begins there, what was not there any more to be taken back has begun, and
how many are left tells how far it is (docs/decisions/017).
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
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD
from typing import Final, Literal

from protocol.commands import NOT_IN_THEIR_HOST
from protocol.values import dumps
from worker.frames import TOKEN, Frames, pack
from worker.pool.gauge import memory_of
from worker.soft_limit import NUDGE, NUDGE_PERIOD
from worker.work import Work

#: What a host is doing: it is being started (or loads), runs works or waits for some, was told to
#: go, or there is none.
State = Literal["starting", "ready", "leaving", "empty"]

_READ_BYTES: Final = 1 << 18
_ALL_TOKENS: Final = 1 << 16  # bytes, as many as a pipe holds
_QUICKEST: Final = 1e-5  # seconds; no work counts as quicker
_TOKEN_BYTES: Final = array(TOKEN).itemsize

#: What a host executes. These very packages, whatever else is called ``worker`` or ``protocol`` in
#: the current folder; the path by which the main process finds modules of tasks only after that.
_BOOT: Final = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

handles, ours, *path = sys.argv[1:]
del sys.argv[1:]
if sys.path[:1] == [""]:
    del sys.path[0]
for name in ("protocol", "worker"):
    spec = spec_from_file_location(name, f"{ours}/{name}/__init__.py")
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
from worker.host import main

sys.path[:] = path
main(*map(int, handles.split(",")))
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
        #: What it was handed and has not ended, by key, in the order in which it takes them.
        self.works: dict[int, Work] = {}
        #: Which of these is known to have begun.
        self.work: Work | None = None
        #: Since when that is known, on the monotonic clock.
        self.begun_at = math.inf
        #: Of which it was reported last.
        self.told: Work | None = None
        #: Whose limits are kept.
        self.limited: Work | None = None
        #: When to look how far it is, on the monotonic clock; infinite: when it rings. And how long
        #: nothing has come of that.
        self.look_at = math.inf
        self.patience = 0.0
        #: How many seconds one work takes it, of late; infinite: nobody knows.
        self.pace = math.inf
        #: Nothing that it says can be understood any more: only its end is still to come.
        self.is_deaf = False
        #: Why its host was killed under that work: it was to be ended, or its time was over.
        self.ending: Literal["stopped", "limit", "memory"] | None = None
        #: Bytes its processes took at the last look.
        self.memory_taken = 0
        #: On the monotonic clock, infinite if never: when to remind its host of the soft limit, and
        #: when the time of the work is over.
        self.nudge_at = self.limit_at = self.gauge_at = math.inf
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
        #: A process of the host's own that has preloaded modules, and takes no memory of a work's.
        self.apart: int | None = None
        #: Whether its host has preloaded modules for commands, or was told to.
        self.is_warm = False
        #: To the warden, whose end of it is the host's end.
        self._lifeline: socket.socket | None = None
        self._pipe: socket.socket | None = None
        self._frames = Frames()
        #: What is still to be written; large works are not copied for that.
        self._outgoing: deque[memoryview] = deque()
        #: Both ends of the pipe of tokens, and ours of the bell's; -1: there is none.
        self._tokens_in = self._tokens_out = self._bell = -1
        #: The keys whose tokens are in the pipe, as far as is known, in order.
        self._tokens: deque[int] = deque()

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
    def bell(self) -> int:
        """What the host rings when there is something to read, for a selector."""
        return self._bell

    @property
    def is_free(self) -> bool:
        """Whether it can be handed works."""
        return self.state == "ready" and self.killed_at == math.inf and not self.unanswered

    @property
    def is_unused(self) -> bool:
        """Whether there is no host, and none that failed to start is to be followed by another."""
        return self.state == "empty" and self.start_at is None

    @property
    def is_unwatched(self) -> bool:
        """Whether it runs something and nobody looks until it has something to say, or whether it
        is saying something long.
        """
        return self._frames.is_halfway or (self.work is not None and self.look_at == math.inf)

    @property
    def has_more(self) -> bool:
        """Whether it was handed works that are not known to have begun."""
        return bool(self._tokens)

    @property
    def has_outgoing(self) -> bool:
        """Whether something is still to be written, as soon as the pipe takes more."""
        return bool(self._outgoing)

    def start(self, specs: Sequence[str], preload: Sequence[str] = ()) -> None:
        """Start a host that loads these specs, and preloads these modules for commands.

        Raises OSError if the system gives no process.
        """
        # Not Path.resolve(): a link on the path must stay one, whose target may change.
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
        with contextlib.ExitStack() as unless_started:
            lifeline, wardens = _pair(unless_started)
            pipe, theirs = _pair(unless_started)
            tokens_in, tokens_out = _pipe(unless_started)
            bell, rings = _pipe(unless_started)
            with wardens, theirs:
                own = (theirs.fileno(), tokens_in, rings)
                handles = ",".join(map(str, own))
                warden = [sys.executable, "-I", "-S", _WARDEN, str(wardens.fileno()), handles]
                host = [sys.executable, "-c", _BOOT, handles, _OURS, *path]
                self._process = subprocess.Popen(
                    [*warden, *host],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(wardens.fileno(), *own),
                    start_new_session=True,
                )
            unless_started.pop_all()
        os.close(rings)
        self._lifeline, self._pipe, self._bell = lifeline, pipe, bell
        self._tokens_in, self._tokens_out = tokens_in, tokens_out
        self._frames = Frames()
        self._outgoing.clear()
        self._tokens.clear()
        self.is_deaf = False
        self.state = "starting"
        self.refusal = None
        self.start_at = None
        self.unanswered.clear()
        self.send(dumps(["load", *specs]))
        if preload:
            self.send(dumps(["preload", *preload]))

    def is_ready(self, host_pid: int) -> None:
        """The host has loaded, and told who it is."""
        self._host_pid = host_pid
        self.state = "ready"
        self.failed_starts = 0

    def warm(self) -> None:
        """Have the host import what it preloads now, and not for the first command."""
        self.is_warm = True
        self.send('["warm"]')

    # -- works

    def run(self, works: Sequence[Work], now: float) -> None:
        """Hand these to the host, after what it has; ``now``, on the monotonic clock, the limits of
        the first begin if it has nothing. Those of others begin when they are seen to have begun.
        """
        texts = [dumps(["run", *(work.key for work in works)])]
        if not self.works:
            self._set_limits(works[0], now)
        for work in works:
            soft_limit = None
            if work.soft_time_limit is not None:
                due = self.nudge_at if work is self.limited else None
                soft_limit = (work.soft_time_limit, due)
            fields = [
                work.task,
                work.name,
                work.action,
                work.args,
                work.arguments,
                work.result,
                work.failures,
                soft_limit,
                work.start_by,
                work.devices,
            ]
            texts.append(dumps(fields, f"request {work.uuid}"))
            self.works[work.key] = work
        self.send(*texts)
        self._tokens.extend(work.key for work in works)
        # There is room: a pipe holds many times as many as a host is ever handed.
        os.write(self._tokens_out, array(TOKEN, [work.key for work in works]).tobytes())

    def taken(self) -> list[int]:
        """Whose tokens the host has taken since this was asked for last, in order.

        Each but the last has ended, and has been told of: before that, no further one is taken.
        """
        taken: list[int] = []
        if self._tokens:
            left = array("i", [0])
            ioctl(self._tokens_in, FIONREAD, left)
            tokens = left[0] // _TOKEN_BYTES
            while len(self._tokens) > tokens:
                taken.append(self._tokens.popleft())
        return taken

    def has_begun(self, key: int, now: float) -> None:
        """It runs, and was not known to; what it was handed before has ended."""
        work = self.works[key]
        self.work = work
        self.begun_at = now
        if work is not self.limited:
            self._set_limits(work, now)

    def has_ended(self, key: int) -> None:
        """It has come to its end, or was not begun: it was too late."""
        work = self.works.pop(key)
        if key in self._tokens:  # it was taken since
            while self._tokens.popleft() != key:
                pass
        if work is self.limited:
            self.limited = None
            self.nudge_at = self.limit_at = self.gauge_at = math.inf
        if work is self.work:
            self.work = None
            self.begun_at = math.inf

    def took(self, seconds: float) -> None:
        """A work took it so long: one that is slow counts at once, quick ones by and by."""
        seconds = max(seconds, _QUICKEST)
        is_quicker = seconds < self.pace < math.inf
        self.pace = (3 * self.pace + seconds) / 4 if is_quicker else seconds

    def take_back(self) -> list[Work]:
        """What it was handed and has not begun, in order: it never will."""
        left = 0
        if self._tokens:
            with contextlib.suppress(BlockingIOError):
                left = len(os.read(self._tokens_in, _ALL_TOKENS)) // _TOKEN_BYTES
        keys = [self._tokens.pop() for _ in range(left)][::-1]
        if keys and self.killed_at == math.inf:
            self.send(dumps(["forget", *keys]))
        works = [self.works.pop(key) for key in keys]
        if self.limited in works:
            self.limited = None
            self.nudge_at = self.limit_at = self.gauge_at = math.inf
        return works

    def _set_limits(self, work: Work, now: float) -> None:
        self.limited = work
        self.nudge_at = self.limit_at = self.gauge_at = math.inf
        if work.soft_time_limit is not None:
            self.nudge_at = now + work.soft_time_limit
        if work.time_limit is not None:
            self.limit_at = now + work.time_limit
        if work.memory_limit is not None:
            self.gauge_at = now
            self.memory_taken = 0

    # -- words

    def is_over_memory(self, now: float) -> bool:
        """Look at how much memory the work takes, and later again; whether that is too much.

        Twice in a row: a child that has not become its program yet looks as large as its parent.
        """
        assert self.limited is not None
        assert self._process is not None
        limit = self.limited.memory_limit or 0
        is_apart = self.limited.task in NOT_IN_THEIR_HOST and self._host_pid is not None
        but = {self.apart, self._host_pid if is_apart else None}
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
        self._outgoing.append(memoryview(pack(texts)))
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes; one that is closed takes nothing."""
        try:
            while self._outgoing:
                frame = self._outgoing[0]
                sent = self.pipe.send(frame)
                if sent < len(frame):
                    self._outgoing[0] = frame[sent:]
                else:
                    self._outgoing.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()

    def hear(self) -> bool:
        """The bell was rung, and is quiet again; False: it will not ring any more."""
        try:
            return bool(os.read(self._bell, _READ_BYTES))
        except BlockingIOError:
            return True

    def read(self) -> tuple[list[list[bytes]], Reading]:
        """The frames that have come in, of at most ``_READ_BYTES`` bytes."""
        try:
            data = self.pipe.recv(_READ_BYTES)
        except BlockingIOError:
            return [], "empty"
        except OSError:
            return [], "closed"
        frames = self._frames.feed(data)
        is_over = not data or self._frames.is_refused
        return frames, "closed" if is_over else "data"

    def read_on(self, at_most: int) -> Iterator[list[bytes]]:
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
        for end in (self._tokens_in, self._tokens_out, self._bell):
            os.close(end)
        self._tokens_in = self._tokens_out = self._bell = -1
        self._process = self._host_pid = self.apart = self._pipe = self._lifeline = None
        self.is_warm = False
        self.state = "empty"
        self.works.clear()
        self._tokens.clear()
        self.work = self.told = self.limited = self.ending = None
        self.begun_at = self.look_at = self.pace = math.inf
        self.nudge_at = self.limit_at = self.gauge_at = self.killed_at = math.inf


def _pipe(unless_started: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        unless_started.callback(os.close, end)
        os.set_blocking(end, False)
    return ends


def _pair(unless_started: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    unless_started.enter_context(ours)
    ours.setblocking(False)
    return ours, theirs
