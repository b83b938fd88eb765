"""What bare programs reach that move the same messages and promise nothing."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting


def _worker(ground: Ground, number: int) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.apps.{ground.peer}"]


_SKETCH: Final = (
    Setting(
        "default",
        "kombu's own Producer and Consumer with acknowledgements, up to 500 inner messages in one "
        "broker message, orjson, each response checked by fastjsonschema, real futures, "
        "`ThreadPoolExecutor(4)` for the tasks; RUNNING and SUCCESS are sent; no lease, journal, "
        "receipt or retry",
    ),
    Setting("lists", "the same, but the tasks of one broker message go to the pool together"),
)
SKETCH: Final = Peer(
    name="sketch",
    kind="ceiling",
    app="benchmarks.apps.sketch",
    settings={"redis": _SKETCH, "amqp": _SKETCH},
    worker=_worker,
    packages=("kombu", "redis", "amqp", "orjson", "fastjsonschema"),
)

RAW: Final = Peer(
    name="raw",
    kind="ceiling",
    app="benchmarks.apps.raw",
    settings={
        "redis": (
            Setting(
                "default",
                "redis-py, pipelines of up to 100 LPUSH, RPOP of up to 100; one message each for "
                "REQUEST, RUNNING and SUCCESS, orjson; no thread, no future, no check",
            ),
        ),
        "amqp": (
            Setting(
                "default",
                "py-amqp, transient messages without acknowledgement, one connection for each "
                "direction; one message each for REQUEST, RUNNING and SUCCESS, orjson; no thread, "
                "no future, no check",
            ),
        ),
    },
    worker=_worker,
    packages=("redis", "amqp", "orjson"),
)

KOMBU: Final = Peer(
    name="kombu",
    kind="ceiling",
    app="benchmarks.apps.bare_kombu",
    settings={
        broker: (
            Setting(
                "default",
                "kombu's own Producer and Consumer with acknowledgements, its JSON, one message "
                "each for REQUEST, RUNNING and SUCCESS, futures",
            ),
        )
        for broker in ("redis", "amqp", "memory")
    },
    worker=lambda ground, number: [sys.executable, "-m", "benchmarks.apps.bare_kombu"],
    packages=("kombu", "redis", "amqp"),
)
