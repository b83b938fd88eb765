"""Dramatiq. Its results return through Redis, on RabbitMQ too: its other store is Memcached."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

_SETTINGS: Final = (
    Setting("best", "`dramatiq --processes 1 --threads 8`"),
    Setting("default", "`dramatiq`: a process for each core, 8 threads in each"),
)


def _worker(ground: Ground, number: int) -> list[str]:
    words = ("--processes", "1", "--threads", "8") if ground.setting == "best" else ()
    return [sys.executable, "-m", "dramatiq", "benchmarks.apps.dramatiq", *words]


PEER: Final = Peer(
    name="dramatiq",
    kind="peer",
    app="benchmarks.apps.dramatiq",
    settings={"redis": _SETTINGS, "amqp": _SETTINGS},
    worker=_worker,
    packages=("dramatiq", "redis", "pika"),
    needs_redis=True,
)
