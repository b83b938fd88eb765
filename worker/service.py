"""``Worker``: one worker, put together and run in this process.

``python -m worker`` is this with a command line. Everything real is chosen here, and nowhere else:
broker, pool, threads. The tasks run in processes of their own, unless ``pool="threads"``.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from bus.wire import Dispatcher, Listener, Publisher, make_guard, parse_url
from protocol import __version__
from protocol.commands import MODULE
from protocol.errors import ConfigurationError, TasklineError
from protocol.parcel import Received, Refused
from protocol.resources import Accelerators, NodeReport
from protocol.timing import BEAT, MAX_BEAT
from protocol.topology import (
    DEFAULT_EXCHANGE,
    DEFAULT_TOPIC,
    Dialect,
    Names,
    Queue,
    check_name,
    inbox_key,
)
from worker.keeper import Consuming, Drain, Heard, Keeper, Reported, Undeliverable
from worker.machine import Gauge, survey
from worker.name_lock import NameLock
from worker.pool import make_pool
from worker.shift import Shift
from worker.work import Offer, limits_not_kept

DRAIN_TIMEOUT = 30.0  # seconds for running tasks to finish when a worker goes down
MIN_BEAT = 0.1  # seconds
_STOP_SLACK = 5.0  # seconds beyond the drain for hosts and connections to end
#: Seconds without a message, after our goodbye has left, until nothing more is on its way to us.
_QUIET = 0.2
_QUIET_AT_MOST = 2.0  # seconds to wait for that
#: Seconds for a pool to end: hosts go by themselves or are killed; a thread that still runs after
#: the drain is left behind.
_POOL_STOP = {"processes": 5.0, "threads": 0.5}


class Worker:
    """Runs tasks on request. ``start`` returns when it takes work, ``stop`` when it has ended.

    ``tasks``: ``MODULE`` or ``MODULE:NAME``, each. ``url``, ``exchange``, ``topics``: where
    requests come from. ``pool``: ``"processes"`` or ``"threads"``; ``concurrency``: how many tasks
    at once (the machine's cores). ``name``: how it is called in listings (host and pid); keep one
    over a restart, and executors know at once that the worker before it is dead. ``dialect``:
    ``"native"``, or ``"taskflow"`` to serve taskflow's engines.
    ``preload``: modules that processes import for the commands they run (``worker.command``): a
    command that begins with one of them then starts without importing it anew.
    ``cores``, ``memory``, ``disk``, ``accelerators``: what requests that say what they need may
    take of this machine at once, "4 GiB", ``{"gpu": 1}``; without them all cores, all memory, and
    what is free for temporary files. ``preemptible``: it can be taken away at any time. ``node``:
    the machine's name (its host name). Only with processes: threads can keep no limit.
    ``drain_timeout``: seconds for running tasks to finish in ``stop``. ``beat``: seconds between
    two signs of life; after two and a half without one an executor runs what was here elsewhere.
    ``signing_keys``: the file of keys with which all peers sign their messages; what is unsigned is
    refused unless ``require_signature`` is False. taskflow's peers sign nothing.

    Raises ``ConfigurationError`` for what cannot be; ``start`` raises ``TasksUnloadable`` and
    ``BrokerUnavailable``. All methods from any thread.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        url: str | None = None,
        exchange: str = DEFAULT_EXCHANGE,
        topics: Sequence[str] = (DEFAULT_TOPIC,),
        pool: Literal["processes", "threads"] = "processes",
        concurrency: int | None = None,
        name: str | None = None,
        dialect: Dialect = "native",
        transport_options: Mapping[str, Any] | None = None,
        drain_timeout: float = DRAIN_TIMEOUT,
        preload: Sequence[str] = (),
        cores: float | None = None,
        memory: int | str | None = None,
        disk: int | str | None = None,
        accelerators: Accelerators = (),
        preemptible: bool = False,
        node: str | None = None,
        beat: float = BEAT,
        signing_keys: str | os.PathLike[str] | None = None,
        require_signature: bool | None = None,
        expects_tasks: bool = False,
        share: int = 1,
    ) -> None:
        """``expects_tasks``: more will be offered later, so that ``tasks`` may be empty.

        ``share``: of so many workers on this machine this is one, and tells its part of it.
        """
        if isinstance(tasks, str) or isinstance(topics, str):
            raise ConfigurationError("tasks and topics are lists of names, not one text")
        if not tasks and not expects_tasks:
            raise ConfigurationError(
                "a worker needs something to offer: name a module, such as Worker(['mytasks'])"
            )
        if not topics:
            raise ConfigurationError("a worker needs a topic to listen on")
        slots = concurrency if concurrency is not None else os.cpu_count() or 1
        if not isinstance(slots, int) or slots < 1:
            raise ConfigurationError(f"concurrency={concurrency!r}: how many at once, 1 or more")
        if not drain_timeout >= 0:
            raise ConfigurationError(f"drain_timeout={drain_timeout!r}: seconds, 0 or more")
        if not MIN_BEAT <= beat <= MAX_BEAT:
            raise ConfigurationError(f"beat={beat!r}: seconds, {MIN_BEAT:g} to {MAX_BEAT:g}")
        self.name = check_name("worker name", name or _default_name())
        self.boot = secrets.token_hex(8)
        self.broker = parse_url(url, transport_options)
        self.broker.check_dialects([dialect])
        self.topics = tuple(dict.fromkeys(check_name("topic", topic) for topic in topics))
        self.slots = slots
        self.drain_timeout = drain_timeout
        #: What is offered; complete after ``start``.
        self.tasks: tuple[Offer, ...] = ()
        self._names = Names(dialect, exchange)
        self._preload = _preloads(preload, tasks, expects_tasks)
        self._pool = make_pool(pool, tuple(tasks), slots, self._preload)
        machine = None
        if self._names.is_native and self._pool.can_stop:
            machine = survey(
                node=node,
                cores=cores,
                memory=memory,
                disk=disk,
                accelerators=accelerators,
                preemptible=preemptible,
                share=share,
            )
        elif accelerators or preemptible or (cores, memory, disk, node) != (None,) * 4:
            raise ConfigurationError(
                "cores, memory, disk, accelerators, preemptible and node are for native workers "
                "with pool='processes': nobody else can keep what is told of them"
            )
        #: What is told of the machine; None: nothing.
        self.machine = machine
        self._shift = Shift(
            self._names,
            self.topics,
            worker=self.name,
            boot=self.boot,
            slots=slots,
            beat=beat,
            can_stop=self._pool.can_stop,
            machine=machine,
        )
        #: Only for a name that was chosen: host and pid name no successor.
        self._name_lock: NameLock | None = None
        if name and self._names.is_native:
            self._name_lock = NameLock(exchange, self.name, self.boot)
        queues, passing = self._queues()
        #: Whether keys were given although this dialect has no signatures.
        self._signs_in_vain = signing_keys is not None and not self._names.is_native
        self._guard = make_guard(signing_keys, require_signature, (dialect,), queues)
        self._publisher = Publisher(
            self.broker,
            name=f"taskline-publisher-{self.boot[:8]}",
            guard=self._guard,
            on_drop=lambda parcel, why: self._keeper.put(Undeliverable(parcel, why)),
        )
        self._keeper = Keeper(
            self._shift,
            self._pool,
            self._publisher,
            name=f"taskline-keeper-{self.boot[:8]}",
            is_listening=lambda: self._listener.is_consuming,
            look=None if machine is None else Gauge().look,
        )
        self._dispatcher = Dispatcher(at_worker=True, guard=self._guard)
        self._listener = Listener(
            self.broker,
            queues,
            self._dispatcher,
            self._deliver,
            on_consuming=lambda: self._keeper.put(Consuming()),
            name=f"taskline-listener-{self.boot[:8]}",
            delete_at_end=passing,
        )
        #: Set by the listener whenever something has come.
        self._arrived = threading.Event()
        self._life = threading.Lock()
        self._state: Literal["new", "running", "ended"] = "new"

    def __repr__(self) -> str:
        return f"<Worker {self.name} on {self.broker.shown}, {self._state}>"

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Import the tasks (in the pool), connect and consume."""
        with self._life:
            if self._state == "ended":
                raise TasklineError(f"worker {self.name} has ended; make a new one")
            if self._state == "running":
                return
            try:
                self.tasks = self._pool.start(lambda reports: self._keeper.put(Reported(reports)))
                if self._name_lock is not None:
                    self._shift.replace(self._name_lock.take())
                self._shift.offering(self.tasks, 0.0)  # heard by nobody yet: consuming says hello
                self._publisher.start()
                self._keeper.start()
                self._listener.start()
            except BaseException:
                self._end()
                raise
            self._state = "running"

    def offer(self, spec: str) -> None:
        """Offer ``MODULE`` or ``MODULE:NAME`` too, as soon as the pool has imported it."""
        self._pool.offer(spec)

    def drain(self, limit: float | None = None) -> None:
        """Begin to go down: give back what is queued, let what runs finish. Does not wait."""
        self._keeper.put(Drain(self.drain_timeout if limit is None else limit))

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is held any more after a ``drain``; False after ``timeout`` seconds."""
        return self._keeper.done.wait(
            None if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        )

    def stop(self, drain_timeout: float | None = None) -> None:
        """Drain, then end. Returns at most ``drain_timeout`` seconds and a few later."""
        with self._life:
            if self._state == "running":
                limit = self.drain_timeout if drain_timeout is None else drain_timeout
                self.drain(limit)
                self.wait(limit + _STOP_SLACK)
                self._wait_for_stragglers()
            self._end()

    @property
    def error(self) -> BaseException | None:
        """The bug this worker ended by, if it did."""
        return self._keeper.error

    @property
    def left_running(self) -> int:
        """After ``stop``: how many tasks still run, in threads that nothing can end."""
        return len(self._keeper.open_works) if self._pool.kind == "threads" else 0

    def counts(self) -> dict[str, int]:
        """Messages that were refused or came to nothing, and what gave way at a bound, by reason.

        Since the start, as far as the keeper has come. Any thread.
        """
        counted = dict(self._shift.counts)  # one step of the interpreter's: nobody comes between
        for reason, number in dict(self._dispatcher.refusals).items():
            counted[f"refused_{reason}"] = number
        ours = {
            "dropped_unsendable": self._publisher.dropped,
            "dropped_full": self._publisher.dropped_full,
            "listener_crowded": self._listener.crowded,
            "listener_replaced": self._listener.replaced,
        }
        return counted | {reason: number for reason, number in ours.items() if number}

    def banner(self) -> str:
        """For a person at the terminal: version, name, broker, topics, pool, tasks."""
        tasks = ", ".join(offer.name for offer in self.tasks) or "none yet"
        lines = [
            f"taskline {__version__}, worker {self.name}, process {os.getpid()}",
            f"broker   {self.broker.shown}",
            f"         {self.broker.guarantee}",
            f"exchange {self._names.exchange}, {self._names.dialect} dialect",
            f"topics   {', '.join(self.topics)}",
            f"pool     {self.slots} {self._pool.kind}",
            *(
                []
                if self.machine is None
                else [f"machine  {self.machine.node}: {_told(self.machine)}"]
            ),
            f"tasks    {tasks}",
        ]
        if self._preload:
            lines.append(f"preload  {', '.join(self._preload)}")
        if self._guard is not None:
            lines.append(f"signing  {self._guard}")
        elif self._signs_in_vain:
            lines.append(
                "signing  OFF: taskflow's peers know no signatures; whoever can write to this "
                "broker can have these tasks run"
            )
        if self._pool.kind == "threads":
            lines.append(
                "         a task cannot be ended alone, and one that holds the lock delays beats"
            )
            unkept = limits_not_kept(self.tasks)
            lines += [f"         {unkept}"] if unkept is not None else []
        return "\n".join(lines)

    def _deliver(self, deliveries: list[Received | Refused]) -> None:
        if self._keeper.error is not None:
            self._listener.stop()
            raise TasklineError(  # so that it is not acknowledged, and goes to somebody else
                f"worker {self.name} takes nothing more: its keeper ended by a bug"
            )
        self._arrived.set()
        self._keeper.put(Heard(deliveries))

    def _wait_for_stragglers(self) -> None:
        """Until what was sent to us before our goodbye was read has come, and been given back.

        Its senders would have to wait for our start-by or lease otherwise. taskflow's peers send to
        the topic, where it stays for others.
        """
        if self._keeper.error is not None or not self._names.is_native:
            return
        until = time.monotonic() + _QUIET_AT_MOST
        if not self._publisher.flush(_QUIET_AT_MOST):
            return
        while time.monotonic() < until:
            self._arrived.clear()
            if not self._arrived.wait(_QUIET):
                return

    def _queues(self) -> tuple[list[Queue], list[Queue]]:
        """What to consume, and what of it nobody needs after a clean end."""
        names = self._names
        if not names.is_native:
            return [names.topic(topic) for topic in self.topics], []
        inbox = inbox_key(self.topics[0], self.boot)
        own = [names.inbox(inbox), names.call_queue(inbox)]
        return own, own

    def _end(self) -> None:
        self._state = "ended"
        self._listener.stop()
        self._keeper.stop()  # after whom it hears, before who sends what it answers
        self._publisher.stop()
        self._pool.stop(_POOL_STOP[self._pool.kind])
        if self._name_lock is not None:
            self._name_lock.release()


def _preloads(preload: Sequence[str], tasks: Sequence[str], expects_tasks: bool) -> tuple[str, ...]:
    """The modules to preload. Raises ``ConfigurationError`` for what is none, or in vain."""
    if isinstance(preload, str) or not all(map(_is_module, preload)):
        raise ConfigurationError(
            f"preload={preload!r}: a list of modules by their full names, such as ['toil.worker']"
        )
    runs_commands = expects_tasks or any(task.partition(":")[0] == MODULE for task in tasks)
    if preload and not runs_commands:
        raise ConfigurationError(
            f"preload={list(preload)}: it is for commands, and no task here runs any; offer "
            f"{MODULE} as well"
        )
    return tuple(dict.fromkeys(preload))


def _is_module(name: object) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def _told(machine: NodeReport) -> str:
    return f"{machine.have}{', preemptible' if machine.preemptible else ''}"


def _default_name() -> str:
    host = "".join(c if c.isalnum() or c in "._-" else "-" for c in socket.gethostname())
    return f"{host[:40]}-{os.getpid()}"
