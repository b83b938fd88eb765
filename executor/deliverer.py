"""The thread that runs user code: it sets futures and calls callbacks, in the order things ended.

Futures are set nowhere else, so that a slow or raising callback never holds up a thread that owns a
state. One callback after the other: who needs more starts threads of their own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from bus.wire import Mailbox

logger = logging.getLogger("taskline.executor.deliverer")

STOP_TIMEOUT = 5.0  # seconds; a callback may be running


class Deliverer:
    """``start`` begins, ``stop`` returns when what was handed over has been delivered."""

    def __init__(self, name: str) -> None:
        self._inbox: Mailbox[Callable[[], None] | None] = Mailbox()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def deliver(self, calls: list[Callable[[], None]]) -> None:
        """Have these called, in order. Any thread; never blocks."""
        self._inbox.put_all(calls)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End after what has been handed over so far; waits ``timeout`` seconds at most."""
        self._inbox.put(None)
        if threading.current_thread() is not self.thread and self.thread.ident is not None:
            self.thread.join(timeout)

    def _run(self) -> None:
        while all(map(_make, self._inbox.take(None))):
            pass


def _make(call: Callable[[], None] | None) -> bool:
    """Whether to go on. A function of its own: nothing of a call is held while we wait."""
    if call is None:
        return False
    try:
        call()
    except BaseException:  # SystemExit too: whoever raises it here cannot mean all futures
        logger.exception("a callback raised; nothing else is affected")
    return True
