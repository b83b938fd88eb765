"""Runs one task, here and now, and makes of whatever happens a result or a failure.

A task runs as taskflow's own worker would run it (``worker_based/server.py`` and
``action_engine/executor.py``): a class is constructed with its name, its notifier is listened to,
and ``pre_execute``, ``execute``, ``post_execute`` (or the three of revert) are called. A function
is called; if that gives a coroutine, an event loop of its own runs it. A function has nothing to
undo, so its revert does nothing and succeeds.

Nothing escapes: not SystemExit, not KeyboardInterrupt, not a result that cannot travel. Runs on the
thread that calls it, which is a host's main thread or one of the threads pool's. A soft time limit,
in hosts only, is on while code of the task's own runs, and off before and after (``soft_limit``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any, Final

from protocol.failure import FailureDict, from_exception
from protocol.values import Json
from worker.context import Tell, having, telling
from worker.flow_failure import failure_dict, failure_maker, returned_failure
from worker.payload import write
from worker.registry import Entry, Registry, accepts
from worker.soft_limit import SoftLimit

#: Stands for all events of a notifier (taskflow ``types.notifier.Notifier.ANY``).
_ANY: Final = "*"

#: Modules of ours whose frames may be above those of a task, and, in a soft limit, below.
_ABOVE: Final = frozenset({__name__, "worker.awaiting"})
_BELOW: Final = frozenset({"worker.soft_limit", "worker.awaiting", "worker.host"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a task, as :class:`worker.work.Work` asks for it; fields are explained there."""

    task: str
    name: str
    action: str
    args: Sequence[Json] = ()
    arguments: Mapping[str, Json] = field(default_factory=dict)
    result: Sequence[Json] | None = None
    failures: Mapping[str, FailureDict] | None = None
    #: Its soft time limit: how many seconds, and when that is over on the monotonic clock.
    soft_limit: tuple[float, float] | None = None
    devices: Mapping[str, list[int]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: with the JSON text of a result, or with a failure."""

    #: The result as JSON text; ``null`` if there is a failure.
    result: str = "null"
    failure: FailureDict | None = None


def run(
    registry: Registry,
    call: Call,
    tell: Tell,
    soft_limit: SoftLimit | None = None,
) -> Outcome:
    """Run one call to its end. Never raises.

    ``tell`` gets its events, on this thread and on others, if the task makes some. Context
    variables the task sets are gone afterwards. ``soft_limit`` keeps the call's, on the main
    thread; without it a call's is not kept.
    """
    limit = soft_limit if call.soft_limit is not None else None
    try:
        return copy_context().run(_run, registry, call, tell, limit)
    except BaseException as error:
        if limit is not None:
            limit.finish()
        return Outcome(failure=from_exception(error.with_traceback(_own_frames_off(error))))


def _run(
    registry: Registry,
    call: Call,
    tell: Tell,
    limit: SoftLimit | None,
) -> Outcome:
    entry = registry.find(call.task)
    with telling(tell) as tell_until_over, having(call.devices):
        try:
            if limit is not None and call.soft_limit is not None:
                limit.begin(call.task, *call.soft_limit)
            if entry.is_class:
                result = _run_class(entry, call, tell_until_over, limit)
            else:
                result = None
                if call.action == "execute":
                    result = _awaited(entry.target(*call.args, **call.arguments), limit)
        finally:
            if limit is not None:
                limit.finish()
        failure = returned_failure(result)
        if failure is not None:
            return Outcome(failure=failure_dict(failure))
        return Outcome(write(result, f"the result of {call.task}"))


def _run_class(entry: Entry, call: Call, tell: Tell, limit: SoftLimit | None) -> Any:
    task = entry.target(name=call.name) if entry.takes_name else entry.target()
    _listen(task, tell)
    try:
        _hook(task, f"pre_{call.action}", limit)
        if call.action == "execute":
            return _awaited(task.execute(*call.args, **call.arguments), limit)
        revert = getattr(task, "revert", None)
        if revert is None:
            return None
        arguments = _revert_arguments(revert, entry.target, call)
        return _awaited(revert(*call.args, **arguments), limit)
    finally:
        _hook(task, f"post_{call.action}", limit)


def _hook(task: object, name: str, limit: SoftLimit | None) -> None:
    hook = getattr(task, name, None)
    if callable(hook):
        _awaited(hook(), limit)


def _awaited(result: Any, limit: SoftLimit | None) -> Any:
    if not inspect.iscoroutine(result):
        return result
    try:
        return _awaiting(limit).run(result, limit)
    finally:
        result.close()  # if a limit came before it began, that is no reason for a warning


def _awaiting(limit: SoftLimit | None) -> ModuleType:
    """Loaded only for tasks that need it: it would be half of the time a host takes to start."""
    if limit is not None:
        limit.hold()
    try:
        from worker import awaiting  # noqa: PLC0415
    finally:
        if limit is not None:
            limit.let_go()
    return awaiting


def _revert_arguments(revert: Callable[..., Any], owner: Any, call: Call) -> dict[str, Json]:
    """Add ``result`` and ``flow_failures``, as taskflow does (``_revert_task``).

    Always, there; here only to a ``revert`` that takes them, which is kinder to plain classes.
    """
    arguments = dict(call.arguments)
    make = failure_maker(owner)
    result: Any = None
    if call.result is not None:
        outcome, value = call.result
        result = make(value) if outcome == "failure" else value
    failures = {name: make(data) for name, data in (call.failures or {}).items()}
    added = {"result": result, "flow_failures": failures}
    return arguments | {name: value for name, value in added.items() if accepts(revert, name)}


def _listen(task: Any, tell: Tell) -> None:
    """Pass on what the task's own notifier allows, as taskflow's worker does.

    A notifier that may be listened to as a whole is; else each event it or ``TASK_EVENTS`` names.
    What it is told of 0.0 and 1.0 by itself the engine makes, not the task: nothing is added here.
    """
    notifier = getattr(task, "notifier", None)
    register = getattr(notifier, "register", None)
    if not callable(register):
        return

    def on_event(event_type: str, details: dict[str, Json] | None = None) -> None:
        tell(event_type, write(details or {}, f"task event {event_type!r}"))

    allows = getattr(notifier, "can_be_registered", None)
    if callable(allows):
        if allows(_ANY):
            register(_ANY, on_event)
            return
        events: Iterable[str] = getattr(notifier, "events_iter", tuple)()
    else:
        events = getattr(task, "TASK_EVENTS", (_ANY,))
    for event_type in events:
        register(event_type, on_event)


def _own_frames_off(error: BaseException) -> TracebackType | None:
    """The traceback from where the task's own code begins to where it ends, as far as it has any.

    Nobody needs to see ours, above it or, of a soft limit, below.
    """
    frames = list(_frames(error))
    modules = [str(tb.tb_frame.f_globals.get("__name__")) for tb in frames]
    first = next((n for n, name in enumerate(modules) if name not in _ABOVE), len(frames))
    below_the_loop = [
        n
        for n, name in enumerate(modules)
        if n >= first and name not in _ABOVE and not name.startswith("asyncio.")
    ]
    first = below_the_loop[0] if below_the_loop else first
    end = len(frames)
    while end > first and modules[end - 1] in _BELOW:
        end -= 1
    if first == end:
        return None
    frames[end - 1].tb_next = None
    return frames[first]


def _frames(error: BaseException) -> Iterator[TracebackType]:
    tb = error.__traceback__
    while tb is not None:
        yield tb
        tb = tb.tb_next
