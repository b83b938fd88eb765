"""The future of one request: the standard library's, that knows which request it stands for.

It is set by the executor's deliverer thread alone. User code that runs on that thread (callbacks)
must not wait there for another future, which only that thread could set: it is told so at once
instead of hanging for ever.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from protocol.errors import TasklineError

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """What ``submit`` returns. Every one ends: result, exception or cancelled."""

    def __init__(
        self,
        uuid: str,
        task: str,
        deliverer: Callable[[], threading.Thread | None],
        withdraw: Callable[[str], None],
    ) -> None:
        super().__init__()
        #: The request's uuid, its correlation id on the wire.
        self.uuid = uuid
        #: The task's wire name.
        self.task = task
        self._deliverer = deliverer
        self._withdraw = withdraw
        self._has_begun = False

    def cancel(self) -> bool:
        """True if it was not sent yet, and then it never runs; False once it has been sent."""
        if self.cancelled():
            return True
        if not super().cancel():
            return False
        self._withdraw(self.uuid)
        return True

    def begin(self) -> bool:
        """The executor's: from now on it cannot be cancelled. False if it is over already.

        Then those who wait for several futures (``wait``, ``as_completed``) hear of a cancelled one
        now. Any thread, and more than once: two may find out at the same time.
        """
        with self._condition:  # the one that guards the state of the standard library's
            if not self._has_begun and (self.cancelled() or not self.done()):
                self._has_begun = True
                return self.set_running_or_notify_cancel()
            return self.running()

    def result(self, timeout: float | None = None) -> T:
        """The result, or the task's exception raised; ``TimeoutError`` after ``timeout`` s."""
        try:
            self._refuse_to_hang(timeout)
            return super().result(timeout)
        finally:
            del self  # or the traceback would hold the future, which holds the exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's exception, or None; ``TimeoutError`` after ``timeout`` seconds."""
        self._refuse_to_hang(timeout)
        return super().exception(timeout)

    def _refuse_to_hang(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            return  # only a look
        if threading.current_thread() is self._deliverer() and not self.done():
            raise TasklineError(
                f"waiting for request {self.uuid} ({self.task}) inside a callback: callbacks run "
                "on the thread that sets all futures, so it would wait for itself; use "
                "add_done_callback on this one too, or wait in another thread"
            )
