"""taskflow: task classes that its worker loads, and the executor."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from typing import Any, Final

from taskflow.engines.worker_based.executor import WorkerTaskExecutor
from taskflow.engines.worker_based.worker import Worker
from taskflow.task import Task
from taskflow.types.failure import Failure

from benchmarks import tasks
from benchmarks.apps.futures import results
from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.peers.taskflow import TOPIC

_EXCHANGE: Final = "benchmarks"
_EXPIRY: Final = 3600.0  # seconds
_STOP: Final = 5.0  # seconds


class Bump(Task):  # type: ignore[misc, unused-ignore]
    """``tasks.bump``."""

    def execute(self, value: Any) -> Any:  # noqa: D102 - taskflow's
        return tasks.bump(value)


class Turn(Task):  # type: ignore[misc, unused-ignore]
    """``tasks.turn``."""

    def execute(self, value: Any) -> Any:  # noqa: D102 - taskflow's
        return tasks.turn(value)


class Who(Task):  # type: ignore[misc, unused-ignore]
    """``tasks.who``."""

    def execute(self, value: Any) -> Any:  # noqa: D102 - taskflow's
        return tasks.who(value)


_TASKS: Final = {"bump": Bump, "turn": Turn, "who": Who}


def _options(ground: Ground) -> dict[str, Any]:
    if ground.broker == "memory":
        return {"transport": "memory", "transport_options": {"polling_interval": 0.001}}
    return {"url": ground.url}


class _Client(Client):
    def __init__(self, ground: Ground) -> None:
        self._tasks = {name: kind() for name, kind in _TASKS.items()}
        self._executor = WorkerTaskExecutor(
            uuid=str(uuid.uuid4()),
            exchange=_EXCHANGE,
            topics=[TOPIC.format(number) for number in range(ground.workers)],
            transition_timeout=_EXPIRY,
            **_options(ground),
        )
        self._executor.start()

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        what = self._tasks[task]
        return [
            self._executor.execute_task(what, str(uuid.uuid4()), {"value": value})
            for value in values
        ]

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        found = [result for _, result in results(handles, timeout)]
        for result in found:
            if isinstance(result, Failure):
                result.reraise()
        return found

    def close(self) -> None:
        self._executor.stop()


class _Inside:
    """A worker on a thread of this process."""

    def __init__(self, ground: Ground) -> None:
        offers = list(_TASKS.values())
        self._worker = Worker(_EXCHANGE, TOPIC.format(0), offers, **_options(ground))
        self._thread = threading.Thread(target=self._worker.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._worker.stop()
        self._thread.join(_STOP)


def connect(ground: Ground) -> Client:
    """An executor."""
    return _Client(ground)


def serve(ground: Ground) -> _Inside:
    """A worker in this process."""
    return _Inside(ground)
