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
from typing import Any, Final, TypeVar, overload

from protocol.errors import ConfigurationError, UnnameableTask

__all__ = [
    "DEFAULT_VERSION",
    "MAX_NAME",
    "TaskOptions",
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

#: The attribute under which a function or class carries what ``@task`` recorded.
_ATTRIBUTE: Final = "__taskline_task__"

#: The module a worker is importing for its tasks at this moment. Who makes workers asks, because
#: a script without ``if __name__ == "__main__":`` would otherwise start workers that import it in
#: turn.
importing: Final[ContextVar[str | None]] = ContextVar("importing", default=None)

_Callable = TypeVar("_Callable", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What ``@task`` recorded; raises ``ConfigurationError`` for an unfit name or version."""

    #: The wire name instead of module and qualified name; None: that one.
    name: str | None = None
    #: Told to whoever lists a worker's tasks; taskflow's workers ignore it as well.
    version: tuple[int, ...] = DEFAULT_VERSION

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


@overload
def task(function: _Callable, /) -> _Callable: ...
@overload
def task(
    *, name: str | None = None, version: tuple[int, ...] = DEFAULT_VERSION
) -> Callable[[_Callable], _Callable]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: tuple[int, ...] = DEFAULT_VERSION,
) -> Any:
    """Say something about a function or task class that workers run; it stays what it is.

    ``@task`` alone says nothing new: public functions of an offered module are tasks without it.
    ``@task(name="resize")`` gives it a wire name of its own, which survives a move to another
    module; ``version=(2, 0)`` is told to whoever lists the worker's tasks. What is decorated comes
    back itself, typed as before, and can be called locally.

    Raises ``ConfigurationError`` for an option of another form or a thing that keeps no attribute.
    """
    options = TaskOptions(name, version)

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


def importable_name(space: Mapping[str, Any]) -> str:
    """What the module with this namespace is called when others import it.

    For ``__main__``: ``python -m package.module`` keeps that in its ``__spec__`` (PEP 451), a
    script has its file. Raises ``UnnameableTask`` where there is neither.
    """
    name = space.get("__name__")
    if isinstance(name, str) and name != "__main__":
        return name
    spec = space.get("__spec__")
    if spec is not None and isinstance(spec.name, str):
        return spec.name
    file = space.get("__file__")
    if isinstance(file, str):
        stem = file.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
        if stem.isidentifier():
            return stem
    raise UnnameableTask(
        "a function was defined where no worker can import it (an interactive session, or a file "
        "whose name is no module name): move it to a module"
    )


_DEFAULTS: Final = TaskOptions()


def _is_name(name: object) -> bool:
    fits = isinstance(name, str) and 0 < len(name) <= MAX_NAME
    return fits and str(name).isprintable() and " " not in str(name)


def _shown(thing: object) -> str:
    kind = type(thing)
    return f"an object of class {kind.__module__}.{kind.__qualname__}"
