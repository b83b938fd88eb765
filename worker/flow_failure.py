"""Failures as a task sees them: what ``revert`` is handed, and what a task may hand back.

A revert is told which tasks of its flow failed. A real taskflow task gets real
``taskflow.types.failure.Failure`` objects, as from taskflow's own worker
(``worker_based/protocol.py``, ``Request.from_dict``); any other class gets :class:`RemoteFailure`,
which answers the same questions. The other way, a task may *return* a taskflow failure, and that
counts as having failed (``worker_based/server.py``). taskflow is never imported here: if no task
module has, then no object of its can be about. Called by ``runner``; any thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from protocol.errors import ValueRefused
from protocol.failure import FailureDict
from protocol.values import Json, check

_TASKFLOW_MODULE: Final = "taskflow.types.failure"
#: The one version of the dict there has ever been (``Failure.DICT_VERSION``).
_VERSION: Final = 1
#: Most causes taken over from a returned failure; taskflow's own dict of them doubles with each.
MAX_CAUSES: Final = 16


class RemoteFailure:
    """An exception of another task of the flow, known by its names and its text."""

    def __init__(self, data: Mapping[str, Json]) -> None:
        said = _tidied(data)
        #: ``str()`` of the exception.
        self.exception_str: str = said["exception_str"]
        #: Its traceback as text, without the header line; may be empty.
        self.traceback_str: str = said["traceback_str"]
        #: What it was constructed with, as far as that could travel.
        self.exception_args: tuple[Json, ...] = tuple(said["exc_args"])
        #: What led to it, nearest first.
        self.causes: tuple[RemoteFailure, ...] = tuple(map(RemoteFailure, said["causes"]))
        self._type_names: tuple[str, ...] = tuple(said["exc_type_names"])

    def check(self, *exc_classes: type | str) -> type | str | None:
        """The first of these classes, or names of classes, that the exception is an instance of."""
        return next((c for c in exc_classes if _class_name(c) in self._type_names), None)

    def __iter__(self) -> Iterator[str]:
        """The names of the exception's class and of its bases, most specific first."""
        return iter(self._type_names)

    def __str__(self) -> str:
        return f"{self._type_names[0]}: {self.exception_str}"

    def __repr__(self) -> str:
        return f"<RemoteFailure {self}>"


def failure_maker(task_class: type) -> Callable[[Mapping[str, Json]], Any]:
    """What makes failures of dicts for tasks of this class: taskflow's own if it is taskflow's."""
    is_taskflows = any(base.__module__ == "taskflow.atom" for base in task_class.__mro__)
    taskflow = sys.modules.get(_TASKFLOW_MODULE)
    if not is_taskflows or taskflow is None:
        return RemoteFailure
    from_dict: Callable[[Mapping[str, Json]], Any] = taskflow.Failure.from_dict
    return lambda data: from_dict(_tidied(data))


def returned_failure(result: object) -> Any | None:
    """``result`` if it is a failure object of taskflow's, else None."""
    taskflow = sys.modules.get(_TASKFLOW_MODULE)
    return result if taskflow is not None and isinstance(result, taskflow.Failure) else None


def failure_dict(failure: Any) -> FailureDict:
    """A taskflow failure as the dict that travels.

    Not its own ``to_dict``: causes there repeat their causes, 2^n of them, and arguments that JSON
    cannot carry would make the answer unwritable.
    """
    said = _one_dict(failure)
    causes: Iterable[Any] = failure.causes or ()
    said["causes"] = [_one_dict(cause) for cause in list(causes)[:MAX_CAUSES]]
    return said


def _one_dict(failure: Any) -> FailureDict:
    try:
        arguments = list(failure.exception_args)
        check(arguments, "exception arguments")
    except (TypeError, ValueRefused):
        arguments = []
    return {
        "exception_str": str(failure.exception_str),
        "traceback_str": str(failure.traceback_str or ""),
        "exc_type_names": [str(name) for name in failure],
        "version": _VERSION,
        "exc_args": arguments,
        "causes": [],
    }


def _tidied(data: Mapping[str, Json]) -> dict[str, Json]:
    """All six keys and no other: taskflow's ``from_dict`` raises for one more."""
    return {
        "exception_str": str(data.get("exception_str", "")),
        "traceback_str": str(data.get("traceback_str") or ""),
        "exc_type_names": list(data.get("exc_type_names") or ("Exception",)),
        "version": _VERSION,
        "exc_args": list(data.get("exc_args") or ()),
        "causes": [_tidied(cause) for cause in data.get("causes") or ()],
    }


def _class_name(thing: type | str) -> str:
    """As taskflow writes it: builtins without their module, everything else with it."""
    if isinstance(thing, str):
        return thing
    if thing.__module__ == "builtins":
        return thing.__name__
    return f"{thing.__module__}.{thing.__name__}"
