"""A point in time by the wall clock, in the executor's own: the same point is always the same.

Two calls with one ``eta`` are started in the order they were submitted, so both must come to one
number, although two clocks cannot be read at one instant. Decided here: when the difference between
the clocks, measured before, still holds. It does unless they have moved against each other by more
than ``TOLERANCE``, because somebody has set the wall clock.

Any thread: what is kept is one number, and who measures it anew measures the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TOLERANCE: Final = 0.02  # seconds by which a start may be early or late
_CLOSE: Final = 0.001  # seconds within which both clocks must have been read
_TRIES: Final = 10  # on a machine so busy that this does not happen at once


class Moments:
    """One for each engine."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``wall``: seconds since 1970; ``steady``: the executor's clock, in seconds."""
        self._wall = wall
        self._steady = steady
        #: What the wall clock is ahead of the other, as far as was known last.
        self._ahead: float | None = None

    def of(self, point: float) -> float:
        """The executor's clock at this point of the wall clock."""
        return point - self._now_ahead()

    def _now_ahead(self) -> float:
        for _ in range(_TRIES):
            before = self._steady()
            wall = self._wall()
            after = self._steady()
            known = self._ahead
            # Somewhere between these two it lies.
            if known is not None and wall - after - TOLERANCE <= known <= wall - before + TOLERANCE:
                return known
            if after - before <= _CLOSE:
                break
        self._ahead = wall - (before + after) / 2
        return self._ahead
