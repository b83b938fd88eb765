"""The one door by which other threads reach the thread that owns a state.

Any thread may put; one thread takes. What is put by one thread is taken in the order it was put.
``SimpleQueue`` because its ``put`` is one C call that can neither block nor be interrupted
half-way, so it may be called from anywhere, signal handlers and finalizers included.
"""

from __future__ import annotations

from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

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
        try:
            items = [
                queue.get(timeout=timeout) if timeout is None or timeout > 0 else queue.get(False)
            ]
        except Empty:
            return []
        try:
            while len(items) < most:
                items.append(queue.get(False))
        except Empty:
            pass
        return items
