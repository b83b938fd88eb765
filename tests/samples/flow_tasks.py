"""Tasks as taskflow's users write them: subclasses of its own class."""

from __future__ import annotations

import abc
from typing import Any

from taskflow import task
from taskflow.types import failure, notifier


class Base(task.Task, metaclass=abc.ABCMeta):
    """An abstract one, which cannot be offered."""

    @abc.abstractmethod
    def more(self) -> None:
        """Have to be written."""


class Add(task.Task):
    """Add, with progress and an undoing that looks at everything it gets."""

    version = (1, 3)

    def execute(self, x: int, y: int) -> int:
        """Add."""
        self.update_progress(0.25)
        return x + y

    def revert(self, x: int, result: Any, flow_failures: Any, **_kwargs: Any) -> dict[str, Any]:
        """Tell of what was handed over."""
        return {
            "x": x,
            "result": result if isinstance(result, int) else type(result).__module__,
            "kinds": [isinstance(each, failure.Failure) for each in flow_failures.values()],
            "values": [bool(each.check(ValueError)) for each in flow_failures.values()],
        }


class Silent(task.Task):
    """A task that does not say how to undo it."""

    def execute(self) -> str:
        """Return its name."""
        return self.name


class Speaking(task.Task):
    """A task with events of its own."""

    TASK_EVENTS = (task.EVENT_UPDATE_PROGRESS, "my_event")

    def execute(self) -> None:
        """Say it."""
        self.notifier.notify("my_event", {"note": "hi"})


class Open(task.Task):
    """A task whose notifier lets everything through."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self._notifier = notifier.Notifier()

    def execute(self) -> None:
        """Say something nobody declared."""
        self.notifier.notify("anything", {"n": 1})


class ReturnsFailure(task.Task):
    """A task that hands its failure back instead of raising."""

    def execute(self) -> Any:
        """Return a failure with arguments that cannot travel, from a long chain."""
        try:
            _deep(20)
        except ValueError:
            return failure.Failure()


def _deep(levels: int) -> None:
    try:
        if levels:
            _deep(levels - 1)
        else:
            raise KeyError("the first")
    except (KeyError, ValueError) as error:
        raise ValueError({levels}) from error


class Demanding(task.Task):
    """A task whose constructor needs more than a name."""

    def __init__(self, name: str, more: str) -> None:
        super().__init__(name=name)

    def execute(self) -> None:
        """Do nothing."""
