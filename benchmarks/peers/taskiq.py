"""Taskiq and its own project's brokers. Its results return through Redis, on RabbitMQ too."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

_SETTINGS: Final = {
    "redis": (
        Setting(
            "best",
            "`taskiq worker --workers 1 --max-async-tasks 200`, coroutine tasks, "
            "`ListQueueBroker`, results looked for every 2 ms",
        ),
        Setting(
            "default",
            "`taskiq worker`: two processes, plain functions; results looked for every 200 ms",
        ),
    ),
    "amqp": (
        Setting(
            "best",
            "`taskiq worker --workers 1 --max-async-tasks 200`, coroutine tasks, `AioPikaBroker` "
            "with `qos=200`, results looked for every 2 ms",
        ),
        Setting(
            "default",
            "`taskiq worker`: two processes, plain functions; results looked for every 200 ms",
        ),
    ),
}


def _worker(ground: Ground, number: int) -> list[str]:
    words = () if ground.setting == "default" else ("--workers", "1", "--max-async-tasks", "200")
    level = ("--log-level", "WARNING")
    return [
        sys.executable,
        "-m",
        "taskiq",
        "worker",
        "benchmarks.apps.taskiq:broker",
        *level,
        *words,
    ]


PEER: Final = Peer(
    name="taskiq",
    kind="peer",
    app="benchmarks.apps.taskiq",
    settings=_SETTINGS,
    worker=_worker,
    packages=("taskiq", "taskiq-redis", "taskiq-aio-pika", "redis", "aio-pika"),
    needs_redis=True,
)
