"""Celery. On RabbitMQ its results return over it (``rpc://``), on Redis over Redis."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.ground import Ground
from benchmarks.peers.peer import Peer, Setting

_QUIET: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_WORDS: Final = {
    "best": ("--pool", "threads", "--concurrency", "4", "--prefetch-multiplier", "64", *_QUIET),
    "solo": ("--pool", "solo", "--prefetch-multiplier", "64", *_QUIET),
    "default": (),
}
_SETTINGS: Final = (
    Setting("best", f"`celery worker {' '.join(_WORDS['best'])}`, transient messages"),
    Setting("solo", f"`celery worker {' '.join(_WORDS['solo'])}`, transient messages"),
    Setting("default", "`celery worker`: prefork, a process for each core"),
)


def _worker(ground: Ground, number: int) -> list[str]:
    app = ("--app", "benchmarks.apps.celery", "worker", "--loglevel", "WARNING")
    # Two of one name on one machine would be taken for one.
    name = ("--hostname", f"worker{number}@%h")
    return [sys.executable, "-m", "celery", *app, *name, *_WORDS[ground.setting]]


PEER: Final = Peer(
    name="celery",
    kind="peer",
    app="benchmarks.apps.celery",
    settings={"redis": _SETTINGS, "amqp": _SETTINGS},
    worker=_worker,
    packages=("celery", "kombu", "redis", "amqp"),
)
