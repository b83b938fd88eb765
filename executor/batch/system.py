"""``BatchSystem``: the interface. What a leader may rely on, whoever runs its jobs.

The semantics are those that Toil documents for its batch systems (``AbstractBatchSystem``), with
names of our own. ``testing.BatchSystemSuite`` is the contract in full.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from bus.news import Bus
from executor.batch.job import Job, JobUpdate
from executor.nodes import NodeInfo
from protocol.resources import Requirements

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own is 3.11


class BatchSystem(abc.ABC):
    """Runs jobs. One leader, on whatever threads.

    A job is *issued* from ``issue`` until its update has been handed out, or it was killed; it is
    *running* while its process is. Every job that is not killed has one update, and no more.
    """

    @abc.abstractmethod
    def issue(self, job: Job) -> int:
        """Take this one over; returns its id, a whole number from 1 that no other has.

        Raises ``InsufficientSystemResources`` for what can never be run here, as :meth:`check`
        does, and ``ExecutorClosed`` after ``shutdown``.
        """

    @abc.abstractmethod
    def check(self, needs: Requirements) -> None:
        """Raise ``InsufficientSystemResources`` for more than is here, or may be asked for."""

    @abc.abstractmethod
    def kill(self, job_ids: Iterable[int]) -> None:
        """End these. When it returns they are in no list, and no update, and nothing of them runs.

        Ids that nobody has, or of jobs that have ended, are passed over; of one that has ended and
        was not told, no update is handed out any more.
        """

    @abc.abstractmethod
    def issued(self) -> set[int]:
        """The ids of all that are issued."""

    @abc.abstractmethod
    def running(self) -> dict[int, float]:
        """Those that run, with how long they have been running, in seconds."""

    @abc.abstractmethod
    def next_update(self, timeout: float) -> JobUpdate | None:
        """The next job that has ended; None if there is none for ``timeout`` seconds.

        Each is handed out once. To a leader that was started again, with a journal, what was handed
        out last may come again: it is taken as seen when the next one is asked for.
        """

    @abc.abstractmethod
    def set_env(self, name: str, value: str | None = None) -> None:
        """Set a variable for all jobs that are issued from now on; None: as it is here.

        Raises ``ConfigurationError`` if it is not set here either.
        """

    @abc.abstractmethod
    def scheduling_status(self) -> str | None:
        """What keeps jobs from running, in a sentence; None: nothing that is known."""

    @abc.abstractmethod
    def output(self, job_id: int, stream: str = "stdout") -> str:
        """What this job has written so far, ``stdout`` or ``stderr``; of much, the end of it.

        Raises ``UnknownRequest`` for a job that was never issued, or that nobody knows any more.
        """

    @abc.abstractmethod
    def connect(self, bus: Bus) -> None:
        """Say on this bus what becomes of jobs: ``JobPlaced``, ``JobStarted``, ``JobKilled``."""

    @abc.abstractmethod
    def shutdown(self) -> None:
        """End all that runs, and clean up where jobs ran. May be called twice."""

    # for who adds and removes machines ----------------------------------------------------------

    @abc.abstractmethod
    def nodes(self, preemptible: bool | None = None) -> dict[str, NodeInfo]:
        """The machines by name: all, or those that are preemptible, or not."""

    @abc.abstractmethod
    def node_in_use(self, name: str) -> bool:
        """Whether something runs or waits there. False for one nobody knows."""

    @abc.abstractmethod
    def ignore_node(self, name: str) -> None:
        """Send no more jobs to this machine; those there go on."""

    @abc.abstractmethod
    def unignore_node(self, name: str) -> None:
        """Send jobs there again."""

    # ---------------------------------------------------------------------------------------------

    def updates(self, job_ids: Collection[int], timeout: float) -> dict[int, JobUpdate]:
        """Updates as they come, until each of these has ended or none has for ``timeout`` s.

        What comes of other jobs meanwhile is among them.
        """
        found: dict[int, JobUpdate] = {}
        while set(job_ids) - set(found):
            update = self.next_update(timeout)
            if update is None:
                break
            found[update.job_id] = update
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()
