"""What is remembered of jobs over the leader's end: a journal of its own, beside its executor's.

The executor's journal knows every request, and its end. This one knows which of them are jobs, by
which id, and which updates the leader has taken: of each job that it was placed, that it was
killed, and that its update was taken. So a leader that is started again has the same jobs under the
same ids, and is told each end that it has not taken. A job that was submitted just before the
leader was killed, so that ``issue`` never returned its id, is in the executor's journal alone: it
is nobody's.

Any thread; the journal has a lock of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bus.news import Damage, Journal, read
from protocol.jobs import JobCompleted, JobEvent, JobIssued, JobKilled, JobPlaced


@dataclass(frozen=True, slots=True)
class Kept:
    """A job that was issued, and whose update was not taken."""

    job_id: int
    name: str
    #: Of its request.
    uuid: str


class Register:
    """One leader's. Raises ``JournalLocked`` and ``JournalError`` as a journal does."""

    def __init__(self, path: str | os.PathLike[str], system: str) -> None:
        self._system = system
        self._journal = Journal(Path(path), system)
        #: What was open when it was opened, by id; and the highest id that is known.
        self.kept: dict[int, Kept] = {}
        self.last_id = 0
        names: dict[int, str] = {}
        for entry in read(self._journal.path):
            if isinstance(entry, Damage):
                continue
            event = entry.event
            if isinstance(event, JobIssued):
                names[event.batch_id] = event.kind
                self.last_id = max(self.last_id, event.batch_id)
            elif isinstance(event, JobPlaced):
                kind = names.get(event.batch_id, "")
                self.kept[event.batch_id] = Kept(event.batch_id, kind, event.external_id)
            elif isinstance(event, JobKilled):
                self.kept.pop(event.batch_id, None)
            elif isinstance(event, JobCompleted) and event.job.isdigit():
                self.kept.pop(int(event.job), None)

    def placed(self, job_id: int, name: str, uuid: str) -> None:
        """It was submitted, and its id is about to be returned."""
        self._write(JobIssued(str(job_id), name, job_id), JobPlaced(job_id, uuid, self._system))

    def killed(self, job_ids: list[int]) -> None:
        """Nothing is told of these any more."""
        for job_id in job_ids:
            self._write(JobKilled(job_id), JobCompleted(str(job_id), "", -1))

    def taken(self, job_id: int, name: str, exit_status: int) -> None:
        """The leader has its update."""
        self._write(JobCompleted(str(job_id), name, exit_status))

    def close(self) -> None:
        """Let go of the file."""
        self._journal.close()

    def _write(self, *events: JobEvent) -> None:
        self._journal.append(events)
