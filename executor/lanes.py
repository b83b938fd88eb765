"""Requests that wait to be sent, in lanes: what one worker can or cannot take alike, in order.

Decided here: in which order requests wait, whose turn it is, and since when nobody offers what a
lane needs. Not decided here: who is sent a request, and what expiry means; the ledger does. No
input walks over the requests that wait. Owned by the ledger, on the keeper's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from executor.directory import Directory
from executor.request import Request
from protocol.timing import REQUEST_TIMEOUT


class LaneKey(NamedTuple):
    """What the requests of a lane have in common."""

    task: str
    topics: tuple[str, ...]
    #: Whether taskflow's peers can take them too.
    named_only: bool
    #: Whether each expires by a clock of its own, and not because nobody offers the task.
    own_clock: bool


class Lane:
    """Requests that wait in the order they were submitted."""

    __slots__ = ("unoffered_since", "waiting")

    def __init__(self) -> None:
        #: By uuid, so that each waits once and leaves from wherever it stands.
        self.waiting: OrderedDict[str, Request] = OrderedDict()
        #: Since when nobody known offers the task; None while somebody does.
        self.unoffered_since: float | None = None

    @property
    def first(self) -> Request:
        """The one that has waited longest; there must be one."""
        return next(iter(self.waiting.values()))


class Lanes:
    """All that waits."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._lanes: dict[LaneKey, Lane] = {}
        #: Seconds for which a request may wait while nobody offers its task.
        self.patience = REQUEST_TIMEOUT

    def __len__(self) -> int:
        """How many lanes there are."""
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def enter(self, request: Request, now: float, *, in_front: bool = False) -> LaneKey:
        """Have it wait; in front if it has waited already."""
        key = key_of(request)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane()
            lane.unoffered_since = None if self._is_offered(key) else now
        uuid = request.order.uuid
        lane.waiting[uuid] = request
        if in_front:
            lane.waiting.move_to_end(uuid, last=False)
        return key

    def leave(self, request: Request) -> None:
        """It waits no more, if it did."""
        key = key_of(request)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.waiting.pop(request.order.uuid, None)
            if not lane.waiting and lane.unoffered_since is not None:
                del self._lanes[key]  # a name nobody knows is not remembered

    def lane(self, key: LaneKey) -> Lane:
        """The lane of this key, which somebody has entered."""
        return self._lanes[key]

    def occupied(self) -> list[LaneKey]:
        """The lanes in which somebody waits, in the order of their turns."""
        return [key for key, lane in self._lanes.items() if lane.waiting]

    def had_turn(self, key: LaneKey) -> None:
        """The others come first next time."""
        self._lanes[key] = self._lanes.pop(key)

    def note_offers(self, now: float) -> None:
        """What is offered has changed: start or stop the clock of each lane, drop empty ones."""
        for key in list(self._lanes):
            lane = self._lanes[key]
            if self._is_offered(key):
                lane.unoffered_since = None
            elif not lane.waiting:
                del self._lanes[key]
            elif lane.unoffered_since is None:
                lane.unoffered_since = now

    def next_expiry(self) -> float | None:
        """When the next request will have waited too long for somebody to offer its task."""
        return min((self._due(lane) for lane in self._unoffered()), default=None)

    def overdue(self, now: float) -> list[Lane]:
        """The lanes whose first has waited too long for that."""
        return [lane for lane in self._unoffered() if self.is_overdue(lane, now)]

    def is_overdue(self, lane: Lane, now: float) -> bool:
        """Whether the first of this lane, if there is one, has waited too long."""
        return bool(lane.waiting) and now >= self._due(lane)

    def _unoffered(self) -> list[Lane]:
        return [
            lane
            for key, lane in self._lanes.items()
            if lane.waiting and lane.unoffered_since is not None and not key.own_clock
        ]

    def _due(self, lane: Lane) -> float:
        return max(lane.first.submitted, lane.unoffered_since or 0.0) + self.patience

    def _is_offered(self, key: LaneKey) -> bool:
        return self._directory.offered(key.task, key.topics, native_only=not key.named_only)


def key_of(request: Request) -> LaneKey:
    """The lane in which this request waits."""
    order = request.order
    return LaneKey(order.task, order.topics, order.named_only, request.deadline is not None)
