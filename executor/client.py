"""``Executor``: submit calls, get futures. A real ``concurrent.futures.Executor``.

What the standard library documents holds: ``submit`` passes every argument on to the task, ``map``,
``with``, ``as_completed``, ``wait``, ``asyncio.wrap_future`` and ``loop.run_in_executor`` work as
they do on its pools. What is ours lives beside the call, in :meth:`Executor.options`.

Nothing is decided here about requests; that is the ledger's. Every method may be called from any
thread, and ``submit`` never blocks.
"""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import uuid as uuids
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from executor import naming
from executor.engine import Engine, WorkerInfo
from executor.future import Future
from executor.keeper import Open
from executor.request import Order
from protocol import kombu_json, messages
from protocol.errors import ConfigurationError, ExecutorClosed, UnnameableTask, ValueRefused
from protocol.failure import FailureDict, RemoteError, from_exception, from_remote
from protocol.messages import Action, Request
from protocol.task import importable_name, importing
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC, Dialect, check_name
from protocol.values import Json, check

logger = logging.getLogger("taskline.executor.client")

P = ParamSpec("P")
T = TypeVar("T")

WAIT_FOR_WORKERS = 60.0  # seconds; wait_for_workers' own deadline


@dataclass(frozen=True, slots=True)
class _Options:
    """What ``options()`` sets: how a call is made, not what is called."""

    timeout: float | None = None
    topic: str | None = None
    on_progress: Callable[[float, dict[str, Json]], object] | None = None
    on_event: Callable[[str, dict[str, Json]], object] | None = None


class Executor(concurrent.futures.Executor):
    """Submits tasks to workers over a broker.

    ``url``: which broker: none or ``local://[/path]`` (this machine, no server), ``memory://``,
    ``redis://…``, ``amqp://…``. ``exchange`` and ``topics``: under which name, and on which topics,
    workers are found. ``name``: this executor's id; a random one without. ``workers``: how many
    private worker processes to start, which offer the caller's own module and whatever functions
    are submitted, and live as long as this executor. ``dialects``: who is spoken to; add
    ``"taskflow"`` for taskflow's workers. ``transport_options``: kombu's.

    Raises ``ConfigurationError`` for what cannot be, ``BrokerUnavailable`` if the broker does not
    answer within 10 s.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        exchange: str = DEFAULT_EXCHANGE,
        topics: Sequence[str] = (DEFAULT_TOPIC,),
        name: str | None = None,
        workers: int = 0,
        dialects: Sequence[Dialect] = ("native",),
        transport_options: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(topics, str):
            raise ConfigurationError(f"topics={topics!r}: give a list, such as [{topics!r}]")
        if not isinstance(workers, int) or workers < 0:
            raise ConfigurationError(f"workers={workers!r}: how many private workers, 0 or more")
        if workers and importing.get() is not None:
            raise ConfigurationError(
                f"Executor(workers={workers}) was reached while a worker was importing "
                f"{importing.get()} for its tasks, and would start workers that import it again: "
                'put what the program does under  if __name__ == "__main__":'
            )
        caller = sys._getframe(1).f_globals  # noqa: SLF001 - whose module private workers offer
        self._engine = Engine(
            url,
            exchange=exchange,
            topics=topics,
            name=name,
            dialects=dialects,
            transport_options=transport_options,
            workers=workers,
            offers=lambda: _module_of(caller),
        )
        self._options = _Options()
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
        not) and travel as they are now. ``ExecutorClosed`` after ``shutdown``.
        """
        if isinstance(fn, str):
            return self._send(Request(fn, args=args, arguments=kwargs))
        fn, args, kwargs = naming.unfold(fn, args, kwargs)
        callee = naming.describe(fn)
        positional, named = naming.bind(callee, args, kwargs)
        self._engine.offer(callee.spec)
        return self._send(
            Request(callee.name, version=callee.version, args=positional, arguments=named)
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

    def _send(self, request: Request) -> Future[Any]:
        if self._is_closed:
            raise ExecutorClosed(
                f"cannot submit {request.task} after shutdown() of what options() returned: call "
                "options() again"
            )
        for position, value in enumerate(request.args):
            check(value, f"{request.task}: positional argument {position}")
        for name, value in request.arguments.items():
            check(value, f"{request.task}: argument {name!r}")
        options = self._options
        engine = self._engine
        uuid = str(uuids.uuid4())
        future: Future[Any] = Future(uuid, request.task, engine.deliverer_thread, engine.withdraw)
        order = Order(
            uuid,
            request.task,
            messages.encode(request),
            topics=(options.topic,) if options.topic else engine.topics,
            named_only=self._suits_taskflow(request),
            timeout=options.timeout,
            wants_events=options.on_progress is not None or options.on_event is not None,
        )
        engine.submit(order, Open(future, options.on_progress, options.on_event, via=self))
        return future

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
    ) -> Executor:
        """A light executor on the same engine, whose calls are made like this.

        ``timeout``: seconds from submit within which a worker must have started it. ``topic``: the
        one topic it may go to, which must be one of the executor's. ``on_progress(fraction,
        details)`` and ``on_event(event_type, details)`` are called for what the running task says,
        on the thread that sets futures. What is not given stays as it is here.
        """
        if timeout is not None and not timeout > 0:
            raise ConfigurationError(f"timeout={timeout!r}: seconds, more than 0")
        if topic is not None and check_name("topic", topic) not in self._engine.topics:
            raise ConfigurationError(
                f"topic={topic!r} is not one of this executor's: {list(self._engine.topics)}; "
                f"make it with Executor(topics=[…, {topic!r}])"
            )
        here = self._options
        light = object.__new__(type(self))
        light._engine = self._engine
        light._options = _Options(
            timeout=here.timeout if timeout is None else timeout,
            topic=here.topic if topic is None else topic,
            on_progress=here.on_progress if on_progress is None else on_progress,
            on_event=here.on_event if on_event is None else on_event,
        )
        light._is_derived = True
        light._is_closed = False
        return light

    # workers ----------------------------------------------------------------------------------

    def workers(self) -> list[WorkerInfo]:
        """The workers heard from: names, topics, tasks. Waits 5 s for its own keeper at most."""
        return self._engine.workers()

    def wait_for_workers(self, n: int = 1, timeout: float = WAIT_FOR_WORKERS) -> list[WorkerInfo]:
        """Until ``n`` worker processes have been heard from; returns them.

        Raises ``WaitTimeout`` after ``timeout`` seconds, saying how many there are.
        """
        return self._engine.wait_for_workers(n, timeout)

    def counts(self) -> dict[str, int]:
        """Messages that were refused or came to nothing (late, double, illegal), by reason."""
        return self._engine.counts()

    # ending -----------------------------------------------------------------------------------

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Shut down and wait; after a Ctrl-C only for what has been sent, and saying so."""
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            logger.warning("interrupted: waiting for what workers run; Ctrl-C again to leave it")
        self.shutdown(wait=True, cancel_futures=interrupted)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more submissions; end when every open request has ended.

        With ``wait`` returns then, without it at once. ``cancel_futures`` cancels what has not been
        sent. On what ``options()`` returned all of this concerns what was submitted through that.
        Inside a callback it cannot wait for what is still open, and says so (``TasklineError``).
        """
        if self._is_derived:
            self._is_closed = True
            self._engine.settle(self, wait=wait, cancel=cancel_futures)
        else:
            self._engine.shutdown(wait=wait, cancel=cancel_futures)


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
