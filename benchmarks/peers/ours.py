"""Taskline itself, started as a user starts it."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

_DEFAULT: Final = Setting(
    "default", "`python -m worker MODULE`, `Executor(url)`: nothing else said"
)
_THREADS: Final = Setting("threads", "the worker with `--pool threads`")
_JOURNAL: Final = Setting("journal", "as by default, and `Executor(url, name=…, journal=…)`")
_INSIDE: Final = Setting("default", "`Worker([MODULE])` and `Executor` in one process")
_INSIDE_THREADS: Final = Setting("threads", 'the same, `Worker([MODULE], pool="threads")`')


def _worker(ground: Ground, number: int) -> list[str]:
    words = ["--pool", "threads"] if ground.setting == "threads" else []
    return [sys.executable, "-m", "worker", "benchmarks.tasks", "--url", ground.url, *words]


PEER: Final = Peer(
    name="taskline",
    kind="ours",
    app="benchmarks.apps.ours",
    settings={
        "redis": (_DEFAULT, _THREADS, _JOURNAL),
        "amqp": (_DEFAULT, _THREADS, _JOURNAL),
        "local": (_DEFAULT, _THREADS, _JOURNAL),
        "memory": (_INSIDE, _INSIDE_THREADS),
    },
    worker=_worker,
    packages=("kombu", "redis", "amqp"),
)
