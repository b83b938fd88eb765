"""What a running task may say, and ask: how far it is, events of its own, its accelerators.

The task finds whom to tell in a context variable, so that it works in threads and in the tasks of
an event loop (``asyncio.to_thread`` and ``contextvars.copy_context().run`` carry it into further
threads; a bare ``threading.Thread`` starts without it). Outside of a worker there is nobody to tell
and both functions do nothing, so a task is tested by calling it.

Whoever runs a task opens the context with :func:`telling`; how it travels is none of this room's
business. Any thread; loads nothing but ``protocol.values`` and ``protocol.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from protocol.values import Json
from worker.payload import write

#: Takes the type of a task event and the JSON text of its details; called on the task's own thread.
Tell = Callable[[str, str], None]

#: The event by which a task tells how far it is (taskflow ``task.EVENT_UPDATE_PROGRESS``). Spelled
#: here again because ``protocol.messages`` loads the schemas, which a module of tasks must not pay
#: for.
UPDATE_PROGRESS: Final = "update_progress"

_devices: ContextVar[Mapping[str, list[int]] | None] = ContextVar("taskline_devices", default=None)
_tell: ContextVar[Tell | None] = ContextVar("taskline_tell", default=None)


def progress(fraction: float, /, **details: Json) -> None:
    """Tell the caller that the running task is done by ``fraction``, from 0.0 to 1.0.

    What lies outside is moved to the nearer end. ``details`` travel beside it, so ``progress(0.5,
    file="a.png")`` arrives as ``{"progress": 0.5, "file": "a.png"}``. Raises ``ValueRefused`` for a
    detail that may not travel, or a fraction of NaN. Nothing more happens outside of a worker.
    """
    task_event(UPDATE_PROGRESS, **{**details, "progress": _clamped(fraction)})


def task_event(event_type: str, /, **details: Json) -> None:
    """Tell the caller something else about the running task: ``task_event("saved", path="a.png")``.

    Raises ``ValueError`` for an empty ``event_type`` and ``ValueRefused`` for a detail that may not
    travel, in a worker or not. Nothing more happens outside of a worker, or after the task's end.
    """
    if not event_type or not isinstance(event_type, str):
        raise ValueError(f"a task event needs a name, and {event_type!r} is none")
    text = write(details, f"task event {event_type!r}")
    tell = _tell.get()
    if tell is not None:
        tell(event_type, text)


def accelerators() -> dict[str, list[int]]:
    """The accelerators that the running task has for itself: numbers by kind, ``{"gpu": [0, 2]}``.

    As many as its ``resources`` ask for, each from 0, on its worker's machine. Empty outside of a
    worker, and where it asked for none.
    """
    return {kind: list(numbers) for kind, numbers in (_devices.get() or {}).items()}


@contextmanager
def having(devices: Mapping[str, list[int]] | None) -> Iterator[None]:
    """The code inside has these accelerators."""
    token = _devices.set(devices)
    try:
        yield
    finally:
        _devices.reset(token)


@contextmanager
def telling(tell: Tell) -> Iterator[Tell]:
    """Whatever the code inside says goes to ``tell``; what it says after the end goes nowhere.

    Gives the ``tell`` that ends with the block, for events that come by another way.
    """
    over = False

    def tell_until_over(event_type: str, details: str) -> None:
        if not over:
            tell(event_type, details)

    token = _tell.set(tell_until_over)
    try:
        yield tell_until_over
    finally:
        over = True
        _tell.reset(token)


def _clamped(fraction: float) -> float:
    number = float(fraction)
    return number if number != number else min(max(number, 0.0), 1.0)
