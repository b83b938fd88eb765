"""Where in a file the lines of each open job are; the part of ``index`` that is about jobs.

Decided here: which of their lines go along into the next file. Those of every job that was issued
and has neither succeeded nor failed for good; what was said of batch ids that are not issued yet;
and how large queue and clusters were said to be last. What has ended stays behind.

Not thread-safe: the journal's lock is around it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

from protocol.job_status import MAX_EARLY
from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobKilled,
    JobPlaced,
    JobStarted,
    QueueSize,
)

_SIZES: Final = (ClusterSize, ClusterDesired)


class OpenJobs:
    """One file. A place is an int, as ``index`` makes it."""

    def __init__(self) -> None:
        self._places: dict[str, array[int]] = {}
        #: The job of each batch id that it was issued with, while it is open.
        self._job_of: dict[int, str] = {}
        self._batch_ids: dict[str, list[int]] = {}
        self._early: dict[int, array[int]] = {}
        #: The newest batch ids of what has ended, of which something may still be said.
        self._ended: dict[int, None] = {}
        self._sizes: dict[tuple[str, str], int] = {}

    def note(self, event: JobEvent, where: int) -> None:
        """A line with this event, just written or read."""
        if isinstance(event, (JobPlaced, JobStarted, JobKilled)):
            self._about_batch_id(event.batch_id, where)
        elif isinstance(event, QueueSize):
            self._sizes[event.word, ""] = where
        elif isinstance(event, _SIZES):
            self._sizes[event.word, event.instance_type] = where
        elif isinstance(event, JobIssued):
            places = self._places.setdefault(event.job, array("Q"))
            places.append(where)
            places.extend(self._early.pop(event.batch_id, ()))
            self._job_of[event.batch_id] = event.job
            self._ended.pop(event.batch_id, None)
            self._batch_ids.setdefault(event.job, []).append(event.batch_id)
        elif (found := self._places.get(event.job)) is not None:
            found.append(where)
            if isinstance(event, JobFailed) or (
                isinstance(event, JobCompleted) and event.exit_code == 0
            ):
                self._leave(event.job)

    def needed(self) -> Iterator[int]:
        """The places of the lines that go along, in no order."""
        for found in (self._places, self._early):
            for places in found.values():
                yield from places
        yield from self._sizes.values()

    def _about_batch_id(self, batch_id: int, where: int) -> None:
        job = self._job_of.get(batch_id)
        if job is not None:
            self._places[job].append(where)
            return
        if batch_id in self._ended:
            return
        self._early.setdefault(batch_id, array("Q")).append(where)
        if len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]

    def _leave(self, job: str) -> None:
        del self._places[job]
        for batch_id in self._batch_ids.pop(job):
            self._job_of.pop(batch_id, None)
            self._ended[batch_id] = None
            if len(self._ended) > MAX_EARLY:
                del self._ended[next(iter(self._ended))]
