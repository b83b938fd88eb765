"""taskflow tasks as users write them, and as they should not: what the interop flows are made of.

The worker under test imports this module by name, in another process or in this one; the engine
has it too and sends only names and arguments. Nothing here may therefore count on memory shared
between the two: what a test must see afterwards travels as a result, an event or through a file.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any, Final

from taskflow import task
from taskflow.types.failure import Failure

Described = dict[str, Any]


def _describe(value: Any) -> Any:
    """What a revert was given, as JSON: a failure by what a flow's author can ask of one."""
    if not isinstance(value, Failure):
        return value
    known = value.check(ValueError, KeyError, RuntimeError)
    return {"failed": value.exception_str, "as": known.__name__ if known else None}


class Add(task.Task):  # type: ignore[misc]
    """Two numbers in, their sum out."""

    def execute(self, x: Any, y: Any) -> Any:
        return x + y


class AddMore(Add):
    """A task that has everything from its base class."""


class Echo(task.Task):  # type: ignore[misc]
    """Gives back what it gets."""

    def execute(self, value: Any) -> Any:
        return value


class Optional(task.Task):  # type: ignore[misc]
    """One argument has a default."""

    def execute(self, x: int, by: int = 10) -> int:
        return x * by


class Pair(task.Task):  # type: ignore[misc]
    """A tuple, from which the engine provides two values."""

    def execute(self, value: int) -> tuple[int, int]:
        return value - 1, value + 1


class OwnName(task.Task):  # type: ignore[misc]
    """Gives back the name it was given in its flow."""

    def execute(self) -> str:
        return str(self.name)


class Progress(task.Task):  # type: ignore[misc]
    """Reports progress, and events of its own."""

    TASK_EVENTS = (task.EVENT_UPDATE_PROGRESS, "resized")

    def execute(self, steps: int) -> int:
        for step in range(1, steps):
            self.update_progress(step / steps)
            self.notifier.notify("resized", {"step": step, "size": [step, step * 2]})
        return steps


class Hooked(task.Task):  # type: ignore[misc]
    """Says when each of the hooks around it is called."""

    TASK_EVENTS = (task.EVENT_UPDATE_PROGRESS, "called")

    def _called(self, hook: str) -> None:
        self.notifier.notify("called", {"hook": hook})

    def pre_execute(self) -> None:
        self._called("pre_execute")

    def execute(self) -> None:
        self._called("execute")

    def post_execute(self) -> None:
        self._called("post_execute")

    def pre_revert(self) -> None:
        self._called("pre_revert")

    def revert(self, result: Any, flow_failures: Any) -> None:
        self._called("revert")

    def post_revert(self) -> None:
        self._called("post_revert")


class Undoable(task.Task):  # type: ignore[misc]
    """Its revert gives back what it was told, in words that travel."""

    def execute(self, x: Any) -> dict[str, Any]:
        return {"made": x}

    def revert(self, result: Any, flow_failures: dict[str, Any], **kwargs: Any) -> Described:
        return {
            "result": _describe(result),
            "failures": {name: _describe(failure) for name, failure in flow_failures.items()},
        }


class UndoableWithArgument(task.Task):  # type: ignore[misc]
    """Its revert asks for an argument of its own beside what every revert gets."""

    def execute(self, x: int) -> int:
        return x

    def revert(self, x: int, result: Any, flow_failures: Any) -> list[Any]:
        return [x, result, sorted(flow_failures)]


class UndoesWithProgress(task.Task):  # type: ignore[misc]
    """Reports progress while it is reverted."""

    def execute(self) -> None:
        pass

    def revert(self, result: Any, flow_failures: Any) -> None:
        self.update_progress(0.25)


class Boom(task.Task):  # type: ignore[misc]
    """A ValueError with arguments, caused by a KeyError."""

    def execute(self) -> None:
        try:
            dict[str, int]()["missing"]
        except KeyError as missing:
            raise ValueError("boom", 42) from missing

    def revert(self, result: Any, flow_failures: Any) -> Any:
        return _describe(result)


class FailsUntil(task.Task):  # type: ignore[misc]
    """Fails until a file has ``wanted`` lines, adding one each time it is run."""

    def execute(self, path: str, wanted: int) -> int:
        with Path(path).open("a") as tally:
            tally.write("run\n")
        runs = len(Path(path).read_text().splitlines())
        if runs < wanted:
            raise RuntimeError(f"run {runs} of {wanted}")
        return runs


class FailsUnless(task.Task):  # type: ignore[misc]
    """Fails for every value but one."""

    def execute(self, value: int, wanted: int) -> int:
        if value != wanted:
            raise RuntimeError(f"{value} is not {wanted}")
        return value


class RevertFails(task.Task):  # type: ignore[misc]
    """Runs well and cannot be undone."""

    def execute(self) -> int:
        return 1

    def revert(self, result: Any, flow_failures: Any) -> None:
        raise RuntimeError("it cannot be undone")


class Hold(task.Task):  # type: ignore[misc]
    """Runs until somebody has written to a FIFO and closed it; gives back what was written."""

    def execute(self, fifo: str) -> str:
        return Path(fifo).read_text()


class ReturnsAnObject(task.Task):  # type: ignore[misc]
    """What it returns cannot travel."""

    def execute(self) -> object:
        return {"deep": [1, {"thing": object()}]}


class ReturnsNotANumber(task.Task):  # type: ignore[misc]
    """What it returns has no JSON."""

    def execute(self) -> float:
        return float("nan")


class RaisesAnObject(task.Task):  # type: ignore[misc]
    """The argument of what it raises cannot travel."""

    def execute(self) -> None:
        raise ValueError(object())


class RaisesAnObjectDeepDown(task.Task):  # type: ignore[misc]
    """The argument of what caused its exception cannot travel."""

    def execute(self) -> None:
        try:
            raise KeyError(object())
        except KeyError as inner:
            raise ValueError("outer") from inner


class RaisesAChain(task.Task):  # type: ignore[misc]
    """Forty exceptions, each the cause of the next."""

    def execute(self) -> None:
        error: BaseException = ValueError("link 0")
        for link in range(1, 40):
            outer = ValueError(f"link {link}")
            outer.__cause__ = error
            error = outer
        raise error


class UnprintableError(Exception):
    """An exception that raises when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class RaisesUnprintable(task.Task):  # type: ignore[misc]
    """Even the text of what it raises fails."""

    def execute(self) -> None:
        raise UnprintableError


class RaisesNested(task.Task):  # type: ignore[misc]
    """Its exception's class can be found under no module's name."""

    def execute(self) -> None:
        class LocalError(ValueError):
            pass

        raise LocalError("from within")


class Exits(task.Task):  # type: ignore[misc]
    """Leaves by SystemExit."""

    def execute(self) -> None:
        raise SystemExit(3)


class Interrupts(task.Task):  # type: ignore[misc]
    """Leaves by KeyboardInterrupt."""

    def execute(self) -> None:
        raise KeyboardInterrupt


class Dies(task.Task):  # type: ignore[misc]
    """Ends the process it runs in, without a word."""

    def execute(self) -> None:
        os._exit(9)


class WantsMore(task.Task):  # type: ignore[misc]
    """No worker can construct it: a worker knows its name and nothing else."""

    def __init__(self, colour: str, name: str | None = None) -> None:
        super().__init__(name=name)
        self.colour = colour

    def execute(self) -> str:
        return self.colour


#: No JSON of a peer's can read it: Python refuses to read integers of more than 4300 digits.
VAST: Final = 10**5000

#: kombu reads exactly these two keys as a value of its own kinds, and raises if it is none.
FALSE_KIND: Final = {"__type__": "person", "__value__": 1}


class ReturnsAVastNumber(task.Task):  # type: ignore[misc]
    """What it returns can be written, and not be read by taskflow's engine."""

    def execute(self) -> int:
        return VAST


class RaisesAVastNumber(task.Task):  # type: ignore[misc]
    """Neither its exception's arguments nor those of the cause can be read there."""

    def execute(self) -> None:
        try:
            raise KeyError(VAST)
        except KeyError as inner:
            raise ValueError("vast", VAST) from inner


class ReturnsAFalseKind(task.Task):  # type: ignore[misc]
    """What it returns makes kombu raise where it is read."""

    def execute(self) -> dict[str, Any]:
        return {"inside": [FALSE_KIND]}


class RaisesAFalseKind(task.Task):  # type: ignore[misc]
    """The argument of what it raises makes kombu raise where it is read."""

    def execute(self) -> None:
        raise ValueError("false", FALSE_KIND)


class EventsThatCannotTravel(task.Task):  # type: ignore[misc]
    """Events that cannot be written, or not be read, then one that can, then a result."""

    TASK_EVENTS = (task.EVENT_UPDATE_PROGRESS, "said")

    def execute(self) -> str:
        for note in (datetime.datetime.now(tz=datetime.timezone.utc), object(), VAST, FALSE_KIND):
            self.notifier.notify("said", {"note": note})
        self.notifier.notify("said", {"note": "still here"})
        return "done"
