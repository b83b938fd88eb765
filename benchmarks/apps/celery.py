"""Celery: the app that the worker loads, and the submitting side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeout

from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS


def make(ground: Ground) -> Celery:
    """The app on this ground."""
    app = Celery(
        "benchmarks",
        broker=ground.url,
        backend="rpc://" if ground.broker == "amqp" else ground.result_url,
    )
    app.conf.broker_connection_retry_on_startup = True
    if ground.setting != "default":
        app.conf.task_default_delivery_mode = "transient"
    return app


app = make(Ground.from_environment())
_tasks: dict[str, Any] = {name: app.task(name=name)(run) for name, run in TASKS.items()}


class _Client(Client):
    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        function = _tasks[task]
        return [function.delay(value) for value in values]

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        # Each by itself: a ResultSet's join is no quicker with any number, and on Redis waits half
        # a second for a single one.
        until = time.monotonic() + timeout
        try:
            return [handle.get(timeout=max(0.001, until - time.monotonic())) for handle in handles]
        except CeleryTimeout as error:
            raise TimeoutError(f"not all of {len(handles)} came: {error}") from error

    def close(self) -> None:
        app.close()


def connect(ground: Ground) -> Client:
    """The submitting side of the app."""
    return _Client()
