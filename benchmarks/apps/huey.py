"""Huey: what its consumer loads, and the submitting side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from huey import RedisHuey
from huey.exceptions import ResultTimeout

from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS

_POLL: Final = 0.002  # seconds


def make(ground: Ground) -> RedisHuey:
    """The queue on this ground."""
    return RedisHuey("benchmarks", url=ground.url, notify_result=ground.setting == "notify")


huey = make(Ground.from_environment())
_tasks: dict[str, Any] = {name: huey.task(name=name)(run) for name, run in TASKS.items()}


class _Client(Client):
    def __init__(self, ground: Ground) -> None:
        self._waits = {"max_delay": _POLL} if ground.setting == "best" else {}

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        function = _tasks[task]
        return [function(value) for value in values]

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        until = time.monotonic() + timeout
        try:
            return [
                handle.get(
                    blocking=True, timeout=max(0.001, until - time.monotonic()), **self._waits
                )
                for handle in handles
            ]
        except ResultTimeout as error:
            raise TimeoutError(f"not all of {len(handles)} came") from error

    def close(self) -> None:
        """Its connections end with the process."""


def connect(ground: Ground) -> Client:
    """The submitting side of the queue."""
    return _Client(ground)
