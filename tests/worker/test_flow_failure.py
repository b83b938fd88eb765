"""Failures as a task gets them and as it may hand them back."""

from __future__ import annotations

from taskflow import task
from taskflow.types.failure import Failure

from protocol.failure import from_exception, from_text
from worker.flow_failure import RemoteFailure, failure_dict, failure_maker, returned_failure


class Own(RuntimeError):
    """An exception of a module's own."""


def _caught(error: BaseException) -> Failure:
    try:
        raise error
    except BaseException:
        return Failure()


def test_a_failure_answers_for_classes_and_names() -> None:
    failure = RemoteFailure(from_exception(Own("boom")))
    assert failure.check(KeyError, Own) is Own
    assert failure.check("RuntimeError") == "RuntimeError"
    assert failure.check(KeyError, "ValueError") is None
    assert list(failure) == [f"{__name__}.Own", "RuntimeError", "Exception"]
    assert str(failure) == f"{__name__}.Own: boom"
    assert failure.exception_args == ("boom",)


def test_a_failure_of_little_said_can_still_be_asked() -> None:
    failure = RemoteFailure({"exception_str": "old"})
    assert (failure.traceback_str, failure.exception_args, failure.causes) == ("", (), ())
    assert failure.check(Exception) is Exception


def test_causes_are_failures_too() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        failure = RemoteFailure(from_exception(error))
    assert [cause.check(KeyError) for cause in failure.causes] == [KeyError]


def test_only_taskflows_own_tasks_get_taskflows_failures() -> None:
    class Flow(task.Task):
        def execute(self) -> None: ...

    said = from_text(["ValueError"], "boom")
    assert isinstance(failure_maker(Flow)(said), Failure)
    assert isinstance(failure_maker(Own)(said), RemoteFailure)
    assert failure_maker(Flow)({**said, "added_later": 1, "version": 2}).check(ValueError)


def test_a_failure_is_recognised_among_results() -> None:
    failure = _caught(ValueError("boom"))
    assert returned_failure(failure) is failure
    assert returned_failure({"exception_str": "boom"}) is None


def test_a_returned_failure_becomes_a_dict_taskflow_reads() -> None:
    said = failure_dict(_caught(ValueError("boom", {1, 2})))
    assert said["exc_type_names"] == ["ValueError", "Exception"]
    assert said["exc_args"] == []
    assert Failure.from_dict(said).check(ValueError) is ValueError
    assert failure_dict(Failure.from_dict(said)) == said
