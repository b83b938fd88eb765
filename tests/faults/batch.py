"""Requests of one play, and what became of each.

Submits numbers, counts how often each future was set, and sorts the ends: right, wrong, failed,
cancelled, never. Any thread.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from executor import Executor, Future


class Batch:
    """What was submitted to one executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.futures: dict[int, Future[Any]] = {}
        self.expected: dict[int, Any] = {}
        #: When each was submitted, and when it ended, on the monotonic clock.
        self.submitted_at: dict[int, float] = {}
        self.ended_at: dict[int, float] = {}
        self._lock = threading.Lock()  # guards what callbacks change, which are the deliverer's
        self._times_set: Counter[int] = Counter()

    def submit(self, number: int, task: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Submit ``task(*args)``; its result is to be ``number``."""
        executor = self.executor.options(**options) if options else self.executor
        self.add(number, executor.submit(task, *args))

    def add(self, number: int, future: Future[Any], result: Any = None) -> None:
        """Watch a future; its result is to be ``result``, or the number itself."""
        self.expected[number] = number if result is None else result
        self.futures[number] = future
        self.submitted_at[number] = time.monotonic()
        future.add_done_callback(lambda _: self._on_end(number))

    def _on_end(self, number: int) -> None:
        with self._lock:
            self._times_set[number] += 1
            self.ended_at[number] = time.monotonic()

    def wait(self, timeout: float) -> bool:
        """Until all have ended, or for so long; whether they have."""
        return not concurrent.futures.wait(self.futures.values(), timeout).not_done

    def wait_while_some_end(self, timeout: float, patience: float = 60.0) -> None:
        """Until all have ended, or none has for ``patience`` seconds; for so long at the most."""
        until = time.monotonic() + timeout
        left = self.open
        while left and (now := time.monotonic()) < until:
            before = left
            self.wait(min(patience, until - now))
            left = self.open
            if left == before:
                return

    def next_whole(self, moment: float) -> float | None:
        """When the first request ended that was submitted after this moment."""
        with self._lock:
            ended = list(self.ended_at.items())
        return min((end for n, end in ended if self.submitted_at[n] > moment), default=None)

    @property
    def open(self) -> int:
        """How many have not ended."""
        return sum(not future.done() for future in self.futures.values())

    def doubled(self) -> int:
        """How many futures were set more than once."""
        return sum(times > 1 for times in self._times_set.values())

    def ends(self) -> dict[int, str]:
        """``{number: right, wrong, cancelled, never, or the name of the error}``."""
        return {number: self._end_of(number) for number in self.futures}

    def _end_of(self, number: int) -> str:
        future = self.futures[number]
        if not future.done():
            return "never"
        if future.cancelled():
            return "cancelled"
        error = future.exception(0)
        if error is not None:
            return type(error).__name__
        return "right" if future.result(0) == self.expected[number] else "wrong"

    def __len__(self) -> int:
        return len(self.futures)
