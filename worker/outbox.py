"""Results that have been sent and are kept until they are receipted: one executor's.

Decided here: when a result is sent again, and which is thrown away at the bound. A result is sent
again after 2, 4, 8, 16, 30, 30 … seconds while its executor speaks. A large one may still be on its
way by then: it begins with the first of these that has a second for each of its MiB. While the
executor is silent only the oldest is sent, now and then, and all at once when it speaks again. What
is kept is the encoded body; the header is written anew each time, because the clock and the credit
in it are those of the moment.

Every operation but :meth:`Outbox.all_again` costs a constant: each step of the schedule is a queue
of its own, in the order of when its results are due. Owned by ``known``; what it hands out is sent
by the shift.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from typing import Final

from protocol.timing import RESULT_RESENDS
from worker.record import Record

#: Most results kept for one executor; at one more, the oldest is dropped.
MAX_RESULTS: Final = 10_000
#: The same in bytes of their bodies. The newest is kept in any case.
MAX_BYTES: Final = 64 * 1024 * 1024
#: How slowly a body may travel, in bytes a second, and not be sent again beside itself.
PACE: Final = 1024 * 1024
#: Seconds between two tries while the executor is silent.
PROBE: Final = RESULT_RESENDS[-1]


class _Kept:
    """One result."""

    __slots__ = ("body", "due", "first", "record", "sent", "step")

    def __init__(self, record: Record, body: bytes, now: float) -> None:
        self.record = record
        self.body = body
        #: When it was sent last, and when it is to be sent again.
        self.sent = now
        #: Which of the schedule's steps it begins with, and which it waits for.
        self.first = self.step = _first_step(len(body))
        self.due = now + RESULT_RESENDS[self.step]


def _first_step(size: int) -> int:
    """Of the schedule, for a body of so many bytes."""
    if size <= PACE:  # as nearly all are
        return 0
    last = len(RESULT_RESENDS) - 1
    return min(bisect_left(RESULT_RESENDS, size / PACE), last)


class Outbox:
    """Results by uuid, oldest first. The shift's thread only."""

    __slots__ = ("_bytes", "_kept", "_probed", "_steps")

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        #: For each step of the schedule what waits for it, by uuid, in the order it is due.
        self._steps: tuple[OrderedDict[str, _Kept], ...] = tuple(
            OrderedDict() for _ in RESULT_RESENDS
        )
        #: When the oldest was sent to a silent executor last.
        self._probed = -math.inf

    def __len__(self) -> int:
        """How many results are kept."""
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """What their bodies come to."""
        return self._bytes

    def take_body(self, record: Record, now: float) -> bytes:
        """The body of a result that is kept, to be sent now. Raises KeyError if it is not."""
        kept = self._kept[record.uuid]
        kept.sent = now
        return kept.body

    def holds(self, record: Record, body: bytes) -> bool:
        """Whether this very body is kept as its result."""
        kept = self._kept.get(record.uuid)
        return kept is not None and kept.record is record and kept.body is body

    def keep(self, record: Record, body: bytes, now: float) -> list[Record]:
        """It is being sent for the first time; returns what had to go for it, oldest first."""
        kept = _Kept(record, body, now)
        self._kept[record.uuid] = kept
        self._bytes += len(body)
        self._steps[kept.step][record.uuid] = kept
        gone: list[Record] = []
        while len(self._kept) > 1 and (len(self._kept) > MAX_RESULTS or self._bytes > MAX_BYTES):
            oldest = next(iter(self._kept.values())).record
            self.forget(oldest)
            gone.append(oldest)
        return gone

    def forget(self, record: Record) -> None:
        """It is receipted, dropped, or of no use any more. Of what is not kept: nothing."""
        kept = self._kept.get(record.uuid)
        if kept is not None and kept.record is record:
            del self._kept[record.uuid]
            del self._steps[kept.step][record.uuid]
            self._bytes -= len(kept.body)

    def take_due(self, now: float) -> list[Record]:
        """What is to be sent again now, while the executor speaks."""
        due: list[Record] = []
        for queue in self._steps:
            while queue:
                kept = next(iter(queue.values()))
                if kept.due > now:
                    break
                self._put_off(kept, min(kept.step + 1, len(self._steps) - 1), now)
                due.append(kept.record)
        return due

    def take_probe(self, now: float) -> Record | None:
        """The one to be sent again now, while the executor is silent."""
        if now < self._next_probe():
            return None
        oldest = next(iter(self._kept.values()))
        self._probed = oldest.sent = now
        return oldest.record

    def all_again(self, now: float, older: float = RESULT_RESENDS[0]) -> list[Record]:
        """All that was not sent within the last ``older`` seconds, oldest first."""
        again = [kept for kept in self._kept.values() if now - kept.sent >= older]
        for kept in again:
            self._put_off(kept, kept.first, now)
        return [kept.record for kept in again]

    def next_due(self, *, is_silent: bool) -> float:
        """When there is something to take; infinity if never."""
        if is_silent or not self._kept:
            return self._next_probe()
        return min(next(iter(queue.values())).due for queue in self._steps if queue)

    def _next_probe(self) -> float:
        if not self._kept:
            return math.inf
        return max(self._probed, next(iter(self._kept.values())).sent) + PROBE

    def _put_off(self, kept: _Kept, step: int, now: float) -> None:
        uuid = kept.record.uuid
        del self._steps[kept.step][uuid]
        kept.step = step
        kept.sent = now
        kept.due = now + RESULT_RESENDS[step]
        self._steps[step][uuid] = kept
