"""What a call becomes before it travels: the task's name, and arguments by name.

Decided here: whether a function can be found again under its name, and whether the arguments fit
its signature. Which name that is, is ``protocol.task``'s. Called by ``submit``, on the caller's
thread.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from protocol.errors import SignatureMismatch, UnnameableTask
from protocol.task import TaskOptions, location_of, options_of, wire_name
from protocol.values import Json

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Callee:
    """A function as it travels."""

    #: The task's wire name.
    name: str
    #: What ``@task`` recorded of it.
    options: TaskOptions
    #: ``MODULE:NAME``, by which a worker can be told to offer it.
    spec: str
    #: None where the worker alone can tell: builtins without one, and task classes.
    signature: inspect.Signature | None
    #: The names of its parameters, and how many of them have no default, if each may be given by
    #: position or by name: as of most functions.
    names: tuple[str, ...] | None = None
    needed: int = 0


def unfold(
    function: Callable[..., Any], args: tuple[Json, ...], kwargs: dict[str, Json]
) -> tuple[Callable[..., Any], tuple[Json, ...], dict[str, Json]]:
    """A ``functools.partial`` as the call it stands for.

    It is how ``loop.run_in_executor`` is handed named arguments (asyncio, "Executing code in thread
    or process pools").
    """
    while isinstance(function, partial):
        args = (*function.args, *args)
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    return function, args, kwargs


def describe(function: Callable[..., Any]) -> Callee:
    """The callee for a function. Raises ``UnnameableTask`` if no worker could import it."""
    return _remembered(function) if isinstance(function, Hashable) else _describe(function)


def _describe(function: Callable[..., Any]) -> Callee:
    name = wire_name(function)
    module, path = location_of(function)
    here = sys.modules.get(getattr(function, "__module__", module))
    found: Any = here
    for part in path.split("."):
        found = getattr(found, part, None)
    # A class method is another object each time it is looked up; it equals itself.
    if here is not None and found is not function and found != function:
        raise UnnameableTask(
            f"{module}.{path} cannot be submitted: under that name stands {found!r}, so a worker, "
            "which imports it by name, would run something else"
        )
    is_task_class = isinstance(function, type) and hasattr(function, "execute")
    try:
        signature = None if is_task_class else inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    options, spec = options_of(function), f"{module}:{path}"
    parameters = signature.parameters.values() if signature else ()
    if signature is None or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
        return Callee(name, options, spec, signature)
    needed = sum(p.default is p.empty for p in parameters)
    return Callee(name, options, spec, signature, tuple(signature.parameters), needed)


_remembered: Final = lru_cache(maxsize=1024)(_describe)


def bind(
    callee: Callee, args: tuple[Json, ...], kwargs: dict[str, Json]
) -> tuple[tuple[Json, ...], dict[str, Json]]:
    """Positional and named arguments as they travel: by name wherever there is one.

    taskflow's peers know no others. Raises ``SignatureMismatch`` in the words of
    ``inspect.Signature.bind``.
    """
    if callee.signature is None:
        return args, kwargs
    names = callee.names
    if names is not None and not kwargs and callee.needed <= len(args) <= len(names):
        return (), dict(zip(names, args, strict=False))  # what binding would come to
    try:
        bound = callee.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise SignatureMismatch(
            f"{callee.name}{callee.signature} was not submitted: {error}; correct the call"
        ) from None
    if not args:
        return (), kwargs
    named: dict[str, Json] = {}
    for parameter in callee.signature.parameters.values():
        if parameter.name not in bound.arguments:
            continue
        if parameter.kind in _BY_NAME:
            named[parameter.name] = bound.arguments[parameter.name]
        elif parameter.kind is parameter.VAR_KEYWORD:
            named.update(bound.arguments[parameter.name])
        else:  # positional-only or *args: only positions can say it
            return bound.args, bound.kwargs
    return (), named
