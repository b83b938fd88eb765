"""What exit codes say."""

from __future__ import annotations

import pytest

from executor.commands import exits
from executor.commands.exits import exit_code
from protocol import errors
from protocol.failure import from_exception, to_exception


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (errors.ValueRefused("x"), 2),
        (errors.RequestTimeout("x"), 3),
        (errors.WaitTimeout("x"), 3),
        (errors.WorkerLost("x"), 3),
        (errors.TimeLimitExceeded("x"), 1),
        (errors.PoisonTask("x"), 1),
        (errors.TaskCancelled("x"), 1),
        (errors.ResultLost("x"), 1),
        (errors.LimitRefused("x"), 2),
        (errors.JournalError("x"), 2),
        (errors.UnknownRequest("x"), 2),
        (errors.BrokerUnavailable("x"), 4),
        (errors.TasklineError("ended without an answer"), 4),
        (to_exception(from_exception(ValueError("x"))), 1),
        (to_exception(from_exception(SystemExit(3))), 1),
        (OSError("x"), 1),
    ],
)
def test_each_error_has_its_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_an_error_of_ours_that_a_task_raised_is_the_task_failing() -> None:
    """A task that submits, itself, and gets no answer."""
    raised = to_exception(from_exception(errors.WaitTimeout("x")))
    assert isinstance(raised, errors.WaitTimeout)
    assert exit_code(raised) == exits.FAILED


def test_the_table_in_the_docstring_has_every_code() -> None:
    codes = [exits.DONE, exits.FAILED, exits.USAGE, exits.NO_ANSWER, exits.BROKER]
    rows = [line.split()[0] for line in (exits.__doc__ or "").splitlines() if line[:1].isdigit()]
    assert rows == [*map(str, codes), str(exits.INTERRUPTED)]
