"""One killable child process, and what runs in it: the tasks, one at a time.

A host imports the task modules and runs what it is told, on its main thread, so that signals, event
loops and libraries find what they expect. What tasks print goes where the worker's output goes, and
their standard input is empty; none of it touches the pipe to the main process. There is no other
thread of ours, so that tasks may fork. When the main process is gone, or this one is to end, the
warden above it (``worker.pool.warden``) ends it, with everything its tasks have started, whatever
they are doing. SIGTERM and SIGINT do nothing here, because a service manager or a terminal sends
them to the whole group of processes, while it is the main process that decides how to end; a forked
child of a task gets the usual handlers back, and loses the pipe.

To the host, the first word of each frame: ``load`` specs, once; ``run`` key / the fields of a
:class:`~worker.runner.Call`; ``offer`` spec; ``quit``. From it: see :data:`FromHost`. Not decided
here: which host runs what, and what becomes of one that dies (``worker.pool.crew``). Loads
neither kombu nor the schemas: a host is there in a tenth of a second.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn, TextIO

from protocol.errors import TasksUnloadable
from protocol.values import Json, dumps
from worker.frames import Frames, pack
from worker.registry import Registry
from worker.runner import Call, run
from worker.soft_limit import SoftLimit

#: The first word of a frame from a host, with what follows it:
#: ``ready`` process id / OFFERS / [sentence, …] — loaded and idle;
#: ``unloadable`` text — it could not load, and exits;
#: ``started`` key; ``event`` key, type / details; ``ended`` key / result / failure;
#: ``offers`` spec, refusal or None / OFFERS / [sentence, …].
#: OFFERS is a list of [name, version, doc, time limit or None, soft time limit or None].
FromHost = list[Json]

_READ_BYTES: Final = 1 << 18
_TO_ALL_OF_A_SERVICE: Final = (signal.SIGTERM, signal.SIGINT)


class HostCrashed(RuntimeError):
    """The process that ran the task ended under it."""


class TaskStopped(RuntimeError):
    """The process that ran the task was ended, as asked."""


class Channel:
    """The host's end of the pipe. Reading: main thread only. Writing: any thread."""

    def __init__(self, connection: socket.socket, soft_limit: SoftLimit) -> None:
        self._connection = connection
        self._soft_limit = soft_limit
        self._frames = Frames()
        # Guards writing, so that what threads of a task say does not run into each other.
        self._writing = threading.Lock()
        self._abandoned = False

    def send(self, *texts: str) -> None:
        """Write one frame, waiting while the main process is slow to read.

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

    def receive(self) -> Iterator[list[Json]]:
        """The frames for this host, one after the other; ends with the main process, at once."""
        while True:
            try:
                data = self._connection.recv(_READ_BYTES)
            except OSError:
                data = b""
            if not data:
                end_at_once()
            yield from self._frames.feed(data)

    def _write(self, data: bytes) -> None:
        with self._writing:
            if self._abandoned:
                return
            try:
                self._connection.sendall(data)
            except OSError:  # the main process is gone, or a task closed our pipe: no use any more
                end_at_once()

    def abandon(self) -> None:
        """In a forked child: the pipe is the parent's, and what is said here goes nowhere."""
        self._writing = threading.Lock()  # the parent's may have been held at the fork
        self._abandoned = True
        self._connection.close()


def main(handle: int) -> None:
    """Be a host on this socket until the main process closes it or says ``quit``."""
    connection = socket.socket(fileno=handle)
    connection.set_inheritable(False)  # a program that a task starts must not keep the pipe open
    for number in _TO_ALL_OF_A_SERVICE:
        signal.signal(number, _leave_it_to_the_main_process)
    for stream in (sys.stdout, sys.stderr):
        _write_by_lines(stream)
    soft_limit = SoftLimit()
    soft_limit.install()
    channel = Channel(connection, soft_limit)
    _Forks(channel, soft_limit).install()
    _serve(channel, soft_limit, os.getpid())


def end_at_once() -> NoReturn:
    """End this host: its warden sees to everything its tasks have started."""
    os._exit(1)


def _serve(channel: Channel, soft_limit: SoftLimit, host: int) -> None:
    registry = Registry()
    for frame in channel.receive():
        match frame[0]:
            case ["load", *specs]:
                if not _load(channel, registry, specs):
                    return
            case ["run", key]:
                _run(channel, registry, key, Call(*frame[1]), soft_limit)
                if os.getpid() != host:  # a task has forked, and this is the copy coming back
                    os._exit(0)
            case ["offer", spec]:
                _offer(channel, registry, spec)
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


def _on_offer(registry: Registry) -> tuple[str, str]:
    offers = [
        [entry.name, list(entry.version), entry.doc, entry.time_limit, entry.soft_time_limit]
        for entry in registry.entries
    ]
    return dumps(offers), dumps(registry.left_out)


def _run(channel: Channel, registry: Registry, key: int, call: Call, soft_limit: SoftLimit) -> None:
    def started() -> None:
        channel.send(f'["started",{key}]')

    def tell(event_type: str, details: str) -> None:
        channel.send(dumps(["event", key, event_type]), details)

    outcome = run(registry, call, started, tell, soft_limit)
    channel.send(f'["ended",{key}]', outcome.result, dumps(outcome.failure))


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
