"""What a job's end is called, whatever its request came to."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import pytest

from executor.batch.job import EXIT_STATUS_UNAVAILABLE, ExitReason
from executor.batch.outcome import update_of
from protocol.commands import CommandEnd, end_from_json
from protocol.errors import (
    ExecutorSuperseded,
    InsufficientSystemResources,
    MemoryLimitExceeded,
    PoisonTask,
    RequestTimeout,
    ResultLost,
    TaskCancelled,
    TaskFailed,
    TimeLimitExceeded,
    WorkerLost,
)
from protocol.values import dumps, loads


@pytest.mark.parametrize(
    ("status", "reason"),
    [(0, ExitReason.FINISHED), (1, ExitReason.FAILED), (137, ExitReason.FAILED)],
)
def test_a_command_that_ended_finished_or_failed(status: int, reason: ExitReason) -> None:
    update = update_of(3, "u1", CommandEnd(status, 2.5).to_json(), 9.0)
    assert (update.job_id, update.external_id) == (3, "u1")
    assert (update.exit_status, update.reason, update.wall_time) == (status, reason, 2.5)


@pytest.mark.parametrize(
    ("status", "written", "message"),
    [
        (1, "Traceback\n  line 3\nOSError: no space\n\n", "OSError: no space"),
        (1, "x" * 1000, "x" * 500),
        (1, " \n", ""),
        (0, "a warning\n", ""),
    ],
)
def test_of_what_failed_the_last_line_it_wrote_is_told(
    status: int, written: str, message: str
) -> None:
    end = CommandEnd(status, 2.5, stderr_tail=written)
    assert update_of(3, "u1", end.to_json(), 9.0).message == message


@pytest.mark.parametrize("field", ["exit_status", "seconds"])
def test_an_end_with_a_number_that_nothing_can_hold_is_none(field: str) -> None:
    """Or its job would be listed for ever: a worker may write any int."""
    written = {**CommandEnd(0, 1.0).to_json(), field: 10**400}
    assert end_from_json(written) is None
    assert update_of(3, "u1", written, 9.0).reason == ExitReason.ERROR


def test_a_wall_time_is_more_than_nothing() -> None:
    update = update_of(3, "u1", CommandEnd(0, 0.0).to_json(), None)
    assert update.wall_time is not None
    assert update.wall_time > 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CancelledError(), ExitReason.KILLED),
        (TaskCancelled("x"), ExitReason.KILLED),
        (TimeLimitExceeded("x"), ExitReason.TIMELIMIT),
        (MemoryLimitExceeded("x"), ExitReason.MEMLIMIT),
        (WorkerLost("x"), ExitReason.LOST),
        (ResultLost("x"), ExitReason.LOST),
        (RequestTimeout("x"), ExitReason.LOST),
        (ExecutorSuperseded("x"), ExitReason.LOST),
        (PoisonTask("x"), ExitReason.ERROR),
        (InsufficientSystemResources("x"), ExitReason.ERROR),
        (TaskFailed("x"), ExitReason.ERROR),
        (FileNotFoundError("x"), ExitReason.ERROR),
    ],
)
def test_what_came_to_nothing_says_why(error: BaseException, reason: ExitReason) -> None:
    update = update_of(3, "u1", error, 1.5)
    assert (update.exit_status, update.reason) == (EXIT_STATUS_UNAVAILABLE, reason)
    assert update.wall_time == 1.5
    assert update.message in ("x", "CancelledError")


@pytest.mark.parametrize("result", [None, 5, [], {}, {"exit_status": "0", "seconds": 1}])
def test_an_answer_that_makes_no_sense_is_an_error_that_shows_it(result: Any) -> None:
    update = update_of(3, "u1", result, None)
    assert update.reason == ExitReason.ERROR
    assert str(result) in update.message


def test_an_end_travels() -> None:
    end = CommandEnd(1, 0.5, "out", "err", 3, 3, 2)
    assert end_from_json(loads(dumps(end.to_json()))) == end
    assert end_from_json({"exit_status": 1, "seconds": 2, "stdout_size": "x"}) == CommandEnd(1, 2.0)
