"""Moments at which something is to be looked at again, for requests that may have ended by then.

A heap, so that setting and taking one costs the logarithm of how many there are. Timers are not
taken back: who wakes looks whether there is still something to do, and timers of ended requests are
swept away when they are most of what is left. Owned by the ledger, on the keeper's thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator, Sized
from typing import Final, Protocol

#: Timers of ended requests that may lie about before they are swept away.
SPARE: Final = 64

#: What a timer is about, where it is not one attempt of the request: its expiry, its next CANCEL.
EXPIRY: Final = 0
CANCEL: Final = -1


class _Open(Container[str], Sized, Protocol):
    """What is open, by uuid."""


class Timers:
    """Pairs of (uuid, attempt's number or what else it is about), each with its moment."""

    def __init__(self, open_requests: _Open) -> None:
        self._open = open_requests
        self._heap: list[tuple[float, int, str, int]] = []
        self._sequence = 0  # the order in which those of one moment were set
        #: How many the last sweep left: another is worth its cost at twice as many.
        self._swept = 0

    def __len__(self) -> int:
        """How many are set, those of ended requests included."""
        return len(self._heap)

    def set(self, when: float, uuid: str, about: int = EXPIRY) -> None:
        """Have this request, or this attempt of it, looked at from ``when`` on."""
        heap = self._heap
        self._sequence += 1
        heapq.heappush(heap, (when, self._sequence, uuid, about))
        if len(heap) > max(SPARE + 4 * len(self._open), 2 * self._swept):
            heap[:] = [timer for timer in heap if timer[2] in self._open]
            heapq.heapify(heap)
            self._swept = len(heap)

    def take_due(self, now: float) -> Iterator[tuple[str, int]]:
        """Those whose moment has come, earliest first; what is set meanwhile may be among them."""
        while self._heap and self._heap[0][0] <= now:
            _, _, uuid, about = heapq.heappop(self._heap)
            yield uuid, about

    @property
    def next(self) -> float | None:
        """The earliest moment set."""
        return self._heap[0][0] if self._heap else None
