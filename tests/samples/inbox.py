"""Where the tests let a pool report to, and wait for what it reports."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from protocol.values import loads
from worker.work import Encoded, Ended, Offers, PoolEnded, Report, TaskEvent, Work

DEADLINE = 20.0  # seconds; on a busy machine a host takes its time

_Report = TypeVar("_Report", Ended, Offers, PoolEnded, TaskEvent)


class Inbox:
    """Takes lists of reports on any thread; hands them out in order on the test's, results read."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[list[Report]] = queue.SimpleQueue()
        #: Everything so far.
        self.reports: list[Report] = []

    def __call__(self, reports: list[Report]) -> None:
        """Be the ``report`` of a pool."""
        self._queue.put([_read(report) for report in reports])

    def wait(self, is_there: Callable[[list[Report]], bool]) -> list[Report]:
        """Wait until what has been reported is enough."""
        until = time.monotonic() + DEADLINE
        while not is_there(self.reports):
            try:
                self.reports += self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"only these were reported: {self.reports}") from None
        return self.reports

    def ended(self, key: int) -> Ended:
        """Wait for the end of one work."""
        self.wait(lambda reports: any(isinstance(r, Ended) and r.key == key for r in reports))
        return next(r for r in self.reports if isinstance(r, Ended) and r.key == key)

    def first(self, kind: type[_Report]) -> _Report:
        """Wait for the first report of a kind."""
        self.wait(lambda reports: any(isinstance(r, kind) for r in reports))
        return next(r for r in self.reports if isinstance(r, kind))

    def of(self, key: int) -> list[Report]:
        """All reports about one work, in order."""
        return [report for report in self.reports if getattr(report, "key", None) == key]


def _read(report: Report) -> Report:
    if isinstance(report, Ended) and isinstance(report.result, Encoded):
        return replace(report, result=loads(report.result.text))
    return report


def work(key: int, task: str, *args: Any, **fields: Any) -> Work:
    """A work to execute; ``fields`` as of Work."""
    fields.setdefault("name", task)
    fields.setdefault("action", "execute")
    return Work(key=key, uuid=f"uuid-{key}", task=task, args=list(args), **fields)
