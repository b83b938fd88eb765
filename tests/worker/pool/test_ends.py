"""How ends are worded that a task did not come to by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.samples.inbox import work
from worker.pool import ends

WORK = work(7, "my.task", time_limit=2.5)


@pytest.mark.parametrize(
    ("ended", "end", "kind", "text"),
    [
        (
            ends.at_limit(WORK, 12),
            "limit",
            "protocol.errors.TimeLimitExceeded",
            "my.task ran for its time_limit of 2.5 s and was ended with its process 12: give it",
        ),
        (
            ends.stopped(WORK, "was ended as asked"),
            "stopped",
            "worker.host.TaskStopped",
            "my.task was ended as asked",
        ),
        (
            ends.crashed(WORK, 12, "exit code 3"),
            "crash",
            "worker.host.HostCrashed",
            "my.task did not come to its end: its process 12 ended with exit code 3",
        ),
        (
            ends.not_run(WORK, 3, "no memory"),
            "crash",
            "worker.host.HostCrashed",
            "my.task could not be run: the last 3 processes for it did not come up; no memory",
        ),
    ],
)
def test_an_end_is_a_failure_with_task_and_reason(
    ended: Any, end: str, kind: str, text: str
) -> None:
    assert (ended.key, ended.end) == (7, end)
    assert ended.failure["exc_type_names"][0] == kind
    assert ended.failure["exception_str"].startswith(text)
