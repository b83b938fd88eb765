"""One killable child process, and what runs in it: the tasks, one at a time.

It may be handed several works at once. It begins one by taking its *token* out of a pipe from which
the main process can take tokens back: so each side knows what has begun, whoever dies. What it has
to say is written at once, for the same reason; but the main process is woken by a *bell*, which is
rung when there is nothing more to do, and once in ``RING_PERIOD`` while there is.

A host imports the task modules and runs what it is told, on its main thread, so that signals, event
loops and libraries find what they expect. What tasks print goes where the worker's output goes, and
their standard input is empty; none of it touches the pipe to the main process. There is no other
thread of ours, so that tasks may fork. When the main process is gone, or this one is to end, the
warden above it (``worker.pool.warden``) ends it, with everything its tasks have started, whatever
they are doing. SIGTERM and SIGINT do nothing here, because a service manager or a terminal sends
them to the whole group of processes, while it is the main process that decides how to end; a forked
child of a task gets the usual handlers back, and loses the pipe.

To the host, the first word of each frame: ``load`` specs, once; ``run`` keys / for each the fields
of a :class:`~worker.runner.Call` and its start-by; ``forget`` keys, of works that were taken back;
``offer`` spec; ``preload`` modules, for commands (``worker.preload``), and ``warm``, to do so now;
``quit``. From it: see :data:`FromHost`. Not decided here: which host runs what, and what becomes of
one that dies (``worker.pool.crew``). Loads neither kombu nor the schemas: a host is there in a
tenth of a second.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn, TextIO

from protocol.errors import TasksUnloadable
from protocol.values import Json, dumps
from worker.clock import clock
from worker.frames import TOKEN, Frames, pack, read
from worker.registry import Registry
from worker.runner import Call, run
from worker.soft_limit import SoftLimit

#: The first word of a frame from a host, with what follows it:
#: ``ready`` process id / OFFERS / [sentence, …] — loaded and idle;
#: ``unloadable`` text — it could not load, and exits;
#: ``event`` key, type / details; ``ended`` key, how many microseconds it took / result / failure;
#: ``late`` key — it was not begun;
#: ``offers`` spec, refusal or None / OFFERS / [sentence, …];
#: ``apart`` process id — a process of the host's own, which is no task's.
#: OFFERS is a list of [name, version, doc, time limit or None, soft time limit or None].
FromHost = list[Json]

#: Seconds between two rings of the bell while there is something to do.
RING_PERIOD: Final = 0.001

_READ_BYTES: Final = 1 << 18
_TOKEN_BYTES: Final = array(TOKEN).itemsize
_TO_ALL_OF_A_SERVICE: Final = (signal.SIGTERM, signal.SIGINT)


class HostCrashed(RuntimeError):
    """The process that ran the task ended under it."""


class TaskStopped(RuntimeError):
    """The process that ran the task was ended, as asked."""


class Channel:
    """The host's ends of the pipes. Reading: main thread only. Writing: any thread."""

    def __init__(
        self, connection: socket.socket, tokens: int, bell: int, soft_limit: SoftLimit
    ) -> None:
        """``tokens``: where tokens are taken from; ``bell``: what is rung. Both do not block."""
        self._connection = connection
        self._tokens = tokens
        self._bell = bell
        self._soft_limit = soft_limit
        self._frames = Frames()
        #: Works handed over and not begun, by key, and other frames, as they came.
        self._works: dict[int, bytes] = {}
        self._others: deque[list[bytes]] = deque()
        self._waiting = select.poll()
        self._waiting.register(tokens, select.POLLIN)
        self._waiting.register(connection, select.POLLIN)
        #: When the bell was rung last, and whether something was written since.
        self._rung = -math.inf
        self._has_said = False
        # Guards writing, so that what threads of a task say does not run into each other.
        self._writing = threading.Lock()
        self._abandoned = False

    def send(self, *texts: str) -> None:
        """Write one frame, waiting while the main process is slow to read. It is read within a few
        milliseconds.

        On the main thread a soft limit that is over meanwhile is raised when the frame is whole.
        """
        data = pack(texts)
        if threading.current_thread() is not threading.main_thread():
            self._write(data)
            return
        self._soft_limit.hold()
        try:
            self._write(data)
        finally:
            self._soft_limit.let_go()

    def next(self) -> tuple[int | None, list[bytes]]:
        """A work, which begins now, with its key; or another frame, with None.

        Waits for it, and ends with the main process, at once.
        """
        while not self._others:
            try:
                token = os.read(self._tokens, _TOKEN_BYTES)
            except BlockingIOError:
                self._wait()
                continue
            except OSError:
                token = b""
            if not token:  # the main process is gone, or a task closed our pipes
                end_at_once()
            (key,) = array(TOKEN, token)
            while key not in self._works:
                self._read()
            return key, [self._works.pop(key)]
        return None, self._others.popleft()

    def _wait(self) -> None:
        """There is nothing to do, and what was said is to be read now."""
        if self._has_said:
            with self._writing:
                self._ring()
        for descriptor, _ in self._waiting.poll():
            if descriptor != self._tokens:
                self._read()

    def _read(self) -> None:
        try:
            data = self._connection.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            end_at_once()
        for lines in self._frames.feed(data):
            word, *keys = read(lines[0])
            if word == "run":
                self._works.update(zip(keys, lines[1:], strict=True))
            elif word == "forget":
                for key in keys:
                    self._works.pop(key, None)
            else:
                self._others.append(lines)

    def _write(self, data: bytes) -> None:
        with self._writing:
            if self._abandoned:
                return
            try:
                try:
                    sent = self._connection.send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                if sent < len(data):  # it is to be read, or there will never be room
                    self._ring()
                    self._connection.sendall(memoryview(data)[sent:])
            except OSError:  # the main process is gone, or a task closed our pipe: no use any more
                end_at_once()
            self._has_said = True
            # What is said between two rings is read all the same: after each the main process
            # looks again, once as much time has passed.
            if time.monotonic() - self._rung >= RING_PERIOD:
                self._ring()

    def _ring(self) -> None:
        self._has_said = False
        self._rung = time.monotonic()
        with contextlib.suppress(OSError):  # a full pipe rings; of a closed one the next read tells
            os.write(self._bell, b"!")

    def abandon(self) -> None:
        """In a forked child: the pipes are the parent's, and what is said here goes nowhere."""
        self._writing = threading.Lock()  # the parent's may have been held at the fork
        self._abandoned = True
        self._connection.close()
        for descriptor in (self._tokens, self._bell):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def main(handle: int, tokens: int, bell: int) -> None:
    """Be a host on this socket and these pipes until the main process closes them or says ``quit``.

    ``tokens`` is read, ``bell`` written; neither blocks.
    """
    connection = socket.socket(fileno=handle)
    for descriptor in (handle, tokens, bell):
        # A program that a task starts must not keep them open.
        os.set_inheritable(descriptor, False)
    for number in _TO_ALL_OF_A_SERVICE:
        signal.signal(number, _leave_it_to_the_main_process)
    for stream in (sys.stdout, sys.stderr):
        _write_by_lines(stream)
    soft_limit = SoftLimit()
    soft_limit.install()
    channel = Channel(connection, tokens, bell, soft_limit)
    _Forks(channel, soft_limit).install()
    _serve(channel, soft_limit, os.getpid())


def end_at_once() -> NoReturn:
    """End this host: its warden sees to everything its tasks have started."""
    os._exit(1)


def _serve(channel: Channel, soft_limit: SoftLimit, host: int) -> None:
    registry = Registry()
    while True:
        key, lines = channel.next()
        if key is not None:
            _run(channel, registry, key, read(lines[0]), soft_limit)
            if os.getpid() != host:  # a task has forked, and this is the copy coming back
                os._exit(0)
            continue
        match read(lines[0]):
            case ["load", *specs]:
                if not _load(channel, registry, specs):
                    return
            case ["offer", spec]:
                _offer(channel, registry, spec)
            case ["preload", *modules]:
                _preload(channel, modules)
            case ["warm"]:
                _warm()
            case ["quit"]:
                return


def _load(channel: Channel, registry: Registry, specs: Iterable[str]) -> bool:
    try:
        for spec in specs:
            registry.load(spec)
    except TasksUnloadable as error:
        channel.send(dumps(["unloadable", str(error)]))
        return False
    channel.send(dumps(["ready", os.getpid()]), *_on_offer(registry))
    return True


def _offer(channel: Channel, registry: Registry, spec: str) -> None:
    refusal = None
    try:
        registry.load(spec)
    except TasksUnloadable as error:
        refusal = str(error)
        registry.explain(spec, refusal)
    channel.send(dumps(["offers", spec, refusal]), *_on_offer(registry))


def _preload(channel: Channel, modules: Sequence[str]) -> None:
    from worker.preload.kept import keep  # noqa: PLC0415 - few hosts do this
    from worker.preload.templates import Template  # noqa: PLC0415

    keep(Template(modules, lambda pid: channel.send(dumps(["apart", pid]))))


def _warm() -> None:
    from worker.preload.kept import kept  # noqa: PLC0415 - as above

    template = kept()
    if template is not None:
        template.start()


def _on_offer(registry: Registry) -> tuple[str, str]:
    offers = [
        [entry.name, list(entry.version), entry.doc, entry.time_limit, entry.soft_time_limit]
        for entry in registry.entries
    ]
    return dumps(offers), dumps(registry.left_out)


def _run(
    channel: Channel, registry: Registry, key: int, fields: list[Json], soft_limit: SoftLimit
) -> None:
    task, name, action, args, arguments, result, failures, limit, start_by, devices = fields
    if start_by is not None and clock() * 1000 >= start_by:
        channel.send(f'["late",{key}]')
        return
    if limit is not None:
        seconds, due = limit
        limit = (seconds, time.monotonic() + seconds if due is None else due)

    def tell(event_type: str, details: str) -> None:
        channel.send(dumps(["event", key, event_type]), details)

    call = Call(task, name, action, args, arguments, result, failures, limit, devices)
    began = time.monotonic()
    outcome = run(registry, call, tell, soft_limit)
    took = int((time.monotonic() - began) * 1e6)
    failure = "null" if outcome.failure is None else dumps(outcome.failure)
    channel.send(f'["ended",{key},{took}]', outcome.result, failure)


def _leave_it_to_the_main_process(_signal: int, _frame: Any) -> None:
    """A handler, not SIG_IGN: programs that tasks start would inherit being deaf."""


class _Forks:
    """What we do when a task forks: the child is its own, has the usual handlers, and no pipe.

    Signals that end it wait until it has those: our handler would drop what its parent sends early,
    as ``multiprocessing`` does to the processes of a pool that has had little to do.
    """

    def __init__(self, channel: Channel, soft_limit: SoftLimit) -> None:
        self._channel = channel
        self._soft_limit = soft_limit
        self._main = threading.get_ident()
        #: What each forking thread had blocked before.
        self._before = threading.local()

    def install(self) -> None:
        """Do so from now on. Main thread."""
        os.register_at_fork(
            before=self._hold, after_in_parent=self._go_on, after_in_child=self._begin
        )

    def _hold(self) -> None:
        if threading.get_ident() == self._main:
            self._soft_limit.hold()
        self._before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL_OF_A_SERVICE)

    def _go_on(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before.mask)
        if threading.get_ident() == self._main:
            self._soft_limit.let_go()

    def _begin(self) -> None:
        self._channel.abandon()
        self._soft_limit.forget()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before.mask)


def _write_by_lines(stream: TextIO | Any) -> None:
    """A task's lines come out when printed, and before it crashes, not after the next 8 KB."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
