"""A task as both sides see it: its name on the wire, and what ``@task`` records of it.

Decided here: how a function or class is named on the wire, what can be named at all, and the
options a task may carry. A name is the module, a dot and the qualified name, which is how taskflow
names its task classes too (``oslo_utils.reflection.get_class_name``). Functions travel by name
only, so what cannot be found again under its name (a lambda, a function made inside another, a
method of an object) has none. A function of ``__main__`` gets the name its module has for everyone
else.

Not decided here: what a worker offers (``worker.registry``), whether arguments fit. Nothing is
imported for it. Called by ``submit`` in the caller and by the registry in the worker; any thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal, TypeVar, get_args, overload

from protocol.errors import ConfigurationError, UnnameableTask
from protocol.importable import importable_name
from protocol.rate import parse_rate
from protocol.resources import Requirements, parse_requirements
from protocol.retry import Retry, parse_retries

__all__ = [
    "DEFAULT_VERSION",
    "MAX_LIMIT",
    "MAX_NAME",
    "MAX_PRIORITY",
    "Delivery",
    "TaskOptions",
    "check_limits",
    "check_max_running",
    "check_priority",
    "check_retries",
    "importable_name",
    "importing",
    "location_of",
    "options_of",
    "task",
    "wire_name",
]

#: The version of a task that names none (taskflow ``atom.Atom.version``).
DEFAULT_VERSION: Final = (1, 0)
#: Longest wire name, in characters: it must fit an AMQP short string with something to spare.
MAX_NAME: Final = 200

#: Longest time limit, in seconds: ten years, which fits the wire and every clock.
MAX_LIMIT: Final = 315_360_000.0

#: Priorities go from minus this to this.
MAX_PRIORITY: Final = 100

#: The attribute under which a function or class carries what ``@task`` recorded.
_ATTRIBUTE: Final = "__taskline_task__"

#: The module a worker is importing for its tasks at this moment. Who makes workers asks, because
#: a script without ``if __name__ == "__main__":`` would otherwise start workers that import it in
#: turn.
importing: Final[ContextVar[str | None]] = ContextVar("importing", default=None)

#: How often a request may be started: again after a run was lost, or never.
Delivery = Literal["at_least_once", "at_most_once"]

_Callable = TypeVar("_Callable", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What ``@task`` recorded; raises ``ConfigurationError`` for an unfit name or version."""

    #: The wire name instead of module and qualified name; None: that one.
    name: str | None = None
    #: Told to whoever lists a worker's tasks; taskflow's workers ignore it as well.
    version: tuple[int, ...] = DEFAULT_VERSION
    #: ``at_most_once``: a request of it is never started twice, whatever becomes of the first run.
    delivery: Delivery = "at_least_once"
    #: Seconds after which a run is ended with its process; None: it may run for ever.
    time_limit: float | None = None
    #: Seconds after which ``SoftTimeLimitExceeded`` is raised in the running task.
    soft_time_limit: float | None = None
    #: Of two requests that wait, the one of the higher priority goes first.
    priority: int = 0
    #: How often one may be started, as ``rate`` says it; None: as often as there is room.
    rate: str | None = None
    #: How many requests of one executor may be at workers at once; None: as many as they take.
    max_running: int | None = None
    #: When a run that failed is followed by another one; an int: that often; None, 0: never.
    retries: Retry | int | None = None
    #: What a run needs where it runs, or a mapping of that; None: a slot, and nothing else.
    resources: Requirements | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        name, version = self.name, self.version
        if name is not None and not _is_name(name):
            raise ConfigurationError(
                f"@task(name={name!r}): a name is 1 to {MAX_NAME} printable characters "
                "without a space"
            )
        numbers = isinstance(version, tuple) and all(type(n) is int and n >= 0 for n in version)
        if not numbers or not version:
            raise ConfigurationError(
                f"@task(version={version!r}): a version is a tuple of ints, such as (1, 0)"
            )
        if self.delivery not in get_args(Delivery):
            raise ConfigurationError(
                f"@task(delivery={self.delivery!r}): choose from {list(get_args(Delivery))}"
            )
        check_limits("@task", self.time_limit, self.soft_time_limit)
        check_priority("@task", self.priority)
        if self.rate is not None:
            parse_rate("@task", self.rate)
        if self.max_running is not None:
            check_max_running("@task", self.max_running)
        check_retries("@task", parse_retries("@task", self.retries), self.delivery)
        object.__setattr__(self, "resources", parse_requirements("@task", self.resources))


def check_retries(where: str, policy: Retry | None, delivery: Delivery) -> None:
    """Raise ``ConfigurationError`` for a retry of what is never to be started twice."""
    if policy is not None and delivery == "at_most_once":
        raise ConfigurationError(
            f"{where}: delivery='at_most_once' is never started twice, and a retry would be: leave "
            "one of them out, or say retries=0 beside the call"
        )


def check_max_running(where: str, max_running: object) -> None:
    """Raise ``ConfigurationError`` unless it is a count of runs."""
    if type(max_running) is not int or max_running < 1:
        raise ConfigurationError(
            f"{where}: max_running={max_running!r}: how many may run at once, 1 or more"
        )


def check_priority(where: str, priority: object) -> None:
    """Raise ``ConfigurationError`` unless it is an int from -``MAX_PRIORITY`` to that."""
    if type(priority) is not int or not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise ConfigurationError(
            f"{where}: priority={priority!r}: a whole number from {-MAX_PRIORITY} (last) to "
            f"{MAX_PRIORITY} (first); 0 is the usual"
        )


def check_limits(where: str, time_limit: float | None, soft_time_limit: float | None) -> None:
    """Raise ``ConfigurationError`` unless each limit is a number of seconds that can be kept."""
    for name, limit in (("time_limit", time_limit), ("soft_time_limit", soft_time_limit)):
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 0.001:
            raise ConfigurationError(f"{where}: {name}={limit!r}: seconds, 0.001 or more")
        if limit > MAX_LIMIT:
            raise ConfigurationError(f"{where}: {name} is more than {MAX_LIMIT:.0f} seconds")
    if time_limit is not None and soft_time_limit is not None and soft_time_limit >= time_limit:
        raise ConfigurationError(
            f"{where}: soft_time_limit={soft_time_limit!r} would never come before "
            f"time_limit={time_limit!r}: make it the smaller one"
        )


@overload
def task(function: _Callable, /) -> _Callable: ...
@overload
def task(
    *,
    name: str | None = None,
    version: tuple[int, ...] = DEFAULT_VERSION,
    delivery: Delivery = "at_least_once",
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    priority: int = 0,
    rate: str | None = None,
    max_running: int | None = None,
    retries: Retry | int | None = None,
    resources: Requirements | Mapping[str, Any] | None = None,
) -> Callable[[_Callable], _Callable]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: tuple[int, ...] = DEFAULT_VERSION,
    delivery: Delivery = "at_least_once",
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    priority: int = 0,
    rate: str | None = None,
    max_running: int | None = None,
    retries: Retry | int | None = None,
    resources: Requirements | Mapping[str, Any] | None = None,
) -> Any:
    """Say something about a function or task class that workers run; it stays what it is.

    ``@task`` alone says nothing new: public functions of an offered module are tasks without it.
    ``@task(name="resize")`` gives it a wire name of its own, which survives a move to another
    module; ``version=(2, 0)`` is told to whoever lists the worker's tasks.
    ``delivery="at_most_once"``: a request is never started twice; if its worker is lost, it ends as
    ``WorkerLost``. ``time_limit=10.0`` ends a run with its process after so many seconds
    (``TimeLimitExceeded``), ``soft_time_limit=8.0`` raises ``SoftTimeLimitExceeded`` in the task.
    ``priority=5``: of what waits in an executor it goes before the usual 0 (-100 to 100).
    ``retries=3``: a run that raised is followed by another, three times at most, after 1, 2 and 4
    seconds and up to half as much again; ``Retry(max=…, backoff=…, jitter=…, on=…)`` says it all.
    ``rate="100/m"``: an executor starts at most so many in any minute (``/s``, ``/h``: in any
    second, hour); ``max_running=4``: at most so many of its requests are at workers at once.
    ``resources={"cores": 2, "memory": "4 GiB"}``: it runs only where so much is free, and is ended
    if it takes more memory (``Requirements`` says it all).
    What is decorated comes back itself, typed as before, and can be called locally.

    Raises ``ConfigurationError`` for an option of another form or a thing that keeps no attribute.
    """
    options = TaskOptions(
        name,
        version,
        delivery,
        time_limit,
        soft_time_limit,
        priority,
        rate,
        max_running,
        retries,
        resources,
    )

    def record(function: _Callable) -> _Callable:
        if not callable(function):
            raise ConfigurationError(f"@task: {function!r} is neither a function nor a class")
        try:
            setattr(function, _ATTRIBUTE, options)
        except (AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"@task: {function!r} keeps no attribute ({error}); wrap it in a function"
            ) from None
        return function

    return record if function is None else record(function)


def options_of(thing: object) -> TaskOptions:
    """What ``@task`` recorded on this very function or class; the defaults if nothing was.

    A subclass does not inherit it: two classes under one name would be one too many.
    """
    own = getattr(thing, "__dict__", {})
    options = own.get(_ATTRIBUTE)
    return options if isinstance(options, TaskOptions) else _DEFAULTS


def wire_name(thing: object) -> str:
    """The name under which a worker that offers ``thing`` runs it.

    The ``name`` given to ``@task``, else the module and the qualified name (for a class its plain
    name, as in taskflow). Raises ``UnnameableTask``, saying what to do, if ``thing`` cannot be
    found under any name.
    """
    given = options_of(thing).name
    return given if given is not None else ".".join(location_of(thing))


def location_of(thing: object) -> tuple[str, str]:
    """Module and name within it under which others can import ``thing``.

    Raises ``UnnameableTask`` like :func:`wire_name`.
    """
    module = getattr(thing, "__module__", None)
    path = getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str):
        raise UnnameableTask(
            f"{_shown(thing)} has no name that a worker could import: define a function at the top "
            "level of a module, or submit by name"
        )
    if "<" in path:
        kind = "a lambda" if path.endswith("<lambda>") else "made inside another function"
        raise UnnameableTask(
            f"{module}.{path} is {kind}, and functions travel by name: define it at the top level "
            "of a module, or give it a name with @task(name=…) and offer it as MODULE:NAME"
        )
    owner = getattr(thing, "__self__", None)
    if owner is not None and not isinstance(owner, (type, ModuleType)):
        raise UnnameableTask(
            f"{module}.{path} is a method of an object, which does not travel with it: define a "
            "function at the top level of a module and pass it what it needs"
        )
    if isinstance(thing, type):
        path = thing.__name__
    if module == "__main__":
        module = importable_name(getattr(thing, "__globals__", None) or vars(sys.modules[module]))
    return module, path


_DEFAULTS: Final = TaskOptions()


def _is_name(name: object) -> bool:
    fits = isinstance(name, str) and 0 < len(name) <= MAX_NAME
    return fits and str(name).isprintable() and " " not in str(name)


def _shown(thing: object) -> str:
    kind = type(thing)
    return f"an object of class {kind.__module__}.{kind.__qualname__}"
