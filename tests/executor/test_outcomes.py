"""How a request ended, written down and read back: it ends the same way again."""

from __future__ import annotations

import concurrent.futures
import pickle
from typing import Any

import pytest

from executor import outcomes
from executor.effects import Error, Failed, Outcome, Value, Withdrawn
from executor.future import Future
from protocol import errors
from protocol.errors import (
    MessageRefused,
    PoisonTask,
    RequestTimeout,
    TaskCancelled,
    TaskFailed,
    TasklineError,
    TimeLimitExceeded,
)
from protocol.events import Ended
from protocol.failure import from_exception, from_text
from tests.executor.test_future import House

UUID = "u-1"


def settled(outcome: Outcome) -> Future[Any]:
    """A future that ended like this."""
    future: Future[Any] = Future(UUID, "m.task", House())
    outcomes.settle(future, outcome)
    assert future.done()
    return future


def again(outcome: Outcome, worker: str | None = None) -> Future[Any]:
    """The same after a restart."""
    ended = outcomes.to_event(UUID, outcome, worker)
    return settled(outcomes.from_event(ended))


@pytest.mark.parametrize("value", [None, 0, "text", [1, [2]], {"a": {"b": None}}])
def test_a_value_comes_back(value: Any) -> None:
    assert outcomes.to_event(UUID, Value(value), "w") == Ended(UUID, "success", value, "w")
    assert again(Value(value)).result(0) == value


def test_a_failure_comes_back_as_the_exception_it_was() -> None:
    try:
        raise ValueError("what", 42) from KeyError("k")
    except ValueError as error:
        failure = from_exception(error)
    for future in (settled(Failed(failure, "hare")), again(Failed(failure, "hare"))):
        found = future.exception(0)
        assert type(found) is ValueError
        assert found.args == ("what", 42)
        assert found.remote.worker == "hare"  # type: ignore[attr-defined]


def test_a_failure_of_an_unknown_class_comes_back_too() -> None:
    failure = from_text(("elsewhere.Odd", "Exception"), "odd")
    assert isinstance(again(Failed(failure, None)).exception(0), TaskFailed)
    assert isinstance(again(Failed("nonsense", None)).exception(0), TaskFailed)


@pytest.mark.parametrize("kind", [TimeLimitExceeded, PoisonTask, TaskCancelled, errors.WorkerLost])
def test_an_error_of_ours_comes_back_with_its_class_its_words_and_its_request(
    kind: type[errors.RequestEnded],
) -> None:
    found = again(Error(kind("it took too long", request_uuid=UUID))).exception(0)
    assert type(found) is kind
    assert (str(found), found.request_uuid) == ("it took too long", UUID)  # type: ignore[attr-defined]


def test_an_expiry_comes_back_with_the_state_it_expired_in() -> None:
    found = again(Error(RequestTimeout("late", request_uuid=UUID, state="PENDING"))).exception(0)
    assert isinstance(found, RequestTimeout)
    assert (found.state, found.request_uuid) == ("PENDING", UUID)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_of_ours_can_be_read_back(name: str) -> None:
    """Those as well that take more than words to be made."""
    found = outcomes.from_event(Ended(UUID, "error", {"type": name, "message": "words"}))
    assert isinstance(found, Error)
    assert isinstance(found.error, TasklineError)
    assert "words" in str(found.error)


def test_an_error_that_is_none_of_ours_keeps_its_words() -> None:
    for error in (OSError("no"), MessageRefused("schema", "no")):
        found = again(Error(error)).exception(0)
        assert isinstance(found, TasklineError)
        assert "no" in str(found)


@pytest.mark.parametrize("value", [None, [], {}, {"type": 7}, {"type": "System", "message": 1}])
def test_a_line_that_makes_no_sense_is_an_error_that_names_the_request(value: Any) -> None:
    found = outcomes.from_event(Ended(UUID, "error", value))
    assert isinstance(found, Error)
    assert type(found.error) is TasklineError


def test_a_cancelled_one_comes_back_cancelled() -> None:
    future = again(Withdrawn())
    assert future.cancelled()
    assert concurrent.futures.wait([future], 0).done == {future}


def test_what_was_cancelled_by_force_was_cancelled_too() -> None:
    forced = outcomes.to_event(UUID, Error(TaskCancelled("ended", request_uuid=UUID)))
    assert outcomes.was_cancelled(forced)
    assert outcomes.was_cancelled(outcomes.to_event(UUID, Withdrawn()))
    assert not outcomes.was_cancelled(outcomes.to_event(UUID, Value({"type": "TaskCancelled"})))
    assert not outcomes.was_cancelled(outcomes.to_event(UUID, Error(PoisonTask("crash"))))


def test_what_is_over_is_left_as_it_is() -> None:
    future = settled(Value(1))
    for outcome in (Value(2), Error(TasklineError("no")), Withdrawn()):
        outcomes.settle(future, outcome)
    assert future.result(0) == 1


def test_an_outcome_is_plain_data() -> None:
    ended = outcomes.to_event(UUID, Error(TimeLimitExceeded("long", request_uuid=UUID)), "w")
    assert pickle.loads(pickle.dumps(ended)) == ended
    assert ended.value == {"type": "TimeLimitExceeded", "message": "long"}
