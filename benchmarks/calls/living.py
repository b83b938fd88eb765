"""A real executor and a real worker in one process, over ``memory://``: all their threads counted.

Which messages happen to travel together differs from one run to the next, and the counts with it,
by a few in a hundred. So several *samples* are taken, and the one in the middle counts. The hosts
of a pool of processes are processes of their own, and not counted: only what the worker does for
them.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any, Final, Literal

from benchmarks.calls.counter import Calls, Counter
from benchmarks.tasks import bump
from executor import Executor
from worker import Worker

_SAMPLES: Final = 3
_WARM_UP: Final = 20  # calls
_SLOTS: Final = 2  # of the worker, whatever the machine has
_TIMEOUT: Final = 60.0  # seconds for whatever is waited for

SIDES: Final = ("submitter", "worker")


class _Hooks:
    """The profile function of all threads: each counts for its side, while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self._counters = {side: Counter() for side in SIDES}
        #: Whose threads are made now.
        self.making = "submitter"
        self._sides: dict[int, Counter] = {}

    def begin(self) -> None:
        """What each thread that is started from now on does is looked at, and this one's too."""
        threading.setprofile(self._hook)
        self.belongs("submitter")

    def belongs(self, side: str) -> None:
        """What this thread does is that side's."""
        self._sides[threading.get_ident()] = self._counters[side]

    def end(self) -> None:
        """Leave everybody alone."""
        self.is_on = False
        sys.setprofile(None)
        threading.setprofile(None)

    def take(self, tasks: int) -> dict[str, Calls]:
        """For one task, of each side, since it was last taken."""
        return {side: counter.take(tasks) for side, counter in self._counters.items()}

    def _hook(self, frame: FrameType, event: str, argument: Any) -> None:
        thread = threading.get_ident()
        counter = self._sides.get(thread)
        if counter is None:
            counter = self._sides[thread] = self._counters[self.making]
        if self.is_on:
            counter.hook(frame, event, argument)

    def __enter__(self) -> None:
        """Count."""
        sys.setprofile(self._hook)
        self.is_on = True

    def __exit__(self, *_: object) -> None:
        """Count no more."""
        self.is_on = False
        sys.setprofile(None)


def count(
    pool: Literal["processes", "threads"], at_once: int, tasks: int, samples: int = _SAMPLES
) -> dict[str, Calls]:
    """``{"submitter": …, "worker": …}`` for one task; each sample is of so many tasks.

    ``at_once``: calls that are submitted before the results of all of them are waited for.
    """
    hooks = _Hooks()
    hooks.begin()
    try:
        found = _samples(hooks, pool, at_once, tasks, samples)
    finally:
        hooks.end()
    return {side: _middle([sample[side] for sample in found]) for side in SIDES}


def _samples(
    hooks: _Hooks, pool: Literal["processes", "threads"], at_once: int, tasks: int, samples: int
) -> list[dict[str, Calls]]:
    worker = Worker(["benchmarks.tasks"], url="memory://", pool=pool, concurrency=_SLOTS)
    executor = Executor("memory://")
    hooks.making = "worker"  # an executor's threads have all been started by now
    with executor, worker:
        executor.wait_for_workers(1, _TIMEOUT)
        for _ in range(_WARM_UP):
            executor.submit(bump, 0).result(_TIMEOUT)
        found = []
        for _ in range(samples):
            with hooks:
                for _ in range(tasks // at_once):
                    futures = [executor.submit(bump, number) for number in range(at_once)]
                    for future in futures:
                        future.result(_TIMEOUT)
            found.append(hooks.take(tasks // at_once * at_once))
    return found


def _middle(samples: list[Calls]) -> Calls:
    return sorted(samples, key=lambda calls: calls.total)[len(samples) // 2]
