"""Toil's messages as events of ours, and back. Pure.

Ours say all that Toil's say. Of ours, those about requests, workers and what a Toil leader does not
tell (``JobStarted``, ``JobKilled``) have no message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bus.news.toil.messages import (
    ClusterDesiredSizeMessage,
    ClusterSizeMessage,
    ExternalBatchIdMessage,
    JobAnnotationMessage,
    JobCompletedMessage,
    JobFailedMessage,
    JobIssuedMessage,
    JobMissingMessage,
    JobUpdatedMessage,
    QueueSizeMessage,
)
from protocol.errors import MessageRefused
from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobAnnotated,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobMissing,
    JobPlaced,
    JobUpdated,
    QueueSize,
)


def to_event(message: Any) -> JobEvent | None:
    """The event that says the same; None if it is none of Toil's ten messages.

    Raises :class:`~protocol.errors.MessageRefused` for a field that cannot be what it should be,
    such as an exit code that is None.
    """
    make = _EVENTS.get(type(message))
    if make is None:
        return None
    try:
        return make(message)
    except (TypeError, ValueError) as error:
        raise MessageRefused("event_field", f"{message}: {error}"[:200]) from None


def to_message(event: Any) -> Any:
    """The message that says the same; None if Toil has none for it."""
    make = _MESSAGES.get(type(event))
    return None if make is None else make(event)


_EVENTS: Final[dict[type, Callable[[Any], JobEvent]]] = {
    JobIssuedMessage: lambda m: JobIssued(m.job_id, m.job_type, int(m.toil_batch_id)),
    JobUpdatedMessage: lambda m: JobUpdated(m.job_id, int(m.result_status)),
    JobCompletedMessage: lambda m: JobCompleted(m.job_id, m.job_type, int(m.exit_code)),
    JobFailedMessage: lambda m: JobFailed(m.job_id, m.job_type),
    JobMissingMessage: lambda m: JobMissing(m.job_id),
    JobAnnotationMessage: lambda m: JobAnnotated(m.job_id, m.annotation_name, m.annotation_value),
    ExternalBatchIdMessage: lambda m: JobPlaced(
        int(m.toil_batch_id), m.external_batch_id, m.batch_system
    ),
    QueueSizeMessage: lambda m: QueueSize(int(m.queue_size)),
    ClusterSizeMessage: lambda m: ClusterSize(m.instance_type, int(m.current_size)),
    ClusterDesiredSizeMessage: lambda m: ClusterDesired(m.instance_type, int(m.desired_size)),
}

_MESSAGES: Final[dict[type, Callable[[Any], Any]]] = {
    JobIssued: lambda e: JobIssuedMessage(e.kind, e.job, e.batch_id),
    JobUpdated: lambda e: JobUpdatedMessage(e.job, e.status),
    JobCompleted: lambda e: JobCompletedMessage(e.kind, e.job, e.exit_code),
    JobFailed: lambda e: JobFailedMessage(e.kind, e.job),
    JobMissing: lambda e: JobMissingMessage(e.job),
    JobAnnotated: lambda e: JobAnnotationMessage(e.job, e.name, e.value),
    JobPlaced: lambda e: ExternalBatchIdMessage(e.batch_id, e.external_id, e.system),
    QueueSize: lambda e: QueueSizeMessage(e.size),
    ClusterSize: lambda e: ClusterSizeMessage(e.instance_type, e.size),
    ClusterDesired: lambda e: ClusterDesiredSizeMessage(e.instance_type, e.size),
}
