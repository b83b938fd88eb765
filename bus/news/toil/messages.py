"""What a Toil leader and its batch system say, under Toil's own names; the names of a job.

The fields, their order and their types are Toil's, and part of its file format. What each means is
said at our event for it (``protocol.jobs``); ``translation`` goes from one to the other.

In a file a message begins with its *topic*, the module and the class that Toil knows it by, which
is ``toil.bus.JobIssuedMessage`` and so on, wherever the class that stands for it here is defined.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Names(NamedTuple):
    """All the names that a job has."""

    #: Its kind: a function, a tool.
    job_name: str
    #: This piece of work of that kind.
    unit_name: str
    #: For people.
    display_name: str
    #: For logs and statistics.
    stats_name: str
    #: In the job store.
    job_store_id: str


def get_job_kind(names: Names) -> str:
    """What kind of job it is, for statistics: the first that is not empty of its unit name, job
    name and display name; else "Unknown Job". May contain spaces.
    """
    return names.unit_name or names.job_name or names.display_name or "Unknown Job"


class JobIssuedMessage(NamedTuple):
    """A job was given to the batch system."""

    job_type: str
    job_id: str
    toil_batch_id: int


class JobUpdatedMessage(NamedTuple):
    """Something is to be done about a job; not 0 if something went wrong."""

    job_id: str
    result_status: int


class JobCompletedMessage(NamedTuple):
    """A job came back, well or not."""

    job_type: str
    job_id: str
    exit_code: int


class JobFailedMessage(NamedTuple):
    """A job has failed for good."""

    job_type: str
    job_id: str


class JobMissingMessage(NamedTuple):
    """A job that the batch system should hold, and does not."""

    job_id: str


class JobAnnotationMessage(NamedTuple):
    """Something more that is known of a job."""

    job_id: str
    annotation_name: str
    annotation_value: str


class ExternalBatchIdMessage(NamedTuple):
    """What a batch id of Toil's is called at the batch system."""

    toil_batch_id: int
    external_batch_id: str
    batch_system: str


class QueueSizeMessage(NamedTuple):
    """How many jobs are issued and have not come back."""

    queue_size: int


class ClusterSizeMessage(NamedTuple):
    """How many machines of a type an autoscaler believes to be there."""

    instance_type: str
    current_size: int


class ClusterDesiredSizeMessage(NamedTuple):
    """How many machines of a type an autoscaler wants."""

    instance_type: str
    desired_size: int


#: All of them.
MESSAGES: Final[tuple[type[Any], ...]] = (
    JobIssuedMessage,
    JobUpdatedMessage,
    JobCompletedMessage,
    JobFailedMessage,
    JobMissingMessage,
    JobAnnotationMessage,
    ExternalBatchIdMessage,
    QueueSizeMessage,
    ClusterSizeMessage,
    ClusterDesiredSizeMessage,
)

_TOPICS: Final = {message: f"toil.bus.{message.__name__}" for message in MESSAGES}


def topic_of(message_type: type) -> str:
    """What messages of this type begin with in a file: of any other class, where it is defined."""
    found = _TOPICS.get(message_type)
    return found or f"{message_type.__module__}.{message_type.__name__}"
