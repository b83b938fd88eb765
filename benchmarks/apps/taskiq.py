"""Taskiq: the broker that its command loads, and the submitting side, a loop of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from taskiq import TaskiqResultTimeoutError
from taskiq_aio_pika import AioPikaBroker
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS

_POLL: Final = {"best": 0.002, "default": 0.2}  # seconds; the second is taskiq's own


def make(ground: Ground) -> Any:
    """The broker on this ground."""
    results: Any = RedisAsyncResultBackend(ground.result_url)
    if ground.broker == "redis":
        return ListQueueBroker(ground.url).with_result_backend(results)
    options = {"qos": 200} if ground.setting == "best" else {}
    return AioPikaBroker(ground.url, **options).with_result_backend(results)


def _coroutine(run: Callable[[Any], Any]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    async def task(value: Any) -> Any:
        return run(value)

    return task


_ground = Ground.from_environment()
broker = make(_ground)
_tasks: dict[str, Any] = {
    name: broker.register_task(_coroutine(run) if _ground.setting == "best" else run, name)
    for name, run in TASKS.items()
}


class _Client(Client):
    def __init__(self) -> None:
        self._poll = _POLL[_ground.setting]
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(broker.startup())

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        return self._loop.run_until_complete(self._submit(task, values))

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        return self._loop.run_until_complete(self._gather(handles, timeout))

    def call(self, task: str, value: Any, timeout: float) -> Any:
        async def call() -> Any:
            return (await self._gather(await self._submit(task, [value]), timeout))[0]

        return self._loop.run_until_complete(call())

    def close(self) -> None:
        self._loop.run_until_complete(broker.shutdown())

    async def _submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        function = _tasks[task]
        return [await function.kiq(value) for value in values]

    async def _gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        # One after the other: if all are waited for at once, all of them poll.
        until = time.monotonic() + timeout
        found = []
        for handle in handles:
            try:
                result = await handle.wait_result(
                    check_interval=self._poll, timeout=max(0.001, until - time.monotonic())
                )
            except TaskiqResultTimeoutError as error:
                raise TimeoutError(f"not all of {len(handles)} came") from error
            result.raise_for_error()
            found.append(result.return_value)
        return found


def connect(ground: Ground) -> Client:
    """The submitting side of the broker."""
    return _Client()
