"""``ManualClock``: time that passes when the test says so.

For rooms that are handed their ``now``, and for whatever takes ``clock=``. Nothing waits on it:
what sleeps or waits for a real moment is no business of this clock's.
"""

from __future__ import annotations

import threading


class ManualClock:
    """A callable that returns seconds, as ``time.monotonic`` does; any thread may call it.

    >>> clock = ManualClock(100.0)
    >>> clock.advance(2.5)
    102.5
    >>> clock()
    102.5
    """

    def __init__(self, start: float = 0.0) -> None:
        self._lock = threading.Lock()  # guards _now: to read it and to write it is two steps
        self._now = start

    def __call__(self) -> float:
        """The present moment, in seconds."""
        return self._now

    def __repr__(self) -> str:
        return f"<ManualClock at {self._now}>"

    def advance(self, seconds: float) -> float:
        """Let so many seconds pass; returns the new moment. ``ValueError`` if they are negative."""
        if seconds < 0:
            raise ValueError(f"cannot go back by {-seconds} s: this clock is monotonic")
        with self._lock:
            self._now += seconds
            return self._now
