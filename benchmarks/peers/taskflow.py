"""OpenStack taskflow's worker-based executor, without the engine above it, which costs more.

Each of its workers has a topic of its own.
"""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

#: The topic of a worker.
TOPIC: Final = "worker-{}"
_WORDS: Final = (
    "taskflow's own worker command and `WorkerTaskExecutor`, which its engine stands on; requests "
    "expire after an hour and not after a minute, so that many may wait"
)


def _worker(ground: Ground, number: int) -> list[str]:
    module = "taskflow.engines.worker_based.worker"
    words = ["--exchange", "benchmarks", "--topic", TOPIC.format(number)]
    words += ["--connection-url", ground.url]
    for task in ("Bump", "Turn", "Who"):
        words += ["--task", f"benchmarks.apps.taskflow:{task}"]
    return [sys.executable, "-m", module, *words]


PEER: Final = Peer(
    name="taskflow",
    kind="peer",
    app="benchmarks.apps.taskflow",
    settings={
        "redis": (Setting("default", _WORDS),),
        "amqp": (Setting("default", _WORDS),),
        "memory": (Setting("default", f"{_WORDS}; memory is polled every millisecond"),),
    },
    worker=_worker,
    packages=("taskflow", "kombu", "redis", "amqp"),
)
