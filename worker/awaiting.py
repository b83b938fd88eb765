"""Runs a coroutine of a task in an event loop of its own, and raises a soft time limit in it.

An exception that a signal handler raises would hit whatever the loop does just then: its select, a
callback (which drops it), another task. So while the loop is up the limit comes this way: if the
task's own coroutine computes or blocks at that moment, it is raised there; otherwise the coroutine
is cancelled where it awaits, with what it awaits, and gets ``SoftTimeLimitExceeded`` in place of
``CancelledError``. Whoever else holds up the loop is interrupted at the next nudge.

Until it leaves the coroutine, the error is a ``CancelledError`` as well, so that what knows how to
pass one on does. An exception group of nothing but it is the limit again, outside.

Loaded by ``runner`` for tasks that need it: asyncio is half of the time a host takes to start.
"""

from __future__ import annotations

import asyncio
import builtins
import math
import time
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import FrameType
from typing import Any, Final

from protocol.errors import SoftTimeLimitExceeded
from worker.soft_limit import NUDGE_PERIOD, SoftLimit

#: Modules in whose code nothing is raised, beside asyncio's.
_NO_PLACES: Final = frozenset({__name__, SoftLimit.__module__, "selectors"})


class SoftTimeLimitReached(SoftTimeLimitExceeded, asyncio.CancelledError):
    """The limit inside the loop; outside it is a plain ``SoftTimeLimitExceeded``."""


def run(coroutine: Coroutine[Any, Any, Any], limit: SoftLimit | None) -> Any:
    """Run it to its end, as ``asyncio.run`` does. Main thread only, if there is a limit."""
    if limit is None:
        return asyncio.run(coroutine)
    awaited = _Awaited(coroutine, limit)
    main = awaited.main()
    limit.steer(awaited.strike)
    try:
        return asyncio.run(main)
    finally:
        main.close()  # if it never began, that is no reason for a warning
        limit.steer(None)


class _Awaited:
    """A coroutine in its event loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], limit: SoftLimit) -> None:
        self._coroutine = coroutine
        self._limit = limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        #: When the loop was first asked to cancel it.
        self._asked_at = math.inf
        #: What it gets when it goes on, since the loop has.
        self._reached: SoftTimeLimitReached | None = None
        #: Whether it has ended, and the loop with what is left in it is to end too.
        self._is_over = False

    async def main(self) -> Any:
        """Be the loop's main task."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            self._limit.look()
            return await self
        except BaseException as error:
            reached = _reached_in(error)
            if reached is None:
                raise
        finally:
            self._is_over = True
        raise _plain(reached)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await the coroutine, as ``yield from`` would but for the limit."""
        resume: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            try:
                awaited = resume()
            except StopIteration as end:
                return end.value
            try:
                value = yield awaited
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:
                resume = partial(self._coroutine.throw, error)
            else:
                resume = partial(self._coroutine.send, value)
            if self._reached is not None:  # whatever became of what it awaited
                resume = partial(self._coroutine.throw, self._reached)
                self._reached = None
                uncancel = getattr(self._task, "uncancel", None)  # Python 3.11
                if uncancel is not None:
                    uncancel()

    def strike(self, frame: FrameType | None) -> None:
        """Raise the limit where it should be, now or soon."""
        if self._loop is None or self._task is None or self._is_over:
            return  # the loop is about to begin, or to end; what it waits for then, is cancelled
        if frame is not None and _is_no_place(frame):
            self._ask(self._loop)
        elif asyncio.current_task(self._loop) is self._task:
            raise self._limit.taken(SoftTimeLimitReached(self._limit.text))
        elif time.monotonic() >= self._asked_at + NUDGE_PERIOD / 2:
            # The loop has not come round since: a callback or another task holds it up.
            raise SoftTimeLimitReached(self._limit.text)
        else:
            self._ask(self._loop)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked_at = min(self._asked_at, time.monotonic())
        loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        assert self._task is not None
        if self._limit.is_over and self._task.cancel():
            self._reached = SoftTimeLimitReached(self._limit.text)
            self._limit.taken(self._reached)


def _is_no_place(frame: FrameType) -> bool:
    """Whether this is code of ours or of the loop, which only ever waits for events."""
    module = str(frame.f_globals.get("__name__"))
    return module in _NO_PLACES or module.partition(".")[0] == "asyncio"


def _reached_in(error: BaseException) -> SoftTimeLimitReached | None:
    """The limit, if that is all this is: itself, or a ``TaskGroup``'s way to pass it on."""
    if isinstance(error, SoftTimeLimitReached):
        return error
    group = getattr(builtins, "BaseExceptionGroup", None)  # Python 3.11
    if group is None or not isinstance(error, group):
        return None
    members = [_reached_in(member) for member in error.exceptions]
    return members[0] if all(members) else None


def _plain(reached: SoftTimeLimitReached) -> SoftTimeLimitExceeded:
    plain = SoftTimeLimitExceeded(*reached.args).with_traceback(reached.__traceback__)
    plain.__cause__, plain.__context__ = reached.__cause__, reached.__context__
    plain.__suppress_context__ = reached.__suppress_context__
    return plain
