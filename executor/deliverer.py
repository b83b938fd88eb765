"""The thread that runs user code: it sets futures and calls callbacks, in the order things ended.

Futures are set nowhere else, so that a slow or raising callback never holds up a thread that owns a
state. One callback after the other: who needs more starts threads of their own.

What running tasks say comes before the end of their request, and is bounded: of what a slow
subscriber has not been told, only the latest ``MAX_TOLD`` are kept. No end is ever dropped.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from bus.wire import Mailbox

logger = logging.getLogger("taskline.executor.deliverer")

STOP_TIMEOUT = 5.0  # seconds; a callback may be running
MAX_TOLD: Final = 10_000  # task events that wait for their subscribers; then the oldest is dropped

Call = Callable[[], None]


class Deliverer:
    """``start`` begins, ``stop`` returns when what was handed over has been delivered."""

    def __init__(self, name: str) -> None:
        #: What is to be called, the last first, with how many events were told before; None to end.
        self._inbox: Mailbox[tuple[list[Call] | None, int]] = Mailbox()
        #: Events not told yet, numbered. What is appended to a full deque pushes the oldest out.
        self._told: deque[tuple[int, Call]] = deque(maxlen=MAX_TOLD)
        #: How many events were handed over, and how many of them have been called.
        self._number = self._called = 0
        #: Whether an item that has the events called is on its way through the inbox.
        self._is_rung = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def dropped(self) -> int:
        """Task events that were dropped, because their subscribers were too slow. Any thread."""
        return max(0, self._number - self._called - len(self._told))

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def deliver(self, calls: list[Call]) -> None:
        """Have these called, in order and after the events told before. Any thread, no waiting.

        As one item, so that its thread is woken once for all of them.
        """
        if calls:
            self._inbox.put((calls[::-1], self._number))

    def tell(self, call: Call) -> None:
        """Have this called unless too many like it wait. The keeper's thread; never blocks."""
        self._number += 1
        self._told.append((self._number, call))
        self._ring()

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End after what has been handed over so far; waits ``timeout`` seconds at most."""
        self._inbox.put((None, self._number))
        if threading.current_thread() is not self.thread and self.thread.ident is not None:
            self.thread.join(timeout)

    def _ring(self) -> None:
        """One item for all events there are; rung twice at once does no harm."""
        if not self._is_rung:
            self._is_rung = True
            self._inbox.put(([self._rung], self._number))

    def _rung(self) -> None:
        self._is_rung = False
        if self._told:  # told since it was rung: what has ended meanwhile comes first
            self._ring()

    def _run(self) -> None:
        while all(map(self._make, self._inbox.take(None))):
            pass

    def _make(self, item: tuple[list[Call] | None, int]) -> bool:
        """Whether to go on. A function of its own: nothing of a call is held while we wait."""
        calls, told = item
        while self._tell_one(told):
            pass
        if calls is None:
            return False
        while calls:
            _safely(calls.pop())
        return True

    def _tell_one(self, told: int) -> bool:
        """Call the oldest event if it is among the first ``told``; whether there was one.

        The keeper may push it out at any moment, for a newer one: nobody else takes.
        """
        if not self._told or self._told[0][0] > told:
            return False
        _, call = self._told.popleft()
        self._called += 1
        _safely(call)
        return True


def _safely(call: Call) -> None:
    try:
        call()
    except BaseException:  # SystemExit too: whoever raises it here cannot mean all futures
        logger.exception("a callback raised; nothing else is affected")
