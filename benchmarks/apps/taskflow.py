"""taskflow: task classes that its worker loads, and both ways to have them run."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from taskflow import engines
from taskflow.engines.worker_based.executor import WorkerTaskExecutor
from taskflow.engines.worker_based.worker import Worker
from taskflow.patterns.unordered_flow import Flow
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
#: At once. Of two the rest waits longer; of ten, each of a hundred tasks, none ends in a minute.
_FLOWS: Final = 5


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


def _topics(ground: Ground) -> list[str]:
    return [TOPIC.format(number) for number in range(ground.workers)]


class _Direct(Client):
    """The executor by itself."""

    def __init__(self, ground: Ground) -> None:
        self._tasks = {name: kind() for name, kind in _TASKS.items()}
        self._executor = WorkerTaskExecutor(
            uuid=str(uuid.uuid4()),
            exchange=_EXCHANGE,
            topics=_topics(ground),
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


class _Engine(Client):
    """A flow for what is submitted at once; a handle is its future and a place in it."""

    def __init__(self, ground: Ground) -> None:
        self._options = {
            "engine": "worker-based",
            "exchange": _EXCHANGE,
            "topics": _topics(ground),
            **_options(ground),
        }
        self._pool = ThreadPoolExecutor(_FLOWS)

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        flow = self._pool.submit(self._run, task, values)
        return [(flow, place) for place in range(len(values))]

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        flows = list(dict.fromkeys(flow for flow, _ in handles))
        done = dict(zip(flows, results(flows, timeout), strict=True))
        return [done[flow][place] for flow, place in handles]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, task: str, values: Sequence[Any]) -> list[Any]:
        flow = Flow(task)
        for place, value in enumerate(values):
            flow.add(_TASKS[task](f"{place}", provides=f"{place}", inject={"value": value}))
        found = engines.run(flow, **self._options)
        return [found[f"{place}"] for place in range(len(values))]


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
    """The executor, or the engine above it."""
    return _Direct(ground) if ground.setting == "best" else _Engine(ground)


def serve(ground: Ground) -> _Inside:
    """A worker in this process."""
    return _Inside(ground)
