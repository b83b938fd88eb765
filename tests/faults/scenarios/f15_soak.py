"""F15: all of it for a long time, and nothing may grow."""

from __future__ import annotations

import os
import time

from bus.wire.testing import TcpProxy
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario
from tests.faults.stage import open_files, rss_bytes

WORKERS, SLOTS = 2, 2
A_ROUND = 100  # requests
MEMORY = 10_000  # ended requests that an executor without a journal remembers


def play(play: Play) -> None:
    executor = play.executor()
    proxy = play.proxy() if play.server is not None else None
    url = proxy.url(of=play.url) if proxy is not None else None
    samples: list[tuple[float, int, int]] = []
    began = time.monotonic()
    rounds = 0
    with play.workers(
        WORKERS, concurrency=SLOTS, beat=1.0, url=url, every=play.size["every"], seed=play.seed
    ) as killer:
        executor.wait_for_workers(1, 60)
        while time.monotonic() - began < play.size["seconds"]:
            batch = Batch(executor)  # of which nothing is kept, here or there
            first = rounds * 1000
            for number in range(first, first + A_ROUND):
                batch.submit(number, errands.work, play.marks.folder, number, 0.01)
                if play.random.random() < 0.1:
                    batch.futures[number].cancel(force=True)
            if proxy is not None and play.random.random() < 0.3:
                proxy.reset()
            play.judge_ends(batch, 60, fine="right cancelled TaskCancelled")
            rounds += 1
            samples.append((time.monotonic(), rss_bytes(os.getpid()), _own_files(proxy)))
        killer.spare()
    _look_for_growth(play, samples)
    play.judge_again(killer.kills * SLOTS)
    play.note(rounds=rounds, kills=killer.kills)


def _own_files(proxy: TcpProxy | None) -> int:
    """How many files the executor has open: all, but those of the proxy, which lives here, too.

    It has two sockets for each connection, and a worker five connections. So both are counted again
    if one came or went in between.
    """
    while True:
        passing = 0 if proxy is None else proxy.open_connections
        files = open_files(os.getpid()) - 2 * passing
        if proxy is None or passing == proxy.open_connections:
            return files


def _look_for_growth(play: Play, samples: list[tuple[float, int, int]]) -> None:
    """Over the second half: the first one fills caches, and the memory of what has ended."""
    half = samples[len(samples) // 2 :]
    hours = (half[-1][0] - half[0][0]) / 3600
    grown = (half[-1][1] - half[0][1]) / 1e6
    files = min(s[2] for s in half[-3:]) - min(s[2] for s in half[:3])
    play.note(executor_grew_mb=round(grown, 2), files_more=files)
    if len(samples) - len(half) > MEMORY / A_ROUND:
        play.note(mb_an_hour=round(grown / hours, 1))
    play.expect(grown < 10, f"the executor grew by {grown:.1f} MB in {hours * 60:.1f} minutes")
    play.expect(files < 10, f"the executor has {files} more files open than half-way")


SCENARIO = Scenario(
    "F15",
    "soak",
    "Work, cancels, killed workers and broken connections, one round after the other. Looked at: "
    "memory and open files of the executor over the second half.",
    play,
    SHARED,
    quick={"seconds": 20, "every": 4.0, "deadline": 180},
    full={"seconds": 360, "every": 5.0, "deadline": 700},
)
