"""How long to wait before the next try at a broker that is away: 0.1 s, doubling, up to 2 s.

Half of it is chance, so that a hundred processes do not all come back in the same instant. It never
gives up; who must, looks at the clock.
"""

from __future__ import annotations

import random

FIRST = 0.1  # seconds
LONGEST = 2.0  # seconds


class Backoff:
    """A sequence of waits. One thread only."""

    __slots__ = ("_wait",)

    def __init__(self) -> None:
        self._wait = FIRST

    def next(self) -> float:
        """Seconds to wait now; the next one will be longer."""
        wait, self._wait = self._wait, min(self._wait * 2, LONGEST)
        return wait * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: begin with the shortest again."""
        self._wait = FIRST
