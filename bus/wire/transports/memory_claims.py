"""Claims on keys among the threads of one process, by its monotonic clock. Any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from protocol.claim import Found, Wanted

#: Claims that have ended are swept away when there are so many, and twice as many as were left.
_SPARE: Final = 64


class Claims:
    """Of a process."""

    def __init__(self) -> None:
        #: Guards the claims.
        self._lock = threading.Lock()
        #: The value, and when it ends, by name.
        self._claims: dict[str, tuple[str, float]] = {}
        self._sweep_at = _SPARE

    def claim(self, wanted: Sequence[Wanted]) -> list[Found | None]:
        """What is under each name now: what was wanted, if it was free."""
        found: list[Found | None] = []
        with self._lock:
            now = time.monotonic()
            for name, value, lifetime in wanted:
                held = self._claims.get(name)
                if held is None or held[1] <= now:
                    held = self._claims[name] = value, now + lifetime
                found.append(Found(held[0], held[1] - now))
            if len(self._claims) >= self._sweep_at:
                self._claims = {name: each for name, each in self._claims.items() if each[1] > now}
                self._sweep_at = _SPARE + 2 * len(self._claims)
        return found

    def release(self, name: str, value: str) -> None:
        """Delete this claim, if it is still the one."""
        with self._lock:
            held = self._claims.get(name)
            if held is not None and held[0] == value:
                del self._claims[name]


#: What all memory channels of the process share, as they do its queues.
CLAIMS: Final = Claims()
