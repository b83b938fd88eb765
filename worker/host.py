"""One killable child process, and what runs in it: the tasks, one at a time.

A host imports the task modules and runs what it is told, on its main thread, so that signals, event
loops and libraries find what they expect. What tasks print goes where the worker's output goes, and
their standard input is empty; none of it touches the pipe to the main process. A second thread only
watches that pipe: when the main process is gone, however that came, the host and everything its
tasks have started go at once. SIGTERM and SIGINT do nothing here, because a service manager or a
terminal sends them to the whole group of processes, while it is the main process that decides how
to end; a forked child of a task gets the usual handlers back, and loses the pipe.

To the host, the first word of each frame: ``load`` specs, once; ``run`` key / the fields of a
:class:`~worker.runner.Call`; ``offer`` spec; ``quit``. From it: see :data:`FromHost`. Not decided
here: which host runs what, and what becomes of one that dies (``worker.pool.crew``). Loads
neither kombu nor the schemas: a host is there in a tenth of a second.
"""

from __future__ import annotations

import os
import select
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

#: The first word of a frame from a host, with what follows it:
#: ``ready`` [[name, version, doc], …], [sentence, …] — loaded and idle;
#: ``unloadable`` text — it could not load, and exits;
#: ``started`` key; ``event`` key, type / details; ``ended`` key / result / failure;
#: ``offers`` spec, refusal or None / [[name, version, doc], …] / [sentence, …].
FromHost = list[Json]

_READ_BYTES: Final = 1 << 18


class HostCrashed(RuntimeError):
    """The process that ran the task ended under it."""


class TaskStopped(RuntimeError):
    """The process that ran the task was ended, as asked."""


class Channel:
    """The host's end of the pipe. Reading: main thread only. Writing: any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = Frames()
        # Guards writing, so that what threads of a task say does not run into each other.
        self._writing = threading.Lock()
        self._abandoned = False

    def send(self, *texts: str) -> None:
        """Write one frame, waiting while the main process is slow to read."""
        data = pack(texts)
        with self._writing:
            if self._abandoned:
                return
            try:
                self._connection.sendall(data)
            except OSError:  # the main process is gone, or a task closed our pipe: no use any more
                end_at_once()

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

    def abandon(self) -> None:
        """In a forked child: the pipe is the parent's, and what is said here goes nowhere."""
        self._writing = threading.Lock()  # the parent's may have been held at the fork
        self._abandoned = True
        self._connection.close()


def main(handle: int) -> None:
    """Be a host on this socket until the main process closes it or says ``quit``."""
    connection = socket.socket(fileno=handle)
    connection.set_inheritable(False)  # a program that a task starts must not keep the pipe open
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _leave_it_to_the_main_process)
    for stream in (sys.stdout, sys.stderr):
        _write_by_lines(stream)
    channel = Channel(connection)
    os.register_at_fork(after_in_child=channel.abandon)
    os.register_at_fork(after_in_child=_default_signals)
    watcher = threading.Thread(
        target=_end_with, args=(handle,), name="taskline-host-watcher", daemon=True
    )
    watcher.start()
    _serve(channel, os.getpid())


def end_at_once() -> NoReturn:
    """End this host and every process its tasks have started in its group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _serve(channel: Channel, host: int) -> None:
    registry = Registry()
    for frame in channel.receive():
        match frame[0]:
            case ["load", *specs]:
                if not _load(channel, registry, specs):
                    return
            case ["run", key]:
                _run(channel, registry, key, Call(*frame[1]))
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
    channel.send('["ready"]', *_on_offer(registry))
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
    offers = [[entry.name, list(entry.version), entry.doc] for entry in registry.entries]
    return dumps(offers), dumps(registry.left_out)


def _run(channel: Channel, registry: Registry, key: int, call: Call) -> None:
    def started() -> None:
        channel.send(f'["started",{key}]')

    def tell(event_type: str, details: str) -> None:
        channel.send(dumps(["event", key, event_type]), details)

    outcome = run(registry, call, started, tell)
    channel.send(f'["ended",{key}]', outcome.result, dumps(outcome.failure))


def _end_with(handle: int) -> None:
    """Watch for the other end of the pipe to close; never read from it."""
    watched = select.poll()
    watched.register(handle, 0)  # hang-ups are told without being asked for (POSIX poll)
    watched.poll()
    end_at_once()


def _leave_it_to_the_main_process(_signal: int, _frame: Any) -> None:
    """A handler, not SIG_IGN: programs that tasks start would inherit being deaf."""


def _default_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _write_by_lines(stream: TextIO | Any) -> None:
    """A task's lines come out when printed, and before it crashes, not after the next 8 KB."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
