"""What the messages in a file of Toil's come to, job by job, as Toil's own tools want to know it.

``JobStatus`` and its meanings are Toil's; ``protocol.job_status`` says more, and better.

Two things are other than in Toil: a line that cannot be read costs itself alone, with a warning in
the log; and an external id that comes before its job is issued is kept until then.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bus.news.toil.messages import (
    ExternalBatchIdMessage,
    JobAnnotationMessage,
    JobCompletedMessage,
    JobFailedMessage,
    JobIssuedMessage,
    JobUpdatedMessage,
)
from bus.news.toil.output import Place
from bus.news.toil.reading import Unreadable, scan

logger = logging.getLogger("taskline.bus.news.toil.replay")


@dataclass
class JobStatus:
    """One job, as Toil's tools see it. What was not said is "", -1 or {}."""

    job_store_id: str
    #: Its kind.
    name: str
    #: -1: it runs, waits, or was not heard of.
    exit_code: int
    #: By name, the last value of each.
    annotations: dict[str, str]
    #: Of the last time it was issued.
    toil_batch_id: int
    #: The last one that was told, of any time it was issued.
    external_batch_id: str
    batch_system: str

    def __repr__(self) -> str:
        return json.dumps(self, default=lambda status: status.__dict__, indent=4)

    def is_running(self) -> bool:
        """Whether it was issued, and has come to nothing yet."""
        return self.exit_code < 0 and self.job_store_id != ""


def replay_message_bus(path: Place) -> dict[str, JobStatus]:
    """By job store id, in the order in which they were first mentioned.

    Of a file that is not there: none, with a warning in the log. A last line without an end is not
    looked at. Raises ``OSError`` for a file that cannot be read.
    """
    replay = _Replay()
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - it may be a descriptor
            for found in scan(stream, _APPLIES):
                apply = _APPLIES.get(type(found))
                if apply is not None:
                    apply(replay, found)
                else:
                    _complain(found)
    except FileNotFoundError:
        logger.warning("there are no messages to replay: %r is not there", path)
    return replay.statuses


def gen_message_bus_path(tmpdir: str | None = None) -> str:
    """A new, empty file for messages, in ``tmpdir`` or where temporary files are; the caller's."""
    descriptor, path = tempfile.mkstemp(dir=tmpdir)
    os.close(descriptor)
    return path


def _complain(found: Unreadable) -> None:
    logger.warning("a message was passed over, %s: %r", found.why, found.raw)


class _Replay:
    def __init__(self) -> None:
        self.statuses: dict[str, JobStatus] = defaultdict(_nothing_said)
        #: The status of the job that each batch id was issued for.
        self._issued: dict[int, JobStatus] = {}
        self._early: dict[int, ExternalBatchIdMessage] = {}

    def updated(self, message: JobUpdatedMessage) -> None:
        self.statuses[message.job_id].exit_code = _code(message.result_status)

    def issued(self, message: JobIssuedMessage) -> None:
        status = self.statuses[message.job_id]
        status.job_store_id = message.job_id
        status.name = message.job_type
        status.toil_batch_id = message.toil_batch_id
        status.exit_code = -1
        self._issued[message.toil_batch_id] = status
        early = self._early.pop(message.toil_batch_id, None)
        if early is not None:
            self.placed(early)

    def completed(self, message: JobCompletedMessage) -> None:
        status = self.statuses[message.job_id]
        status.name = message.job_type
        status.exit_code = _code(message.exit_code)

    def failed(self, message: JobFailedMessage) -> None:
        status = self.statuses[message.job_id]
        status.name = message.job_type
        status.exit_code = status.exit_code or 1

    def annotated(self, message: JobAnnotationMessage) -> None:
        annotations = self.statuses[message.job_id].annotations
        annotations[message.annotation_name] = message.annotation_value

    def placed(self, message: ExternalBatchIdMessage) -> None:
        status = self._issued.get(message.toil_batch_id)
        if status is None:
            self._early[message.toil_batch_id] = message
        else:
            status.external_batch_id = message.external_batch_id
            status.batch_system = message.batch_system


def _nothing_said() -> JobStatus:
    return JobStatus("", "", -1, {}, -1, "", "")


def _code(number: int | None) -> int:
    """None was written where nobody knew it."""
    return -1 if number is None else number


_APPLIES: Final[dict[type, Callable[[_Replay, Any], None]]] = {
    JobUpdatedMessage: _Replay.updated,
    JobIssuedMessage: _Replay.issued,
    JobCompletedMessage: _Replay.completed,
    JobFailedMessage: _Replay.failed,
    JobAnnotationMessage: _Replay.annotated,
    ExternalBatchIdMessage: _Replay.placed,
}
