"""F16: the broker lives, and all that it kept is gone: FLUSHALL, queues and exchanges deleted."""

from __future__ import annotations

import threading
import time

import kombu

from bus.wire.deadlines import REFRESH
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import Play, Scenario
from tests.faults.stage import wait_for

WORKERS, SLOTS = 2, 4


def play(play: Play) -> None:
    executor = play.executor()
    batch = Batch(executor)
    with play.workers(WORKERS, concurrency=SLOTS, beat=1.0):
        executor.wait_for_workers(WORKERS, 60)
        is_over = threading.Event()
        feeder = threading.Thread(target=_feed, args=(play, batch, is_over))
        feeder.start()
        try:
            for _ in range(play.number("cycles")):
                time.sleep(play.random.uniform(0.5, 1.5))
                gone = _empty(play)
                play.await_recovery(batch, gone, within=5.0)
        finally:
            is_over.set()
            feeder.join(30)
        play.judge(batch, 120)


def _empty(play: Play) -> float:
    """Remove it all; when that was done."""
    if isinstance(play.server, PrivateRedis):
        play.server.command("FLUSHALL")
    else:
        assert isinstance(play.server, PrivateRabbitMQ)
        kind = "exchanges" if play.variant == "exchanges" else "queues"
        # Those that were deleted before may be missed by nobody yet: requests go past the exchange.
        there = wait_for(lambda: bool(_ours(play, kind)), 2 * REFRESH)
        play.expect(there, f"there were no {kind} to delete")
        ours = _ours(play, kind)
        with kombu.Connection(play.url) as connection:
            channel = connection.default_channel
            for name in ours:
                (channel.exchange_delete if kind == "exchanges" else channel.queue_delete)(name)
    return time.monotonic()


def _ours(play: Play, kind: str) -> list[str]:
    """The names of all queues, or exchanges, that are of this play."""
    assert isinstance(play.server, PrivateRabbitMQ)
    names = play.server.control(f"list_{kind}", "name", "--no-table-headers").splitlines()
    return [name for name in names if play.exchange in name]


def _feed(play: Play, batch: Batch, is_over: threading.Event) -> None:
    """Fifty requests a second."""
    while not is_over.wait(0.02):
        number = len(batch)
        batch.submit(number, errands.work, play.marks.folder, number, 0.01)


SCENARIO = Scenario(
    "F16",
    "broker emptied",
    "Fifty requests a second, while FLUSHALL, or the deletion of all our queues or exchanges, "
    "takes away what the broker kept. Recovery is the time from then to the end of a request that "
    "was submitted after it.",
    play,
    ("redis", "redis-aof", "amqp"),
    quick={"cycles": 2, "deadline": 180},
    full={"cycles": 10, "deadline": 400},
    variants=("queues", "exchanges"),
    only={"exchanges": ("amqp",)},
)
