"""The future of one request: the standard library's, that knows which request it stands for.

It is set by the executor's deliverer thread alone. User code that runs on that thread (callbacks)
must not wait there for another future, which only that thread could set: it is told so at once
instead of hanging for ever.

Decided here: what ``cancel`` means in each state of the future, and that a request has one outcome.
The condition that guards the standard library's state decides between a cancel, a beginning and an
end that meet; the line in the journal is written while it is held, so that nobody sees a
cancellation that a restart would not know of. What the worker is told is the ledger's.
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures._base import CANCELLED, PENDING, RUNNING
from typing import Any, Protocol, TypeVar

from executor import trail
from executor.trail import AttemptInfo, Happened
from protocol.errors import CannotStop, TasklineError
from protocol.events import Cancelled, Event

T = TypeVar("T")


class Home(Protocol):
    """What a future asks of the executor it belongs to. All of it from any thread."""

    def demand_same_process(self) -> None:
        """Raise ``ExecutorForked`` in a forked child of the process that made the executor."""

    def deliverer_thread(self) -> threading.Thread | None:
        """The thread that sets futures."""

    def record_cancel(self, uuid: str, *, force: bool) -> None:
        """Write the journal's line, if there is a journal. Raises ``JournalError``."""

    def cancelled(self, uuid: str, *, force: bool) -> None:
        """It was cancelled, or is to be stopped; returns at once."""

    def can_stop(self, uuid: str) -> bool | None:
        """Whether it runs where a run can be ended; None if it is not open any more.

        Raises ``WaitTimeout`` if the keeper does not answer in time.
        """


class Future(concurrent.futures.Future[T]):
    """What ``submit`` returns. Every one ends: result, exception or cancelled."""

    def __init__(self, uuid: str, task: str, home: Home) -> None:
        super().__init__()
        self._condition = _Condition()
        #: The request's uuid, its correlation id on the wire.
        self.uuid = uuid
        #: The task's wire name.
        self.task = task
        self._home = home
        self._waiting = _Waiters(home)
        self._waiters = self._waiting
        self._is_stopping = False
        #: When it was submitted, in seconds since 1970.
        self.submitted = time.time()
        #: What was said of it since; appended to by the keeper and by who cancels.
        self._steps: list[trail.Step] = []
        self._repeats: str | None = None

    @property
    def attempts(self) -> tuple[AttemptInfo, ...]:
        """Each time it was sent to a worker: number, round, worker, when, and what came of it.

        Any thread, at any time. Of a request that was found again without a journal, none.
        """
        return trail.attempts_of(self._steps.copy())

    @property
    def worker(self) -> str | None:
        """The name of the worker that ended it, or has it now, or ran it last; None: no such."""
        return trail.worker_of(self._steps.copy())

    @property
    def history(self) -> tuple[Happened, ...]:
        """All that happened to it, in order, as a journal says it; with or without a journal.

        From its submission on: what it was sent to, that it ran, each round after the first with
        its cause and its wait, its end. Of one that repeats a dead letter the first says which, as
        ``repeats``. Any thread. Of a request that was found again without a
        journal, its end alone.
        """
        steps = self._steps.copy()
        return trail.history_of(self.task, self.submitted, steps, self._repeats)

    def cancel(self, force: bool = False) -> bool:
        """Cancel it if it is not known to run; with ``force`` end it even then.

        ========================  =============================  ===================================
        the request               ``cancel()``                   ``cancel(force=True)``
        ========================  =============================  ===================================
        waits, was never sent     True; it never runs            the same
        sent, not known to run    True; its worker is told, and  True; its worker is told to end it
                                  what it still says is dropped  if it runs
        runs                      False; it runs on              True; its process is ended, and it
                                                                 ends as ``TaskCancelled`` (or with
                                                                 the result that was faster)
        has ended                 False                          False
        was cancelled             True                           True
        ========================  =============================  ===================================

        What is cancelled at once is so for everybody when this returns: ``cancelled()``,
        ``wait()``, ``as_completed()``, callbacks, and the journal. Raises ``CannotStop`` if it runs
        where it cannot be ended (in threads, at a taskflow worker), ``JournalError`` if the journal
        cannot be written, ``WaitTimeout`` if the executor does not answer within 5 s: then nothing
        has changed. Any thread.
        """
        self._home.demand_same_process()
        with self._condition:
            if self.cancelled():
                return True
            if self.done():
                return False
            begun = self.running()
            if not begun:
                self._home.record_cancel(self.uuid, force=force)
                self.note(time.time(), Cancelled(self.uuid, force))
                self._withdraw()
        if begun:
            return force and self._stop()
        self._home.cancelled(self.uuid, force=force)
        self._invoke_callbacks()  # type: ignore[attr-defined]  # it has, in all versions
        return True

    def _stop(self) -> bool:
        """Have its run ended."""
        if not self._is_stopping:
            can_stop = self._home.can_stop(self.uuid)
            if can_stop is None:
                return self.cancelled()  # it has ended meanwhile
            if not can_stop:
                raise CannotStop(
                    f"request {self.uuid} ({self.task}) runs where it cannot be ended, on a "
                    "worker's threads or at a taskflow worker: it runs on; let it end by itself, "
                    "or run workers with --pool processes"
                )
            self._home.record_cancel(self.uuid, force=True)
            self.note(time.time(), Cancelled(self.uuid, force=True))
            self._is_stopping = True
        self._home.cancelled(self.uuid, force=True)
        return True

    def begin(self) -> bool:
        """The executor's: from now on it is cancelled by force only. False if it is over already.

        Any thread, and more than once.
        """
        with self._condition:  # the one that guards the state of the standard library's
            if self.running():
                return True
            if self._state == CANCELLED:  # by a cancel that was not ours, which tells nobody
                return self.set_running_or_notify_cancel()
            return not self.done() and self.set_running_or_notify_cancel()

    def rest(self) -> None:
        """The executor's: its run has failed and is repeated, so that it waits again. Any thread.

        Whoever waits for it sees nothing of that; a cancel is granted again until the next run.
        """
        with self._condition:
            if self._state == RUNNING:
                self._state = PENDING
                self._is_stopping = False

    def note(self, stamp: float, event: Event) -> None:
        """The executor's: this was written of it, at that time. Any thread."""
        self._steps.append((stamp, event))

    def remember(
        self, submitted: float, steps: Iterable[trail.Step], repeats: str | None = None
    ) -> None:
        """The executor's: what a journal says of it so far, in place of what is known here.

        ``repeats``: the uuid of the dead letter it is a repetition of.
        """
        self.submitted = submitted
        self._repeats = repeats
        self._steps = list(steps)

    def withdraw(self) -> None:
        """The executor's: cancelled it is, whatever it was, unless it is over. Any thread."""
        with self._condition:
            if self.done():
                return
            self._withdraw()
        self._invoke_callbacks()  # type: ignore[attr-defined]  # it has, in all versions

    def _withdraw(self) -> None:
        """Cancelled, for all who wait for it as well; with the condition held."""
        self._state = CANCELLED
        self.set_running_or_notify_cancel()
        self._condition.notify_all()

    def forked(self) -> None:
        """The executor's, in a forked child: nobody will set it here.

        Its condition may be held by a thread of the parent's, which is not here to let go of it.
        """
        self._condition = _Condition()
        self._waiting.waits_in_vain = not self.done()

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
        if self.done():
            return
        self._home.demand_same_process()
        if timeout is not None and timeout <= 0:
            return  # only a look
        if threading.current_thread() is self._home.deliverer_thread():
            raise TasklineError(
                f"waiting for request {self.uuid} ({self.task}) inside a callback: callbacks run "
                "on the thread that sets all futures, so it would wait for itself; use "
                "add_done_callback on this one too, or wait in another thread"
            )


_Lock: Any = type(threading.RLock())


class _Condition(_Lock):  # type: ignore[misc]  # of a class that the library does not name
    """The condition that guards a future, as small as it can be until somebody waits.

    The standard library's takes more than half of the memory of an open request: a list for those
    who wait, and five methods of its lock. Nearly nobody waits for most futures: they are asked
    when they are done, or one after the other. It is an object of the library's own then, for as
    long as one of them waits. The lock itself is re-entrant, as the library's is.
    """

    __slots__ = ("_shared", "_waiting")

    def __init__(self) -> None:
        #: The library's, on this lock; None while nobody waits. And how many do.
        self._shared: threading.Condition | None = None
        self._waiting = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Until notified, or for ``timeout`` seconds; whether it was. With the lock held."""
        shared = self._shared = self._shared or threading.Condition(self)
        self._waiting += 1
        try:
            return shared.wait(timeout)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._shared = None  # which would keep itself alive

    def notify_all(self) -> None:
        """Wake all who wait. With the lock held."""
        if self._shared is not None:
            self._shared.notify_all()


class _Waiters(list[Any]):
    """Who waits for a future with others: ``concurrent.futures.wait`` and ``as_completed``.

    They add themselves here, on the thread that waits. It is told at once if that would be for
    ever: in a forked child, and on the deliverer's thread if nothing it waits for can end without
    that (no time-out, all of them ours). The latter is read off the two functions' own variables;
    in a Python where these are called otherwise, such a wait hangs as it does anywhere.
    """

    __slots__ = ("_home", "waits_in_vain")

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home
        #: In a forked child: nobody will set this future.
        self.waits_in_vain = False

    def append(self, waiter: object) -> None:
        """One more."""
        if self.waits_in_vain:
            self._home.demand_same_process()
        if threading.current_thread() is self._home.deliverer_thread() and _is_for_ever():
            raise TasklineError(
                "waiting for requests inside a callback: callbacks run on the thread that sets all "
                "futures, so it would wait for itself; use add_done_callback on these too, wait in "
                "another thread, or give a time-out"
            )
        super().append(waiter)


def _is_for_ever() -> bool:
    """Whether the function of the standard library that is waiting would never return."""
    installing = sys._getframe(2)  # noqa: SLF001 - nothing else tells what is waited for
    waiting = installing.f_back
    if waiting is None or "timeout" not in waiting.f_locals:
        return False
    futures = waiting.f_locals.get("fs", ())
    if waiting.f_locals["timeout"] is not None or not isinstance(futures, (set, frozenset, list)):
        return False
    ours = [isinstance(future, Future) for future in futures if not future.done()]
    if waiting.f_locals.get("return_when") == concurrent.futures.ALL_COMPLETED:
        return any(ours)
    return bool(ours) and all(ours)
