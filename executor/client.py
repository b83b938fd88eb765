"""``Executor``: submit calls, get futures. A real ``concurrent.futures.Executor``.

What the standard library documents holds: ``submit`` passes every argument on to the task, ``map``,
``with``, ``as_completed``, ``wait``, ``asyncio.wrap_future`` and ``loop.run_in_executor`` work as
they do on its pools. What is ours lives beside the call, in :meth:`Executor.options`.

Nothing is decided here about requests; that is the ledger's. Every method may be called from any
thread, and ``submit`` blocks on nothing but the journal's file, if there is one. In a forked child
every use raises ``ExecutorForked``, and leaving the child does nothing to the parent's executor.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, overload

from bus.news import Bus
from executor import naming, uuids
from executor.engine import Engine
from executor.future import Future
from executor.nodes import NodeInfo
from executor.options import Options, lay_over, order_of
from executor.private import Staff
from executor.recall import OnConflict
from executor.turn import Open
from executor.workers import WorkerInfo
from protocol import kombu_json, messages
from protocol.errors import ConfigurationError, ExecutorClosed, UnnameableTask, ValueRefused
from protocol.failure import FailureDict, RemoteError, from_exception, from_remote
from protocol.messages import Action, Request
from protocol.resources import Requirements
from protocol.retry import Retry
from protocol.size import MAX_BODY
from protocol.task import (
    Delivery,
    TaskOptions,
    importable_name,
    importing,
)
from protocol.timing import REQUEST_TIMEOUT
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC, Dialect
from protocol.values import Json, check

logger = logging.getLogger("taskline.executor.client")

P = ParamSpec("P")
T = TypeVar("T")

LEAVE_TIMEOUT = 10.0  # seconds for all threads and private workers to end
WAIT_FOR_WORKERS = 60.0  # seconds; wait_for_workers' own deadline

_NOTHING_RECORDED: Final = TaskOptions()


class Executor(concurrent.futures.Executor):
    """Submits tasks to workers over a broker.

    ``url``: which broker: none or ``local://[/path]`` (this machine, no server), ``memory://``,
    ``redis://…``, ``amqp://…``. ``exchange`` and ``topics``: under which name, and on which topics,
    workers are found. ``name``: what this executor is called, for people; others may be called the
    same. ``workers``: how many private worker processes to start, which offer the caller's own
    module and whatever functions are submitted, and live as long as this executor. ``dialects``:
    who is spoken to; add ``"taskflow"`` for taskflow's workers. ``transport_options``: kombu's.

    ``journal``: the path of a file in which every request is written down, from its submission to
    its end. It needs a ``name``, and from then on takes no other. Made again with the same name and
    journal, after whatever ended its process, an executor takes up every request that was open:
    :meth:`open_requests` hands out their futures, :meth:`get` finds any request, and
    ``options(key=…)`` lets a script that is run again submit nothing twice. Of two that use copies
    of one journal at once, the older ends (``ExecutorSuperseded``).

    ``signing_keys``: the path of a file of keys, the same at every executor and worker, with which
    all messages are signed. What is unsigned, or signed with another key, is refused; with
    ``require_signature=False`` the unsigned is let in, for as long as not everybody has the keys.
    taskflow's workers sign nothing. Private workers are told of the file.

    ``bus``: a ``bus.news.Bus`` on which every change of every request is told, and the coming and
    going of workers, as it is written to the journal or would be: ``Submitted``, ``Dispatched``,
    ``Running``, ``Progress``, ``Ended`` and so on (``protocol.events``). It is told on the thread
    that made the bus, when that looks; nobody here waits for it.

    ``patience``: seconds for which a request without a ``timeout`` waits while no worker that is
    heard from offers its task; ``math.inf``: until one does.

    A program that ends without ``shutdown()`` leaves what is open, and says so. After
    ``shutdown(wait=False)`` its end waits for what is open as the standard library's pools do, but
    for 7 s at most: tasks run elsewhere, perhaps for days. Either way it has ended within about
    10 s.

    Raises ``ConfigurationError`` for what cannot be, ``BrokerUnavailable`` if the broker does not
    answer within 10 s, ``JournalLocked`` if another process writes the journal, ``JournalError`` if
    it cannot be written or read.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        exchange: str = DEFAULT_EXCHANGE,
        topics: Sequence[str] = (DEFAULT_TOPIC,),
        name: str | None = None,
        journal: str | os.PathLike[str] | None = None,
        workers: int | Staff = 0,
        dialects: Sequence[Dialect] = ("native",),
        transport_options: Mapping[str, Any] | None = None,
        signing_keys: str | os.PathLike[str] | None = None,
        require_signature: bool | None = None,
        bus: Bus | None = None,
        patience: float = REQUEST_TIMEOUT,
    ) -> None:
        if isinstance(topics, str):
            raise ConfigurationError(f"topics={topics!r}: give a list, such as [{topics!r}]")
        staff = workers if isinstance(workers, Staff) else Staff(workers)
        if not isinstance(staff.count, int) or staff.count < 0:
            raise ConfigurationError(f"workers={workers!r}: how many private workers, 0 or more")
        if staff.count and importing.get() is not None:
            raise ConfigurationError(
                f"Executor(workers={workers}) was reached while a worker was importing "
                f"{importing.get()} for its tasks, and would start workers that import it again: "
                'put what the program does under  if __name__ == "__main__":'
            )
        if not isinstance(patience, (int, float)) or not patience > 0:
            raise ConfigurationError(f"patience={patience!r}: seconds, more than 0")
        caller = sys._getframe(1).f_globals  # noqa: SLF001 - whose module private workers offer
        self._engine = Engine(
            url,
            exchange=exchange,
            topics=topics,
            name=name,
            journal=journal,
            dialects=dialects,
            transport_options=transport_options,
            signing_keys=signing_keys,
            require_signature=require_signature,
            bus=bus,
            patience=patience,
            staff=staff,
            offers=lambda: _module_of(caller),
        )
        self._options = Options()
        self._is_derived = False
        #: Of what options() returned; whether the engine takes more is the engine's to say.
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Executor {self._engine.id} on {self._engine.broker.shown}>"

    # submitting -------------------------------------------------------------------------------

    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    @overload
    def submit(self, fn: str, /, *args: Any, **kwargs: Any) -> Future[Any]: ...
    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker call ``fn(*args, **kwargs)``; returns its future at once, worker or not.

        ``fn`` is a function that a worker can import, or a ``functools.partial`` of one, or a
        task's wire name. A function is checked against its signature here (``SignatureMismatch``),
        a name by the worker. Arguments are JSON values (``ValueRefused`` names the path of what is
        not), together of at most 16 MiB, and travel as they are now. With a journal it is written
        there when this returns.

        What ``@task`` recorded of the function (delivery, limits) holds for the call unless
        :meth:`options` says otherwise; of a name nothing is known here. Raises ``ExecutorClosed``
        after ``shutdown``, ``ExecutorFull`` while 1,000,000 requests are open,
        ``BrokerUnavailable`` while the broker is away and 100,000 are, ``JournalError`` while the
        journal cannot be written: then nothing was submitted.
        """
        if isinstance(fn, str):
            return self._send(Request(fn, args=args, arguments=kwargs))
        self._engine.demand_same_process()
        fn, args, kwargs = naming.unfold(fn, args, kwargs)
        callee = naming.describe(fn)
        positional, named = naming.bind(callee, args, kwargs)
        self._engine.offer(callee.spec)
        version = callee.options.version
        return self._send(
            Request(callee.name, version=version, args=positional, arguments=named),
            callee.options,
        )

    def execute(
        self,
        task: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        name: str | None = None,
    ) -> Future[Any]:
        """Have a worker run a task class' ``execute``, as taskflow's engine does.

        ``task`` is the wire name (module and class), ``name`` the name of this use of it, with
        which the worker makes the task; the wire name otherwise.
        """
        return self._task(task, "execute", arguments, name)

    def revert(
        self,
        task: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        result: Json | BaseException,
        failures: Mapping[str, FailureDict] | None = None,
        name: str | None = None,
    ) -> Future[Any]:
        """Have a worker run a task class' ``revert``.

        ``result``: what ``execute`` came to, a value or the exception its future raised.
        ``failures``: ``{task name: failure dict}`` of what failed in the flow.
        """
        if isinstance(result, BaseException):
            outcome: tuple[str, Json] = ("failure", _told(result))
        else:
            outcome = ("success", result)
        return self._task(task, "revert", arguments, name, outcome, failures or {})

    def _task(
        self,
        task: str,
        action: Action,
        arguments: Mapping[str, Json] | None,
        name: str | None,
        result: tuple[str, Json] | None = None,
        failures: Mapping[str, FailureDict] | None = None,
    ) -> Future[Any]:
        return self._send(
            Request(
                task,
                name=name or task,
                action=action,
                arguments=dict(arguments or {}),
                result=result,
                failures=failures,
            )
        )

    def _send(self, request: Request, recorded: TaskOptions = _NOTHING_RECORDED) -> Future[Any]:
        if self._is_closed:
            raise ExecutorClosed(
                f"cannot submit {request.task} after shutdown() of what options() returned: call "
                "options() again"
            )
        options = self._options
        engine = self._engine
        uuid = uuids.fresh()
        future: Future[Any] = Future(uuid, request.task, engine)
        order = order_of(
            uuid,
            request.task,
            _encoded(request),
            options,
            recorded,
            topics=engine.topics,
            named_only=self._suits_taskflow(request),
            moments=engine.moments,
            wants_events=engine.wants_progress,
        )
        entry = Open(future, options.on_progress, options.on_event, via=self)
        return engine.submit(
            order, entry, request.to_body, options.on_conflict or "join", options.unique_for
        )

    def _suits_taskflow(self, request: Request) -> bool:
        """Whether taskflow's workers can take it: arguments by name, and values they can read.

        Raises ``ValueRefused`` for such a value if nobody else is spoken to.
        """
        dialects = self._engine.dialects
        if request.args or "taskflow" not in dialects:
            return not request.args
        said = (
            ("argument", request.arguments),
            ("result", request.result),
            ("failures", request.failures),
        )
        try:
            for what, value in said:
                kombu_json.check(value, f"{request.task}: {what}")
        except ValueRefused:
            if "native" not in dialects:
                raise
            return False
        return True

    # beside the call --------------------------------------------------------------------------

    def options(
        self,
        *,
        timeout: float | None = None,
        topic: str | None = None,
        on_progress: Callable[[float, dict[str, Json]], object] | None = None,
        on_event: Callable[[str, dict[str, Json]], object] | None = None,
        key: str | None = None,
        on_conflict: OnConflict | None = None,
        unique_for: float | None = None,
        delivery: Delivery | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        priority: int | None = None,
        delay: float | None = None,
        eta: datetime | None = None,
        rate: str | None = None,
        max_running: int | None = None,
        retries: Retry | int | None = None,
        resources: Requirements | Mapping[str, Any] | None = None,
        worker: str | None = None,
    ) -> Executor:
        """A light executor on the same engine, whose calls are made like this.

        ``timeout``: seconds from submit within which a worker must have started it; if it has a
        ``delay`` or an ``eta``, from then on. ``topic``: the
        one topic it may go to, which must be one of the executor's. ``on_progress(fraction,
        details)`` and ``on_event(event_type, details)`` are called for what the running task says,
        on the thread that sets futures; of what a slow one has not been told, the latest 10,000
        are kept. What is not given stays as it is here.

        ``key``: 1 to 200 characters that name one call. If a request with this key is open or has
        ended, ``submit`` returns its future, or one with the same outcome, and submits nothing; the
        options of the first submission hold (but if it was taken up from a journal, and nobody
        listens to it yet, ``on_progress`` and ``on_event`` are this one's). The key is looked up in
        the journal; without one, among the open requests and the last 10,000 that ended. Another
        task, or other arguments, with the same key raise ``ConfigurationError``. A request that
        failed keeps its key; one that was cancelled (``TaskCancelled`` as well) leaves it to the
        next submission.

        ``on_conflict``: what becomes of a submission whose key stands for a request: ``"join"`` it,
        as just said, or ``"reject"``: ``KeyTaken`` is raised, which tells the request and its
        state, whatever that calls, open or ended.

        ``unique_for``: seconds from submit in which no other executor on this broker and exchange
        can submit with this key; it needs a ``key``, and ``redis://``, ``local://`` or
        ``memory://``. The key is claimed there, by the broker's clock, before the request is taken:
        ``submit`` waits for the answer, 10 s at most, and raises ``BrokerUnavailable`` if there is
        none. A key that another executor has claimed raises ``KeyTaken``, which says who and until
        when. Within this executor the rules of ``key`` go first. The claim stays for its seconds,
        also when the request ends before, or its executor; it is taken back if the submission
        fails, and by a submission after a cancelled one.

        ``delivery``, ``time_limit`` and ``soft_time_limit`` as in ``@task``, before which they go:
        ``"at_most_once"`` is never started twice; a run is ended with its process after
        ``time_limit`` seconds (``TimeLimitExceeded``); ``SoftTimeLimitExceeded`` is raised in the
        task after ``soft_time_limit`` seconds.

        ``priority`` as in ``@task``: of what waits in this executor the higher goes first, -100 to
        100, usually 0; among equals the requests of a task go as they were submitted, and tasks
        take turns. What has been sent to a worker is not overtaken.

        ``delay``: seconds from submit before which it is not started; ``eta``: the same as a point
        in time, a ``datetime`` with a time zone. The one given last holds; 0 is at once, and so is
        an ``eta`` that is over. Until then it waits in the executor, where nobody else sees it.

        ``rate`` and ``max_running`` as in ``@task``, before which they go; of a task that is called
        by its name these are all there are. A call keeps the limits it was submitted with, and all
        calls of its task through this executor count for it.

        ``retries`` as in ``@task``, before which it goes as a whole: a :class:`Retry`, or how many;
        0 is none. Between two runs the request waits here, is neither done nor running, and can be
        cancelled; ``timeout`` counts anew from the end of each wait.

        ``resources`` as in ``@task``, before which it goes as a whole: a :class:`Requirements`, or
        a dict of the same. It runs only on a worker that has all of it free, and is ended if it
        takes more memory (``MemoryLimitExceeded``), or longer than its ``wall_time`` where no
        ``time_limit`` is said. If all workers that offer it are too small, for 5 s, or for its
        ``timeout`` where it has one, it ends as ``InsufficientSystemResources``, which says what is
        short.

        ``worker``: the name of the one worker it is for.

        Raises ``ConfigurationError`` for what cannot be. Any thread.
        """
        self._engine.demand_same_process()
        said = Options(
            timeout=timeout,
            topic=topic,
            on_progress=on_progress,
            on_event=on_event,
            key=key,
            on_conflict=on_conflict,
            unique_for=unique_for,
            delivery=delivery,
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            priority=priority,
            delay=delay,
            eta=eta,
            rate=rate,
            max_running=max_running,
            retries=retries,
            resources=resources,
            worker=worker,
        )
        laid = lay_over(self._options, said, self._engine.topics, self._engine.broker)
        light = object.__new__(type(self))
        light._engine = self._engine
        light._options = laid
        light._is_derived = True
        light._is_closed = False
        return light

    # requests ---------------------------------------------------------------------------------

    def open_requests(self) -> list[Future[Any]]:
        """The futures of all requests that have not ended, in order of submission. Any thread.

        With a journal those taken up from it are the first of them. However quickly their results
        come, who asks for the first time gets them all; from then on an ended one is left out.
        """
        return self._engine.open_requests()

    def get(self, uuid: str) -> Future[Any]:
        """The future of a request by its ``future.uuid``: the open one, or one that is done.

        With a journal of any request in it, and with the very outcome it had: the value, the task's
        exception, an error of ours, cancelled. Without one of those open and the last 10,000 that
        ended (together at most 64 MiB of results; one over 64 KiB only while its future is held
        somewhere). Raises ``UnknownRequest`` for any other. Any thread.
        """
        return self._engine.get(uuid)

    # workers ----------------------------------------------------------------------------------

    def workers(self) -> list[WorkerInfo]:
        """The workers heard from: names, topics, tasks. Waits 5 s for its own keeper at most."""
        return self._engine.workers()

    def wait_for_workers(self, n: int = 1, timeout: float = WAIT_FOR_WORKERS) -> list[WorkerInfo]:
        """Until ``n`` worker processes have been heard from; returns them.

        Raises ``WaitTimeout`` after ``timeout`` seconds, saying how many there are.
        """
        return self._engine.wait_for_workers(n, timeout)

    def nodes(self) -> dict[str, NodeInfo]:
        """The machines of the workers heard from, by name: how large, and how much is promised.

        Only those whose workers tell of them. Waits 5 s for its own keeper at most.
        """
        return self._engine.nodes()

    def node_in_use(self, name: str) -> bool:
        """Whether something waits or runs there, of any executor. False for one nobody knows."""
        node = self._engine.nodes().get(name)
        return node is not None and node.busy > 0

    def worker_gone(self, name: str) -> None:
        """The process of the worker of this name has ended, as who started it knows.

        What it had is given to others at once, and not after a lease. Said of one that lives, it
        may run what others run as well.
        """
        self._engine.worker_gone(name)

    def unsettled(self, uuids: Iterable[str]) -> list[str]:
        """Those of these requests of which something may still be started, or run, somewhere.

        Of a request that was cancelled that is so until its worker has said that it is not. Waits
        5 s for its own keeper at most.
        """
        return self._engine.unsettled(uuids)

    def ignore_node(self, name: str) -> None:
        """Send nothing more to this machine, or to the worker of this name; what is there goes on.

        So that it can be taken away once :meth:`node_in_use` says that it is idle. A name that
        nobody has is remembered, in case somebody comes.
        """
        self._engine.ignore(name, is_ignored=True)

    def unignore_node(self, name: str) -> None:
        """Send there again."""
        self._engine.ignore(name, is_ignored=False)

    def counts(self) -> dict[str, int]:
        """What was refused, dropped or came to nothing (late, double, illegal), by reason.

        ``dropped_events``: what running tasks said, and a slow subscriber was not told.
        """
        return self._engine.counts()

    # ending -----------------------------------------------------------------------------------

    def __enter__(self) -> Executor:
        """Itself."""
        self._engine.demand_same_process()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Shut down and wait; after a Ctrl-C only for what runs, and saying so.

        In a forked child that was made inside the block it does nothing: it is the parent's.
        """
        if self._engine.is_forked:
            return
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            logger.warning("interrupted: waiting for what workers run; Ctrl-C again to leave it")
        self.shutdown(wait=True, cancel_futures=interrupted)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more submissions; end when every open request has ended.

        With ``wait`` returns then, without it at once. ``cancel_futures`` cancels what is not known
        to run. On what ``options()`` returned all of this concerns what was submitted through that.
        Inside a callback it cannot wait for what is still open, and says so (``TasklineError``).
        """
        if self._is_derived:
            self._is_closed = True
            self._engine.settle(self, wait=wait, cancel=cancel_futures)
        else:
            self._engine.shutdown(wait=wait, cancel=cancel_futures)

    def leave(self, timeout: float = LEAVE_TIMEOUT) -> None:
        """End at once, whatever is open: with a journal the next executor with it goes on there.

        What was submitted is sent; no future is set any more. Without a journal nobody hears what
        becomes of it. Returns within ``timeout`` seconds, near enough.
        """
        self._engine.demand_same_process()
        self._engine.leave(time.monotonic() + timeout)


def _said(request: Request) -> Iterator[tuple[str, Json]]:
    """Each argument, and what it is called in an error."""
    for position, value in enumerate(request.args):
        yield f"{request.task}: positional argument {position}", value
    for name, value in request.arguments.items():
        yield f"{request.task}: argument {name!r}", value


def _encoded(request: Request) -> bytes:
    """The body. Raises ``ValueRefused``, which names the argument that may not travel.

    Or the one that is too long, if one of them is by itself.
    """
    try:
        return messages.encode(request, f"the arguments of {request.task}")
    except ValueRefused:
        for most in (None, MAX_BODY):
            for what, value in _said(request):
                check(value, what, most)
        raise


def _module_of(caller: Mapping[str, Any]) -> list[str]:
    """The module that makes the executor, as a worker is told to offer it, if it has a name.

    It may have no task of its own, and only submit what it imported.
    """
    try:
        return [f"{importable_name(caller)}:*"]
    except UnnameableTask:
        return []


def _told(error: BaseException) -> FailureDict:
    """The failure dict of an exception; the worker's own account of one that a future raised."""
    remote = getattr(error, "remote", None)
    return from_remote(remote) if isinstance(remote, RemoteError) else from_exception(error)
