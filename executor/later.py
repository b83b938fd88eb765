"""Requests whose time has not come: held here, and offered to nobody.

Decided here: which of them are due, and in which order: by their time, those of one moment in the
order they were held. Not decided here: what that time is (``Request.not_before``, in the executor's
clock), and what becomes of one that is due; the ledger has it wait in its lane.

A heap, so that holding one and taking one costs the logarithm of how many there are. Whoever leaves
before its time leaves its place empty; empty places are swept away when they are most of what is
left. Owned by the ledger, on the keeper's thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from executor.request import Request

#: Empty places that may lie about before they are swept away.
SPARE: Final = 64

#: When it is due, a number of its own, and who it is.
_Place = tuple[float, int, Request]


class Later:
    """All that is held."""

    def __init__(self) -> None:
        self._heap: list[_Place] = []
        #: Where each is, by uuid; a place that is not in here is empty.
        self._places: dict[str, _Place] = {}
        self._sequence = 0

    def __len__(self) -> int:
        """How many are held."""
        return len(self._places)

    def __contains__(self, uuid: object) -> bool:
        """Whether this request is held."""
        return uuid in self._places

    def hold(self, request: Request) -> None:
        """Until its ``not_before``, which it must have; in place of an earlier one, if it had."""
        assert request.not_before is not None
        self._sequence += 1
        place = (request.not_before, self._sequence, request)
        self._places[request.order.uuid] = place
        heapq.heappush(self._heap, place)
        self._sweep()

    def leave(self, request: Request) -> None:
        """It is held no more, if it was."""
        if self._places.pop(request.order.uuid, None) is not None:
            self._sweep()

    def take_due(self, now: float) -> Iterator[Request]:
        """Those whose time has come, earliest first."""
        while (when := self.next_due()) is not None and when <= now:
            request = heapq.heappop(self._heap)[2]
            del self._places[request.order.uuid]
            yield request

    def next_due(self) -> float | None:
        """When the next one is."""
        heap = self._heap
        while heap and self._is_empty(heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def _is_empty(self, place: _Place) -> bool:
        return self._places.get(place[2].order.uuid) is not place

    def _sweep(self) -> None:
        if len(self._heap) > SPARE + 2 * len(self._places):
            self._heap = [place for place in self._heap if not self._is_empty(place)]
            heapq.heapify(self._heap)
