"""What waits for a slot of the pool, what runs in one, and how much more is taken.

The pool is handed more than it has slots, as many works as it has ended within the last second: so
quick tasks follow each other without a word between them, and long ones wait here. Until the pool
says that a work has begun nobody knows whether it has, and it can be asked for.

Decided here: which request runs next, what the pool is told of it, which cannot run here at all,
the credit, and what is free of the machine. What says what it needs starts only when all of that is
free; the next that fits goes before it meanwhile, and what waits for too long goes back. Not
decided here: whose requests these are and what they are told. The shift's; its thread only.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from itertools import chain

from protocol.errors import InsufficientSystemResources, LimitRefused
from protocol.failure import FailureDict, from_exception, from_text
from protocol.messages import ReleaseReason
from protocol.resources import NOTHING, Resources
from protocol.timing import CREDIT_MAX, QUEUE_PATIENCE
from worker.record import Record
from worker.work import Offer, Work


class Slots:
    """The pool's slots, as the shift sees them."""

    def __init__(
        self, worker: str, count: int, *, can_stop: bool, have: Resources | None = None
    ) -> None:
        """``have``: what may be taken of the machine; None: nobody is told of any."""
        self._worker = worker
        self._count = count
        self._have = have
        #: What of it is taken by what runs.
        self._taken = NOTHING
        #: The accelerators of each kind that nobody has, by their numbers, from 0.
        self._idle = {kind: list(range(n)) for kind, n in (have or NOTHING).accelerators}
        #: Whether a run can be ended, and so a limit be kept.
        self.can_stop = can_stop
        #: Whether nothing more is taken: we go down.
        self.is_closed = False
        #: Whether nothing more is taken for a moment.
        self.is_paused = False
        #: Waiting, the oldest first.
        self.queue: OrderedDict[Record, None] = OrderedDict()
        #: Handed to the pool, and not known to have begun, by the pool's number, the oldest first;
        #: and those of them that were asked back.
        self.handed: dict[int, Record] = {}
        self.recalled: dict[int, Record] = {}
        #: By the pool's number. What is detached or receipted takes a slot like any other.
        self.running: dict[int, Record] = {}
        self._offered: dict[str, Offer] = {}
        self._last_key = 0
        #: When tasks ended, within the last second: the rate that credit follows.
        self._ends: deque[float] = deque(maxlen=CREDIT_MAX)

    def offer(self, tasks: Iterable[Offer]) -> None:
        """These are the tasks that can be run."""
        self._offered = {offer.name: offer for offer in tasks}

    @property
    def offered(self) -> Sequence[str]:
        """The tasks we offer, by name; none while we go down."""
        return () if self.is_closed else sorted(self._offered)

    def credit(self, now: float) -> int:
        """How many unfinished requests we take: the slots, and what was finished within a second.

        So quick tasks queue up here and the slots never run dry, and long ones never wait here
        while another worker is idle.
        """
        if self.is_closed or self.is_paused:
            return 0
        return self._pace(now)

    def _pace(self, now: float) -> int:
        ends = self._ends
        while ends and now - ends[0] > 1.0:
            ends.popleft()
        return min(self._count + len(ends), CREDIT_MAX)

    def room(self, now: float) -> int:
        """How many more the pool can be given."""
        return self._pace(now) - self._with_the_pool

    @property
    def _with_the_pool(self) -> int:
        return len(self.handed) + len(self.recalled) + len(self.running)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or runs."""
        return not (self.queue or self.handed or self.recalled or self.running)

    @property
    def is_crowded(self) -> bool:
        """Whether more waits and runs than any credit allows."""
        return self.busy >= CREDIT_MAX

    @property
    def oldest(self) -> Record | None:
        """The request that has been queued longest, and was not asked back."""
        handed = next(iter(self.handed.values()), None)
        queued = next(iter(self.queue), None)
        if handed is None or (queued is not None and queued.since < handed.since):
            return queued
        return handed

    @property
    def impatient_at(self) -> float:
        """When the request that has been queued longest goes back, so that an idle worker gets it.

        taskflow's peers would send it to this very topic again: theirs stay.
        """
        oldest = self.oldest
        if oldest is not None and oldest.is_native:
            return oldest.since + QUEUE_PATIENCE
        return math.inf

    def next(self, now: float) -> Record | None:
        """The first of the queue which the pool can be given; None if there is none.

        What says what it needs is not handed over ahead: it takes that from then on.
        """
        if not self.queue or self.room(now) <= 0:
            return None
        has_a_slot = self._with_the_pool < self._count
        for record in self.queue:
            if record.needs is None or (has_a_slot and self._has_room_for(record.needs)):
                return record
        return None

    @property
    def busy(self) -> int:
        """How many requests wait or run."""
        return len(self.queue) + self._with_the_pool

    def free_for(self, reply_to: str) -> Resources | None:
        """What would be free if this executor had nothing here; None: nobody is told of any."""
        if self._have is None:
            return None
        others = NOTHING
        with_the_pool = (self.handed, self.recalled, self.running)
        for record in chain(self.queue, *(some.values() for some in with_the_pool)):
            if record.needs is not None and record.reply_to != reply_to:
                others = others.plus(record.needs)
        return self._have.minus(others)

    def _has_room_for(self, needs: Resources) -> bool:
        return self._have is not None and self._have.holds(self._taken.plus(needs))

    def hand_over(self, record: Record, begin_by: float = math.inf) -> Work:
        """It leaves the queue for the pool, which returns it if it has not begun it by then.

        What has no start-by, from peers that send nothing again, begins whenever it can.
        """
        del self.queue[record]
        if record.needs is not None:
            self._taken = self._taken.plus(record.needs)
            if record.needs.accelerators:
                record.devices = self._assign(record.needs)
        self._last_key += 1
        record.key = self._last_key
        self.handed[record.key] = record
        return self._work(record, begin_by)

    def recall(self, record: Record, reason: ReleaseReason) -> bool:
        """The pool is to be asked for it; whether that is news."""
        is_news = self.handed.pop(record.key, None) is not None
        if is_news:
            self.recalled[record.key] = record
            record.recalled = reason
        return is_news

    def begin(self, key: int) -> Record | None:
        """It has begun; None if that is no news, or nobody's."""
        record = self._leave(key)
        if record is not None:
            record.state = "running"
            record.recalled = None
            self.running[key] = record
        return record

    def take(self, key: int) -> Record | None:
        """The pool has returned it; None if that does not have it, or it has begun."""
        record = self._leave(key)
        if record is not None:
            record.key = 0
            self._give_back(record)
        return record

    def _leave(self, key: int) -> Record | None:
        record = self.handed.pop(key, None)
        return record if record is not None else self.recalled.pop(key, None)

    def end(self, key: int, now: float) -> Record | None:
        """The run with this number is over; None if there is none."""
        record = self.leave(key)
        if record is not None:
            self._ends.append(now)
        return record

    def leave(self, key: int) -> Record | None:
        """The run with this number takes no place any more; None if there is none."""
        record = self.running.pop(key, None)
        if record is not None:
            self._give_back(record)
        return record

    def _assign(self, needs: Resources) -> dict[str, list[int]]:
        """Accelerators of its own: of each kind the first that are idle."""
        devices: dict[str, list[int]] = {}
        for kind, count in needs.accelerators:
            idle = self._idle[kind]
            devices[kind], self._idle[kind] = idle[:count], idle[count:]
        return devices

    def _give_back(self, record: Record) -> None:
        if record.needs is None:
            return
        self._taken = self._taken.minus(record.needs)
        for kind, numbers in (record.devices or {}).items():
            self._idle[kind] = sorted([*self._idle[kind], *numbers])
        record.devices = None

    def why_not(self, record: Record) -> FailureDict | None:
        """Why this request fails without having been run; None: it can run."""
        assert record.request is not None
        task = record.request.task
        offer = self._offered.get(task)
        if offer is None:
            return self._not_offered(task)
        if record.needs is not None and (short := self._too_small(record.needs, task)) is not None:
            return from_exception(short)
        limits = [limit for limit in _limits(record, offer) if limit is not None]
        if self.can_stop or not limits:
            return None
        return from_exception(
            LimitRefused(
                f"worker {self._worker} did not run {task}: it cannot keep its time limit of "
                f"{min(limits):g} s, because it runs tasks in threads, and a thread cannot be "
                "ended; drop the limit, or run the task on workers with --pool processes"
            )
        )

    def _too_small(self, needs: Resources, task: str) -> InsufficientSystemResources | None:
        if self._have is None:
            return InsufficientSystemResources(
                f"worker {self._worker} did not run {task}: it needs {needs}, and this worker has "
                "told nobody what it has; run it on workers with --pool processes"
            )
        short = self._have.shortage(needs)
        if short is None:
            return None
        return InsufficientSystemResources(
            f"worker {self._worker} did not run {task}: it needs {short.requested_words}, and "
            f"there is {short.available_words} here; run it on a larger machine, or ask for less"
        )

    def _not_offered(self, task: str) -> FailureDict:
        offered = sorted(self._offered)
        shown = ", ".join(offered[:10]) or "nothing"
        more = f" and {len(offered) - 10} more" if len(offered) > 10 else ""
        return from_text(
            ("KeyError", "LookupError", "Exception"),
            f"worker {self._worker} does not offer the task {task!r}; it offers {shown}{more}",
        )

    def _work(self, record: Record, begin_by: float) -> Work:
        request = record.request
        assert request is not None
        time_limit, soft_time_limit = _limits(record, self._offered.get(request.task))
        return Work(
            key=record.key,
            uuid=record.uuid,
            task=request.task,
            name=request.name,
            action=request.action,
            args=request.args,
            arguments=request.arguments,
            result=request.result,
            failures=request.failures,
            attempt=record.attempt,
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            memory_limit=record.memory_limit,
            devices=record.devices,
            start_by=_start_by(record, begin_by),
        )


def _start_by(record: Record, begin_by: float) -> int | None:
    if record.header is None:
        return None
    return int(min(record.header.start_by or 0, begin_by * 1000))


def _limits(record: Record, offer: Offer | None) -> tuple[float | None, float | None]:
    """The time limit and the soft one, in seconds: each the request's own, else the task's."""
    header = record.header
    hard = offer.time_limit if offer else None
    soft = offer.soft_time_limit if offer else None
    if header is not None and header.time_limit is not None:
        hard = header.time_limit / 1000
    if header is not None and header.soft_time_limit is not None:
        soft = header.soft_time_limit / 1000
    return hard, soft
