"""What the events of a request come to for whoever holds its future."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from executor.trail import AttemptInfo, attempts_of, history_of, worker_of
from protocol.events import Cancelled, Dispatched, Ended, Event, Over, Round, Running
from tests.protocol.happened import any_event

FAILURE = {"exc_type_names": ["ValueError", "Exception"], "exception_str": "no"}


def sent(attempt: int, base: int = 1, worker: str = "hare") -> Dispatched:
    """To this worker."""
    return Dispatched("u", attempt, base, "native", "a", worker, "0f", "inbox", "1:1", 9000)


def steps(*events: Event) -> list[tuple[float, Event]]:
    """Event ``n`` was written at ``n``."""
    return [(float(n), event) for n, event in enumerate(events, 1)]


def told(*events: Event) -> list[tuple[Any, ...]]:
    """Each attempt: number, round, worker, sent, began, ended, how."""
    return [
        (one.number, one.round, one.worker, one.sent, one.began, one.ended, one.how)
        for one in attempts_of(steps(*events))
    ]


def test_an_attempt_is_sent_runs_and_ends() -> None:
    assert told(sent(1)) == [(1, 1, "hare", 1.0, None, None, None)]
    assert told(sent(1), Running("u", 1)) == [(1, 1, "hare", 1.0, 2.0, None, None)]
    assert told(sent(1), Running("u", 1), Ended("u", "success", 3, "hare")) == [
        (1, 1, "hare", 1.0, 2.0, 3.0, "success")
    ]


def test_each_retry_is_a_round_with_what_the_one_before_came_to() -> None:
    found = attempts_of(
        steps(
            sent(1),
            Running("u", 1),
            Round("u", 2, 0, 1, "failure", 1, FAILURE, 1.5),
            sent(2, 2, "tortoise"),
            Running("u", 2),
            Ended("u", "failure", FAILURE, "tortoise"),
        )
    )
    assert found == (
        AttemptInfo(1, 1, "hare", 1.0, 2.0, 3.0, "failure", "ValueError: no"),
        AttemptInfo(2, 2, "tortoise", 4.0, 5.0, 6.0, "failure", "ValueError: no"),
    )


def test_attempts_of_one_round_follow_each_other() -> None:
    assert told(sent(1), Over("u", 1, "lost"), sent(2), Ended("u", "success", 1, "hare")) == [
        (1, 1, "hare", 1.0, None, 2.0, "lost"),
        (2, 1, "hare", 3.0, None, 4.0, "success"),
    ]


def test_one_that_was_given_up_and_is_heard_again_goes_on() -> None:
    lost = [sent(1), Running("u", 1), Over("u", 1, "lost"), sent(2, worker="tortoise")]
    assert told(*lost, Running("u", 1))[0] == (1, 1, "hare", 1.0, 2.0, None, None)
    assert [one[-1] for one in told(*lost, Ended("u", "success", 1, "hare"))] == [
        "success",
        "superseded",
    ]


def test_what_nobody_waits_for_any_more_is_superseded_or_cancelled() -> None:
    assert told(sent(1), sent(2), Round("u", 3, 1, 0, "crash", 2))[0][-1] == "superseded"
    assert told(sent(1), Cancelled("u"), Ended("u", "cancelled"))[0][-1] == "cancelled"


def test_an_error_of_ours_is_told_with_its_class() -> None:
    ended = Ended("u", "error", {"type": "TimeLimitExceeded", "message": "too long"}, "hare")
    (one,) = attempts_of(steps(sent(1), ended))
    assert (one.how, one.error) == ("error", "TimeLimitExceeded: too long")


def test_the_worker_is_who_ended_it_or_has_it_or_ran_it_last() -> None:
    first = [sent(1), Running("u", 1), Over("u", 1, "lost")]
    assert worker_of([]) is None
    assert worker_of(steps(*first)) == "hare"
    assert worker_of(steps(*first, sent(2, worker="tortoise"))) == "tortoise"
    ended = Ended("u", "success", 1, "hare")
    assert worker_of(steps(*first, sent(2, worker="tortoise"), ended)) == "hare"
    assert worker_of(steps(sent(1), Over("u", 1, "never"), Ended("u", "cancelled"))) is None


def test_the_history_is_every_event_as_the_journal_has_it() -> None:
    found = history_of("m.task", 0.5, steps(sent(1), Round("u", 2, 0, 1, "failure", 1, None, 2.0)))
    assert [(one.stamp, one.what) for one in found] == [
        (0.5, "submitted"),
        (1.0, "dispatched"),
        (2.0, "round"),
    ]
    assert found[0].details == {"task": "m.task"}
    assert found[2].details == {
        "base": 2,
        "retries": 1,
        "cause": "failure",
        "attempt": 1,
        "delay": 2.0,
    }


@settings(max_examples=200)
@given(st.lists(any_event, max_size=12))
def test_any_events_in_any_order_can_be_told(events: list[Event]) -> None:
    """A journal may be damaged: lines are missing, and nothing raises."""
    found = attempts_of(steps(*events))
    worker_of(steps(*events))
    history_of("m.task", 0.0, steps(*events))
    assert len({one.number for one in found}) == len(found)
