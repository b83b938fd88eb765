"""What is said of jobs: by what issues them, by the batch system that runs them, by an autoscaler.

They are events like those of requests (``protocol.events``, which knows their JSON form): published
on a bus, written to a journal, and folded (``protocol.job_status``). Ten of them are what a Toil
leader says (``bus.news.toil`` has both directions); Toil's name is in brackets where it is another.
JobStarted and JobKilled are ours: who reads Toil's cannot tell what is queued from what runs.

A job is named by the one who issues it, for good; each time it is issued it gets a batch id, a new
one, and by that the batch system speaks of it. Nothing orders what the two say: an external id may
come before its JobIssued, and after its JobCompleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class JobIssued:
    """It was given to the batch system, for the first time or again."""

    word: ClassVar[str] = "job_issued"

    job: str
    #: What kind of job it is, for statistics: its function or tool.
    kind: str
    batch_id: int


@dataclass(frozen=True, slots=True)
class JobPlaced:
    """The batch system has taken it over [ExternalBatchId]."""

    word: ClassVar[str] = "job_placed"

    batch_id: int
    #: What it is called there: a scheduler's number, a pid, a request's uuid.
    external_id: str
    #: The batch system's name.
    system: str


@dataclass(frozen=True, slots=True)
class JobStarted:
    """Its process runs."""

    word: ClassVar[str] = "job_started"

    batch_id: int


@dataclass(frozen=True, slots=True)
class JobKilled:
    """It was ended as asked, or taken out of the queue; nothing more is heard of this batch id."""

    word: ClassVar[str] = "job_killed"

    batch_id: int


@dataclass(frozen=True, slots=True)
class JobCompleted:
    """It came back from the batch system, well or not."""

    word: ClassVar[str] = "job_completed"

    job: str
    kind: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class JobUpdated:
    """Something is to be done about it, by who issues jobs: it came back, or may be issued now."""

    word: ClassVar[str] = "job_updated"

    job: str
    #: 0 unless it came back with something else.
    status: int


@dataclass(frozen=True, slots=True)
class JobFailed:
    """It has failed for good: it will not be issued again."""

    word: ClassVar[str] = "job_failed"

    job: str
    kind: str


@dataclass(frozen=True, slots=True)
class JobMissing:
    """The batch system should hold it, and does not."""

    word: ClassVar[str] = "job_missing"

    job: str


@dataclass(frozen=True, slots=True)
class JobAnnotated:
    """Something more is known of it, under a name; the last value of a name counts."""

    word: ClassVar[str] = "job_annotated"

    job: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class QueueSize:
    """So many jobs are issued and have not come back."""

    word: ClassVar[str] = "queue_size"

    size: int


@dataclass(frozen=True, slots=True)
class ClusterSize:
    """An autoscaler believes that so many machines of a type are there."""

    word: ClassVar[str] = "cluster_size"

    instance_type: str
    size: int


@dataclass(frozen=True, slots=True)
class ClusterDesired:
    """An autoscaler wants so many machines of a type [ClusterDesiredSize]."""

    word: ClassVar[str] = "cluster_desired"

    instance_type: str
    size: int


JobEvent = (
    JobIssued
    | JobPlaced
    | JobStarted
    | JobKilled
    | JobCompleted
    | JobUpdated
    | JobFailed
    | JobMissing
    | JobAnnotated
    | QueueSize
    | ClusterSize
    | ClusterDesired
)
