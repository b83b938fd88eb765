"""Toil's bus and its file format, on ours: ``toil.bus``'s own names, and a few of ours.

With this in the place of ``toil.bus`` a Toil leader runs on our bus. What it, or a real Toil, has
written is read here, and what is written here is read by Toil. Nothing of Toil is needed.

The rooms: ``messages`` (what is said), ``text`` (one line of a file), ``translation`` (Toil's
messages ↔ our events), ``output`` (a bus → a file), ``reading`` (a file → entries and damage),
``replay`` (a file → job statuses), ``leader`` (the bus as a Toil leader knows it).
"""

from __future__ import annotations

from bus.news.toil.leader import (
    MessageBus,
    MessageBusClient,
    MessageBusConnection,
    MessageInbox,
    MessageOutbox,
)
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
    Names,
    QueueSizeMessage,
    get_job_kind,
)
from bus.news.toil.output import connect_output_file
from bus.news.toil.reading import follow, is_toil, read, tail
from bus.news.toil.replay import JobStatus, gen_message_bus_path, replay_message_bus
from bus.news.toil.text import bytes_to_message, message_to_bytes
from bus.news.toil.translation import to_event, to_message

__all__ = [
    "ClusterDesiredSizeMessage",
    "ClusterSizeMessage",
    "ExternalBatchIdMessage",
    "JobAnnotationMessage",
    "JobCompletedMessage",
    "JobFailedMessage",
    "JobIssuedMessage",
    "JobMissingMessage",
    "JobStatus",
    "JobUpdatedMessage",
    "MessageBus",
    "MessageBusClient",
    "MessageBusConnection",
    "MessageInbox",
    "MessageOutbox",
    "Names",
    "QueueSizeMessage",
    "bytes_to_message",
    "connect_output_file",
    "follow",
    "gen_message_bus_path",
    "get_job_kind",
    "is_toil",
    "message_to_bytes",
    "read",
    "replay_message_bus",
    "tail",
    "to_event",
    "to_message",
]
