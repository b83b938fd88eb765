"""How often a task may be started and how many of it may be out at once, in this executor.

Decided here: whether the next request of a lane may go as far as its own ``rate`` and
``max_running`` are concerned, and when it may. Each request keeps the limits it was submitted with,
and all requests of the task count, whatever theirs are. A *start* is a dispatch: one that its
worker gives back unstarted has been one. *Out* is a request from its dispatch until it ends or
waits again; that a worker which fell silent may still run it is not counted. Not decided here: who
goes first (``lanes``), and to whom (``directory``).

Pure, in the executor's clock. Owned by the ledger, on the keeper's thread.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from executor.lanes import LaneKey
from executor.request import Order, Request

#: Tasks that are not out and have not started for ``IDLE`` seconds are forgotten beyond so many.
SPARE: Final = 64
IDLE: Final = 3600.0  # the longest period of a rate


class _Use:
    """Of one task."""

    __slots__ = ("out", "starts")

    def __init__(self) -> None:
        #: How many of its requests are out.
        self.out = 0
        #: Its latest starts, oldest first: as many as the largest rate seen has in a period.
        self.starts: deque[float] = deque(maxlen=0)


class Throttle:
    """Counts all tasks; lets each lane go as its limits allow."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}
        #: When lanes that wait for their rate may go on.
        self._wakes: dict[LaneKey, float] = {}
        self._sweep_at = SPARE

    # what happens to requests -----------------------------------------------------------------

    def goes(self, request: Request, now: float) -> None:
        """It is dispatched."""
        self.occupies(request)
        self.started(request.order, now)

    def started(self, order: Order, when: float) -> None:
        """One of its task was dispatched then, later than all that were told before."""
        starts = self._use(order.task, when).starts
        if order.rate is not None and order.rate.most > (starts.maxlen or 0):
            self._uses[order.task].starts = starts = deque(starts, order.rate.most)
        starts.append(when)

    def occupies(self, request: Request) -> None:
        """It is out; told twice it is so once."""
        if not request.is_out:
            request.is_out = True
            self._use(request.order.task, request.submitted).out += 1

    def frees(self, request: Request) -> None:
        """It waits again, or has ended, if it was out."""
        if request.is_out:
            request.is_out = False
            self._uses[request.order.task].out -= 1

    # what may go ------------------------------------------------------------------------------

    def admits(self, key: LaneKey, now: float) -> bool:
        """Whether the next of this lane may go now; if its rate forbids it, it wakes us."""
        if key.rate is None and key.max_running is None:
            return True
        self._wakes.pop(key, None)
        use = self._uses.get(key.task)
        if use is None:
            return True
        if key.max_running is not None and use.out >= key.max_running:
            return False
        when = None if key.rate is None else key.rate.next_start(use.starts)
        if when is None or when <= now:
            return True
        self._wakes[key] = when
        return False

    def forget_wakes(self) -> None:
        """All lanes in which somebody waits are about to be looked at."""
        self._wakes.clear()

    def next_wake(self) -> float | None:
        """When the next lane that waits for its rate may go on."""
        return min(self._wakes.values()) if self._wakes else None

    def obstacle(self, key: LaneKey, now: float) -> str | None:
        """The limit that keeps this lane waiting, in words; None if none does."""
        use = self._uses.get(key.task)
        if use is None:
            return None
        if key.max_running is not None and use.out >= key.max_running:
            return f"max_running={key.max_running} is reached, with {use.out} of this task out"
        when = None if key.rate is None else key.rate.next_start(use.starts)
        if when is None or when <= now:
            return None
        return f"rate={str(key.rate)!r} is used up for {when - now:.1f} s more"

    # --------------------------------------------------------------------------------------------

    def _use(self, task: str, now: float) -> _Use:
        use = self._uses.get(task)
        if use is None:
            if len(self._uses) >= self._sweep_at:
                self._sweep(now)
            use = self._uses[task] = _Use()
        return use

    def _sweep(self, now: float) -> None:
        self._uses = {
            task: use
            for task, use in self._uses.items()
            if use.out or (use.starts and use.starts[-1] + IDLE > now)
        }
        self._sweep_at = SPARE + 2 * len(self._uses)
