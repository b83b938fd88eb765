"""Huey. It has no RabbitMQ."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

_SETTINGS: Final = (
    Setting("best", "`huey_consumer -w 1`, results looked for every 2 ms"),
    Setting("notify", "`huey_consumer -w 1`, `RedisHuey(notify_result=True)`: nobody polls"),
    Setting(
        "default", "`huey_consumer`: one thread; results looked for after 50 ms, then less often"
    ),
)


def _worker(ground: Ground, number: int) -> list[str]:
    words = () if ground.setting == "default" else ("-w", "1", "-q")
    return [sys.executable, "-m", "huey.bin.huey_consumer", "benchmarks.apps.huey.huey", *words]


PEER: Final = Peer(
    name="huey",
    kind="peer",
    app="benchmarks.apps.huey",
    settings={"redis": _SETTINGS},
    worker=_worker,
    packages=("huey", "redis"),
)
