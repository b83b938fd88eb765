"""Requests that wait to be sent, in lanes: what one worker can or cannot take alike, in order.

Decided here: in which order requests wait, whose turn it is, and since when nobody offers what a
lane needs. A lane is of one priority; the higher ones have their turn first, those of one priority
one after the other. Not decided here: who is sent a request, and what expiry means; the ledger
does. No input walks over the requests that wait. Owned by the ledger, on the keeper's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from executor.directory import Directory
from executor.peer import Want
from executor.request import Request
from protocol.rate import Rate
from protocol.resources import Requirements
from protocol.timing import FIT_PATIENCE, REQUEST_TIMEOUT


class LaneKey(NamedTuple):
    """What the requests of a lane have in common."""

    task: str
    topics: tuple[str, ...]
    #: Whether taskflow's peers can take them too.
    named_only: bool
    #: Whether only who can end a running task can take them.
    must_stop: bool
    #: Whether each expires by a clock of its own, and not because nobody offers the task.
    own_clock: bool
    #: Higher ones have their turn first.
    priority: int = 0
    #: What the throttle goes by.
    rate: Rate | None = None
    max_running: int | None = None
    #: What is needed where it runs, and the name of the worker it is for.
    needs: Requirements | None = None
    worker: str | None = None

    @property
    def want(self) -> Want:
        """What those have in common who can take them."""
        return Want(
            self.task, self.topics, self.named_only, self.must_stop, self.needs, self.worker
        )


class Lane:
    """Requests that wait in the order they came: by submission, or when their time came."""

    __slots__ = ("too_large_since", "unoffered_since", "waiting", "was_offered")

    def __init__(self) -> None:
        #: By uuid, so that each waits once and leaves from wherever it stands.
        self.waiting: OrderedDict[str, Request] = OrderedDict()
        #: Since when nobody known offers the task; None while somebody does.
        self.unoffered_since: float | None = None
        #: Whether somebody did since the lane came to be.
        self.was_offered = False
        #: Since when all who offer the task are too small for it; None while that is not so.
        self.too_large_since: float | None = None

    @property
    def first(self) -> Request:
        """The one that has waited longest; there must be one."""
        return next(iter(self.waiting.values()))


class Lanes:
    """All that waits."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._lanes: dict[LaneKey, Lane] = {}
        #: In which lane each waits, by uuid.
        self._where: dict[str, LaneKey] = {}
        #: Seconds for which a request may wait while nobody offers its task.
        self.patience = REQUEST_TIMEOUT

    def __len__(self) -> int:
        """How many lanes there are."""
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __contains__(self, uuid: object) -> bool:
        """Whether this request waits."""
        return uuid in self._where

    def enter(self, request: Request, now: float, *, in_front: bool = False) -> LaneKey:
        """Have it wait; in front if it has waited already."""
        uuid = request.order.uuid
        key = key_of(request)
        if self._where.get(uuid, key) != key:
            self.leave(request)  # its clock was stopped meanwhile
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane()
            lane.was_offered = self._is_offered(key)
            lane.unoffered_since = None if lane.was_offered else now
            self._note_size(key, lane, now)
        lane.waiting[uuid] = request
        self._where[uuid] = key
        if in_front:
            lane.waiting.move_to_end(uuid, last=False)
        return key

    def leave(self, request: Request) -> None:
        """It waits no more, if it did."""
        key = self._where.pop(request.order.uuid, None)
        if key is None:
            return
        lane = self._lanes[key]
        del lane.waiting[request.order.uuid]
        if not lane.waiting and lane.unoffered_since is not None:
            del self._lanes[key]  # a name nobody knows is not remembered

    def lane(self, key: LaneKey) -> Lane:
        """The lane of this key, which somebody has entered."""
        return self._lanes[key]

    def occupied(self) -> list[LaneKey]:
        """The lanes in which somebody waits, in the order of their turns."""
        return in_turn(key for key, lane in self._lanes.items() if lane.waiting)

    def had_turn(self, key: LaneKey) -> None:
        """The others of its priority come first next time."""
        self._lanes[key] = self._lanes.pop(key)

    def note_offers(self, now: float) -> None:
        """What is offered has changed: start or stop the clock of each lane, drop empty ones."""
        for key in list(self._lanes):
            lane = self._lanes[key]
            if self._is_offered(key):
                lane.unoffered_since = lane.too_large_since = None
                lane.was_offered = True
            elif not lane.waiting:
                del self._lanes[key]
            else:
                if lane.unoffered_since is None:
                    lane.unoffered_since = now
                self._note_size(key, lane, now)

    def next_expiry(self) -> float | None:
        """When the next request will have waited too long for somebody to offer its task."""
        return min((self._due(lane) for lane in self._unoffered()), default=None)

    def overdue(self, now: float) -> list[Lane]:
        """The lanes whose first has waited too long for that."""
        return [lane for lane in self._unoffered() if self.is_overdue(lane, now)]

    def is_overdue(self, lane: Lane, now: float) -> bool:
        """Whether the first of this lane, if there is one, has waited too long."""
        return bool(lane.waiting) and now >= self._due(lane)

    def only_unstoppable(self) -> list[LaneKey]:
        """Those that nobody ever suited, while somebody offers the task who cannot end a run."""
        return [
            key
            for key, lane in self._lanes.items()
            if key.must_stop
            and lane.waiting
            and not lane.was_offered
            and self._directory.offered(Want(key.task, key.topics, key.named_only))
            and not self._is_offered(key._replace(needs=None))
        ]

    def _unoffered(self) -> list[Lane]:
        return [
            lane
            for key, lane in self._lanes.items()
            if lane.waiting and lane.unoffered_since is not None and not key.own_clock
        ]

    def _due(self, lane: Lane) -> float:
        ready = lane.first.ready_since
        due = max(ready, lane.unoffered_since or 0.0) + self.patience
        if lane.too_large_since is not None and not lane.was_offered:
            return min(due, max(ready, lane.too_large_since) + FIT_PATIENCE)
        return due

    def _is_offered(self, key: LaneKey) -> bool:
        return self._directory.offered(key.want)

    def _note_size(self, key: LaneKey, lane: Lane, now: float) -> None:
        """Nobody suits: whether that is for what it needs alone."""
        if key.needs is None or not self._is_offered(key._replace(needs=None)):
            lane.too_large_since = None
        elif lane.too_large_since is None:
            lane.too_large_since = now


def key_of(request: Request) -> LaneKey:
    """The lane in which this request waits."""
    order = request.order
    return LaneKey(
        order.task,
        order.topics,
        order.named_only,
        order.has_limit,
        own_clock=request.deadline is not None,
        priority=order.priority,
        rate=order.rate,
        max_running=order.max_running,
        needs=order.needs,
        worker=order.worker,
    )


def in_turn(keys: Iterable[LaneKey]) -> list[LaneKey]:
    """The higher priorities first, otherwise as they are."""
    found = list(keys)
    if any(key.priority for key in found):
        found.sort(key=_urgency)
    return found


def _urgency(key: LaneKey) -> int:
    return -key.priority
