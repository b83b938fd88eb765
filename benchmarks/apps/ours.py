"""Taskline: ``Executor`` and, on ``memory``, ``Worker`` beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.apps.futures import results
from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS
from executor import Executor


class _Client(Client):
    def __init__(self, ground: Ground) -> None:
        if ground.setting == "journal":
            journal = Path(ground.folder, "journal")
            self._executor = Executor(ground.url, name="benchmarks", journal=journal)
        else:
            self._executor = Executor(ground.url)

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        function = TASKS[task]
        return [self._executor.submit(function, value) for value in values]

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        return results(handles, timeout)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)


class _Inside:
    """A worker in this process."""

    def __init__(self, ground: Ground) -> None:
        from worker import Worker  # noqa: PLC0415 - elsewhere it is a process of its own

        pool: Literal["processes", "threads"] = (
            "threads" if ground.setting == "threads" else "processes"
        )
        self._worker = Worker(["benchmarks.tasks"], url=ground.url, pool=pool)
        self._worker.start()

    def close(self) -> None:
        self._worker.stop()


def connect(ground: Ground) -> Client:
    """An executor."""
    return _Client(ground)


def serve(ground: Ground) -> _Inside:
    """A worker in this process."""
    return _Inside(ground)
