"""OpenStack taskflow: its worker-based engine, and at best the executor that the engine stands on.

Each of its workers has a topic of its own.
"""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

#: The topic of a worker.
TOPIC: Final = "worker-{}"
_BEST: Final = Setting(
    "best",
    "taskflow's own worker command; `WorkerTaskExecutor` without the engine above it; requests "
    "expire after an hour and not after a minute, so that many may wait",
)
_DEFAULT: Final = Setting(
    "default",
    "taskflow's own worker command; what is submitted at once is an unordered flow, which "
    "`taskflow.engines.run` runs with `engine='worker-based'`",
)
_BOTH: Final = (_BEST, _DEFAULT)


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
    # On memory both are polled every millisecond, without which either takes seconds for each task.
    settings={"redis": _BOTH, "amqp": _BOTH, "memory": _BOTH},
    worker=_worker,
    packages=("taskflow", "kombu", "redis", "amqp"),
)
