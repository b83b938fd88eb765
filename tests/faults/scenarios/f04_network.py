"""F4: the network between executor, broker and workers has bad days."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bus.wire.testing import TcpProxy
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SERVERS, Play, Scenario
from tests.faults.stage import wait_for

WORKERS, SLOTS = 2, 4


def play(play: Play) -> None:
    proxies = [play.proxy(), play.proxy()]  # the executor's way, and the workers'
    executor = play.executor(url=proxies[0].url(of=play.url))
    batch = Batch(executor)
    with play.workers(WORKERS, concurrency=SLOTS, beat=1.0, url=proxies[1].url(of=play.url)):
        executor.wait_for_workers(WORKERS, 60)
        is_over = threading.Event()
        feeder = threading.Thread(target=_feed, args=(play, batch, is_over))
        feeder.start()
        try:
            for _ in range(play.number("cycles")):
                hit = play.random.choice([proxies[:1], proxies[1:], proxies])
                VARIANTS[play.variant](play, hit)
                healed = time.monotonic()
                for proxy in proxies:
                    proxy.heal()
                play.await_recovery(batch, healed)
        finally:
            is_over.set()
            feeder.join(30)
        play.judge(batch, 120)
    play.note(connections=[proxy.connections for proxy in proxies])


def _resets(play: Play, proxies: list[TcpProxy]) -> None:
    for _ in range(5):
        time.sleep(play.random.uniform(0.1, 1.0))
        for proxy in proxies:
            proxy.reset()


def _cuts(play: Play, proxies: list[TcpProxy]) -> None:
    """In the middle of a message, either way."""
    for _ in range(5):
        time.sleep(play.random.uniform(0.1, 1.0))
        for proxy in proxies:
            direction = play.random.choice(["up", "down"])
            proxy.cut_mid_frame(play.random.randrange(2000), direction)
            proxy.wait_for_cut(30)


def _black_hole(play: Play, proxies: list[TcpProxy]) -> None:
    """A connection is given up when somebody tries to make another one."""
    began, before = time.monotonic(), [proxy.connections for proxy in proxies]
    for proxy in proxies:
        proxy.blackhole()
    for proxy, known in zip(proxies, before, strict=True):
        wait_for(
            lambda p=proxy, k=known: p.connections > k, began + play.size["hole"] - time.monotonic()
        )
        noticed = time.monotonic() - began
        play.note(noticed_after=max(round(noticed, 1), play.result.notes.get("noticed_after", 0)))
    time.sleep(max(0.0, began + play.size["hole"] - time.monotonic()))


def _one_way(play: Play, proxies: list[TcpProxy]) -> None:
    for proxy in proxies:
        proxy.one_way(play.random.choice(["up", "down"]))
    time.sleep(play.size["hole"] / 2)
    for proxy in proxies:
        proxy.reset()


def _latency(play: Play, proxies: list[TcpProxy]) -> None:
    for proxy in proxies:
        proxy.latency(0.5)
    time.sleep(play.size["hole"])


def _narrow(play: Play, proxies: list[TcpProxy]) -> None:
    for proxy in proxies:
        proxy.throttle(1000)
    time.sleep(play.size["hole"])


def _feed(play: Play, batch: Batch, is_over: threading.Event) -> None:
    """Twenty requests a second, whatever the network does."""
    while not is_over.wait(0.05):
        number = len(batch)
        batch.submit(number, errands.work, play.marks.folder, number, 0.01)


VARIANTS: dict[str, Callable[[Play, list[TcpProxy]], None]] = {
    "mid-frame cuts": _cuts,
    "resets": _resets,
    "black hole": _black_hole,
    "one way": _one_way,
    "latency 0.5 s": _latency,
    "1 KB/s": _narrow,
}

SCENARIO = Scenario(
    "F4",
    "bad network",
    "Twenty requests a second through a TCP proxy, the executor's, the workers' or both: "
    "connections reset, or cut in the middle of a message; a black hole of 30 s; one direction "
    "swallowed and then cut; half a second of latency; a line of 1 KB/s. Recovery is the time from "
    "when the network is well again to the end of a request that was submitted after that.",
    play,
    SERVERS,
    quick={"cycles": 1, "hole": 12.0, "deadline": 240},
    full={"cycles": 2, "hole": 30.0, "deadline": 600},
    variants=tuple(VARIANTS),
)
