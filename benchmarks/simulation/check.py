"""Real fleets beside what the model says of them: how far it can be believed.

A real executor in this process, real workers in processes of their own, on a broker that nobody
else uses. Tasks nap, for times drawn from the distribution that the model draws from, so that the
machine has cores enough for all. What is compared is what the model is asked for large fleets:
messages, shares of a core, and how much gets done.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final

from benchmarks import process
from benchmarks.ground import ROOT
from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.outcome import Outcome
from benchmarks.simulation.tasks import nap
from bus.wire.broker import Broker, Delivery
from bus.wire.testing.processes.guard import Guard
from executor import Executor
from protocol.parcel import Parcel

WORKERS: Final = (1, 2, 4, 8)
_SLOTS: Final = 2
_TASK: Final = 0.1  # seconds, on average
_SECONDS: Final = 8.0  # that are measured
_WARM_UP: Final = 2.0  # before
_TIMEOUT: Final = 60.0  # for whatever is waited for


def fleet_of(workers: int, seconds: float = _SECONDS) -> Fleet:
    """A real fleet. Four requests for each slot are open all the time."""
    fleet = Fleet(workers, slots=_SLOTS, task=_TASK, outstanding=4 * workers * _SLOTS)
    # Enough to last, however many are done.
    return Fleet(
        workers,
        slots=_SLOTS,
        task=_TASK,
        outstanding=fleet.outstanding,
        requests=int(10 * seconds * fleet.capacity),
        seconds=seconds,
    )


class Tap:
    """Counts what the executor of this process publishes and takes, within ``with``."""

    def __init__(self) -> None:
        self.published = self.taken = self.bytes = 0
        self._whole: tuple[Any, Any] = (Broker.publish, Broker.drain)

    def __enter__(self) -> Tap:
        """Listen in."""
        publish, drain = self._whole

        def publish_and_count(broker: Broker, parcels: Sequence[Parcel]) -> None:
            publish(broker, parcels)
            self.published += len(parcels)
            self.bytes += sum(len(parcel.body) for parcel in parcels)

        def drain_and_count(broker: Broker, timeout: float) -> list[Delivery]:
            deliveries: list[Delivery] = drain(broker, timeout)
            self.taken += len(deliveries)
            self.bytes += sum(delivery.size for delivery in deliveries)
            return deliveries

        setattr(Broker, "publish", publish_and_count)  # noqa: B010 - a method is no attribute to mypy
        setattr(Broker, "drain", drain_and_count)  # noqa: B010
        return self

    def __exit__(self, *_: object) -> None:
        """As it was."""
        publish, drain = self._whole
        setattr(Broker, "publish", publish)  # noqa: B010
        setattr(Broker, "drain", drain)  # noqa: B010


def run(fleet: Fleet, url: str, servers: tuple[int, ...]) -> Outcome:
    """That fleet in earnest, on the broker at this URL, whose processes these are."""
    with workers(fleet.workers, fleet.slots, url) as pids, Tap() as tap, Executor(url) as executor:
        executor.wait_for_workers(fleet.workers, _TIMEOUT)
        chance = random.Random(fleet.seed)
        ended: SimpleQueue[Future[Any]] = SimpleQueue()
        open_: set[Future[Any]] = set()

        def submit() -> None:
            future = executor.submit(nap, chance.expovariate(1 / fleet.task))
            open_.add(future)
            future.add_done_callback(ended.put)

        def work(seconds: float) -> int:
            """Each that ends is followed by another, so that as many are open all the time."""
            until, done = time.monotonic() + seconds, 0
            while time.monotonic() < until:
                future = ended.get(timeout=_TIMEOUT)
                future.result()
                open_.discard(future)
                submit()
                done += 1
            return done

        for _ in range(fleet.outstanding):
            submit()
        work(_WARM_UP)
        began, before, mine = time.monotonic(), process.table(), time.process_time()
        counted = (tap.taken, tap.published, tap.bytes)
        done = work(fleet.seconds)
        seconds, after = time.monotonic() - began, process.table()
        mine = time.process_time() - mine
        taken, published, size = (
            now - then
            for now, then in zip((tap.taken, tap.published, tap.bytes), counted, strict=True)
        )
        for future in open_:
            future.cancel()

    def share(some: Sequence[int]) -> float:
        """Of a core, for one of these processes."""
        return sum(after[pid].cpu - before[pid].cpu for pid in some) / seconds / len(some)

    return Outcome(
        seconds=seconds,
        ended=done,
        throughput=done / seconds,
        executor_in=taken / seconds,
        executor_out=published / seconds,
        broker_bytes=size / seconds,
        executor_cpu=mine / seconds,
        worker_cpu=share(pids),
        broker_cpu=share(servers),
    )


@contextlib.contextmanager
def workers(count: int, slots: int, url: str) -> Iterator[list[int]]:
    """Processes of workers; gone afterwards."""
    words = [sys.executable, "-m", "worker", "benchmarks.simulation.tasks", "--url", url]
    guard = Guard()
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="taskline-bench-"))
        undo.callback(guard.stop)
        undo.callback(_end, processes)
        for _ in itertools.repeat(None, count):
            worker = subprocess.Popen(
                [*words, "--concurrency", str(slots)],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            guard.kill_at_our_end(worker.pid)
            processes.append(worker)
        yield [worker.pid for worker in processes]


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in processes:
        worker.terminate()
    for worker in processes:
        try:
            worker.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait(_TIMEOUT)
