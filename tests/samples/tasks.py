"""Tasks of every plain kind, none of which kills its process. For both kinds of pool."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache, partial
from os.path import join  # noqa: F401  imported, so this module must not offer it
from pathlib import Path
from typing import Any

from worker import progress, task, task_event

_LEFTOVER: contextvars.ContextVar[str] = contextvars.ContextVar("leftover", default="clean")


def add(x: int, y: int = 0) -> int:
    """Add two numbers.

    This second line is no part of what is offered.
    """
    return x + y


async def add_slowly(x: int, y: int) -> int:
    """Add in an event loop."""
    await asyncio.sleep(0)
    await asyncio.gather(*(_say_in_a_task(number) for number in range(2)))
    return x + y


async def _say_in_a_task(number: int) -> None:
    task_event("part", number=number)


@task(name="renamed", version=(2, 1))
def called_otherwise(x: int) -> int:
    """Return what came."""
    return x


@cache
def cached(x: int) -> int:
    """Return the double, remembered."""
    return 2 * x


def echo(*args: Any, **kwargs: Any) -> list[Any]:
    """Return the arguments."""
    return [list(args), kwargs]


def a_tuple() -> tuple[int, int]:
    """Return a tuple, which arrives as a list."""
    return (1, 2)


def huge_int() -> int:
    """Return an int that ``str()`` refuses."""
    return 10**5000


def a_set() -> dict[str, Any]:
    """Return what cannot travel."""
    return {"images": [1, {"size": {1, 2}}]}


def nested(depth: int) -> list[Any]:
    """Return a list so deep."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def large(count: int) -> str:
    """Return so many characters."""
    return "x" * count


def fail(text: str) -> None:
    """Raise, from something else."""
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError(text, 42) from error


def fail_with_a_set() -> None:
    """Raise with an argument that cannot travel."""
    raise ValueError({1, 2})


def exit_system() -> None:
    """Ask the interpreter to end."""
    sys.exit(3)


def interrupt() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def end_a_generator() -> None:
    """Raise what no handler for Exception sees."""
    raise GeneratorExit


def say(fractions: list[float], event: str) -> str:
    """Tell of progress, and of an event."""
    for fraction in fractions:
        progress(fraction, of="work")
    task_event(event, note="hello")
    return "said"


def say_a_set() -> None:
    """Tell of something that cannot travel."""
    task_event("odd", value={1})


def say_from_a_thread() -> None:
    """Tell from a thread that runs in the context of the task."""
    context = contextvars.copy_context()
    thread = threading.Thread(target=partial(context.run, progress, 0.5))
    thread.start()
    thread.join()


def leave_something() -> str:
    """Return what an earlier run left in a context variable, and leave something."""
    found = _LEFTOVER.get()
    _LEFTOVER.set("used")
    return found


def process_id() -> int:
    """Return the process that runs this."""
    return os.getpid()


def wait_for_file(path: str) -> str:
    """Return when the file is there."""
    while not Path(path).exists():
        time.sleep(0.005)
    return "found"


def count_up(limit: int) -> Iterator[int]:
    """Yield, which no task may."""
    yield from range(limit)


class Twice:
    """Double a number, and halve it again."""

    def __init__(self, name: str) -> None:
        self.name = name

    def execute(self, x: int) -> dict[str, Any]:
        """Double."""
        return {"name": self.name, "x": 2 * x}

    def revert(self, result: Any, flow_failures: dict[str, Any]) -> dict[str, Any]:
        """Tell what is to be undone."""
        return {
            "result": result if isinstance(result, dict) else str(result),
            "failures": {
                name: [failure.exception_str, failure.check(KeyError, ValueError) is ValueError]
                for name, failure in flow_failures.items()
            },
        }


class Nameless:
    """A class that takes no name and has nothing to undo."""

    def execute(self) -> str:
        """Return a word."""
        return "nameless"


class Demanding:
    """A class that cannot be constructed."""

    def __init__(self, name: str, more: str) -> None:
        raise AssertionError

    def execute(self) -> None:
        """Do nothing."""


class Hooked:
    """A class whose hooks tell of their order."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def pre_execute(self) -> None:
        """Come first."""
        self.order.append("pre")

    def execute(self, *, broken: bool) -> None:
        """Come second."""
        self.order.append("execute")
        if broken:
            raise ValueError("broken")

    def post_execute(self) -> None:
        """Come last, and tell."""
        self.order.append("post")
        task_event("order", order=self.order)


class NoTask:
    """A class without execute is none."""


answer = partial(add, 40)


def _private() -> None:
    """Be nobody's business."""


def make(number: int) -> Any:
    """Make a function inside."""

    def made() -> int:
        return number

    return made


made_inside = make(3)
