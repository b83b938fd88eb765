"""The one door by which other threads reach the thread that owns a state.

Any thread may put; one thread takes. What is put by one thread is taken in the order it was put.
``SimpleQueue`` because its ``put`` is one C call that can neither block nor be interrupted
half-way, so it may be called from anywhere, signal handlers and finalizers included.

It has no bound of its own: who puts must never wait. What comes from a broker is bounded by the
listener, which takes no more while its owner is behind; what comes from callers, by how many
requests an executor holds.

Who waits here looks round every few seconds, whether another thread hangs (``watch``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from bus.wire import deadlines
from bus.wire.watch import WATCH

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Items from any thread, taken as lists by one."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: SimpleQueue[Item] = SimpleQueue()

    def put(self, item: Item) -> None:
        """Add one item. Any thread; never blocks."""
        self._queue.put(item)

    def put_all(self, items: Iterable[Item]) -> None:
        """Add several, in order. Any thread; never blocks."""
        for item in items:
            self._queue.put(item)

    def take(self, timeout: float | None, most: int = 1000) -> list[Item]:
        """All that is there, at most ``most``, waiting up to ``timeout`` seconds for the first.

        Empty after the timeout. None waits without end, which only a thread may do that is ended by
        an item.
        """
        queue = self._queue
        WATCH.look()
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            wait = (
                deadlines.LOOK if until is None else min(deadlines.LOOK, until - time.monotonic())
            )
            try:
                items = [queue.get(timeout=wait) if wait > 0 else queue.get(False)]
                break
            except Empty:
                WATCH.look()
                if until is not None and time.monotonic() >= until:
                    return []
        try:
            while len(items) < most:
                items.append(queue.get(False))
        except Empty:
            pass
        return items
