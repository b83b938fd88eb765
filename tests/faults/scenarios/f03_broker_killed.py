"""F3: the broker is killed, or stopped, and started again, under load."""

from __future__ import annotations

import threading
import time

from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SERVERS, Play, Scenario

WORKERS, SLOTS = 2, 4


def play(play: Play) -> None:
    executor = play.executor()
    batch = Batch(executor)
    back: list[float] = []
    with play.workers(WORKERS, concurrency=SLOTS, beat=1.0):
        executor.wait_for_workers(WORKERS, 60)
        is_over = threading.Event()
        feeder = threading.Thread(target=_feed, args=(play, batch, is_over))
        feeder.start()
        try:
            for _ in range(play.number("cycles")):
                time.sleep(play.random.uniform(0.5, 1.5))
                back.append(_restart(play))
                play.await_recovery(batch, back[-1], within=5.0)
        finally:
            is_over.set()
            feeder.join(30)
        # What runs while the broker is away longer than a lease may be started elsewhere.
        play.judge(batch, 120, again_allowed=len(back) * WORKERS * SLOTS)
    play.note(cycles=len(back))


def _feed(play: Play, batch: Batch, is_over: threading.Event) -> None:
    """Fifty requests a second, whether the broker is there or not."""
    while not is_over.wait(0.02):
        number = len(batch)
        batch.submit(number, errands.work, play.marks.folder, number, 0.01)


def _restart(play: Play) -> float:
    """End it and start it; the moment from which it answers."""
    assert play.server is not None
    if play.variant == "terminated":
        play.server.terminate()
    elif play.variant == "wiped":
        play.server.wipe()
    else:
        play.server.kill()
    time.sleep(play.random.uniform(0.0, 1.0))
    play.server.start()
    return time.monotonic()


SCENARIO = Scenario(
    "F3",
    "broker killed",
    "Fifty requests a second, while the broker is killed with -9 (or ended cleanly, or killed and "
    "all its data removed) and started again. Recovery is the time from its first answer to the "
    "end of a request that was submitted after it.",
    play,
    SERVERS,
    quick={"cycles": 2, "deadline": 240},
    full={"cycles": 20, "deadline": 1200},
    variants=("killed", "terminated", "wiped"),
)
