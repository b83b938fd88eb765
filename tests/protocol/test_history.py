"""What a sequence of events comes to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import history
from protocol.events import (
    Cancelled,
    Closed,
    Discarded,
    Dispatched,
    Ended,
    Event,
    Opened,
    Outcome,
    Over,
    Round,
    Running,
    Submitted,
    WorkerGone,
    WorkerSeen,
)
from protocol.history import CANCELLED, MAX_GONE, MAX_PROBLEMS, REQUEST_STATES, Entry, History
from protocol.states import FAILURE, PENDING, RUNNING, SUCCESS, WAITING
from tests.protocol.happened import any_event, some_events

U = Submitted("u", "t", {"args": [1]}, ["a"], key="k")


def sent(attempt: int, base: int = 1) -> Dispatched:
    """An attempt of ``U``."""
    return Dispatched("u", attempt, base, "native", "a", "hare", "0f", "inbox", "1:1", 9000)


def fold(*events: Event, keeps_ended: bool = True) -> History:
    """Entry ``n`` is stamped 100 + ``n``."""
    folded = History(keeps_ended=keeps_ended)
    for number, event in enumerate(events, 1):
        folded.apply(Entry(number, 100.0 + number, event))
    return folded


def problems(folded: History) -> list[str]:
    return [str(problem) for problem in folded.problems]


#: What was before, what happens, what state the request is in then.
STATES: list[tuple[Sequence[Event], Event, str]] = [
    ([], U, WAITING),
    ([U], sent(1), PENDING),
    ([U, sent(1)], Running("u", 1), RUNNING),
    # an attempt that is over is none: it waits for the next
    ([U, sent(1)], Over("u", 1, "never"), WAITING),
    ([U, sent(1), Running("u", 1)], Over("u", 1, "lost"), WAITING),
    ([U, sent(1), Running("u", 1)], Over("u", 1, "dropped"), WAITING),
    ([U, sent(1), Over("u", 1, "lost")], sent(2), PENDING),
    ([U, sent(1), Over("u", 1, "lost"), sent(2)], Running("u", 2), RUNNING),
    # heard from again; what never started cannot have
    ([U, sent(1), Over("u", 1, "lost")], Running("u", 1), RUNNING),
    ([U, sent(1), Over("u", 1, "never")], Running("u", 1), WAITING),
    # what an older attempt does is told, but the newest is waited for
    ([U, sent(1), sent(2)], Running("u", 1), PENDING),
    # a new round
    ([U, sent(1), Running("u", 1)], Round("u", 2, 1), WAITING),
    ([U, sent(1), Running("u", 1), Round("u", 2, 1)], sent(2, base=2), PENDING),
    ([U, sent(1), Running("u", 1)], sent(2, base=2), PENDING),
    # cancelled: at once for its caller, unless it is known to run
    ([U], Cancelled("u"), CANCELLED),
    ([U, sent(1)], Cancelled("u"), CANCELLED),
    ([U, sent(1)], Cancelled("u", force=True), CANCELLED),
    ([U, sent(1), Running("u", 1)], Cancelled("u", force=True), RUNNING),
    ([U, sent(1), Cancelled("u")], Running("u", 1), CANCELLED),
    ([U, sent(1), Cancelled("u", force=True)], Running("u", 1), CANCELLED),
    ([U, sent(1), Cancelled("u")], Cancelled("u", force=True), CANCELLED),
    # ends
    ([U, sent(1)], Ended("u", "success", 1), SUCCESS),
    ([U, sent(1)], Ended("u", "failure", {}), FAILURE),
    ([U], Ended("u", "error", {"type": "RequestTimeout", "message": ""}), FAILURE),
    ([U, Cancelled("u")], Ended("u", "cancelled"), CANCELLED),
    ([U, sent(1), Running("u", 1), Cancelled("u", True)], Ended("u", "success"), SUCCESS),
    # the first end stands, and the caller's line may come second
    ([U, Ended("u", "success", 1)], Ended("u", "failure"), SUCCESS),
    ([U, Ended("u", "success", 1)], Cancelled("u"), SUCCESS),
]


@pytest.mark.parametrize(("before", "event", "state"), STATES)
def test_a_request_is_in_this_state_then(before: Sequence[Event], event: Event, state: str) -> None:
    folded = fold(*before, event)
    request = folded.requests["u"]
    assert request.state == state
    assert request.state in REQUEST_STATES
    assert request.is_open is not any(isinstance(each, Ended) for each in [*before, event])
    assert list(folded.open_requests()) == ([request] if request.is_open else [])


def test_a_request_is_all_that_was_said_about_it() -> None:
    """With the stamps of the lines."""
    folded = fold(
        U, sent(1), Running("u", 1), Over("u", 1, "lost"), Round("u", 2, 1), sent(2, 2),
        Cancelled("u", True), Ended("u", "success", [1], "hare"),
    )  # fmt: skip
    assert folded.requests == {
        "u": history.RequestStatus(
            submitted=U,
            stamp=101.0,
            base=2,
            crashes=1,
            attempts=[
                history.AttemptStatus(sent(1), 102.0, is_running=True, over="lost"),
                history.AttemptStatus(sent(2, 2), 106.0),
            ],
            cancelled=Cancelled("u", True),
            ended=Ended("u", "success", [1], "hare"),
            ended_stamp=108.0,
            ran_before_cancel=True,
        )
    }
    assert problems(folded) == []


def test_the_attempt_that_is_waited_for_is_the_newest_of_the_round() -> None:
    request = fold(U, sent(1), sent(2)).requests["u"]
    assert request.current is request.attempts[1]
    assert fold(U, sent(1), Round("u", 2)).requests["u"].current is None
    assert fold(U).requests["u"].current is None


def test_an_earlier_attempt_that_runs_is_waited_for_when_the_newest_is_over() -> None:
    lost, back = Over("u", 1, "lost"), Running("u", 1)
    never = Over("u", 2, "never")
    request = fold(U, sent(1), lost, sent(2), back).requests["u"]
    assert request.current is request.attempts[1]
    request = fold(U, sent(1), lost, sent(2), back, never).requests["u"]
    assert request.current is request.attempts[0]
    assert request.state == RUNNING
    assert fold(U, sent(1), lost, sent(2), never).requests["u"].current is None
    assert fold(U, sent(1), lost, sent(2), back, Round("u", 3)).requests["u"].current is None


def test_a_round_whose_line_is_lost_is_made_up_for_by_its_first_attempt() -> None:
    assert fold(U, sent(1), sent(2, base=2)).requests["u"].base == 2


@pytest.mark.parametrize(
    ("outcome", "is_cancelled"),
    [("success", False), ("failure", False), ("error", False), ("cancelled", True)],
)
def test_an_end_says_whether_it_was_cancelled(outcome: Outcome, is_cancelled: bool) -> None:
    """Whatever was asked for before."""
    for before in ([], [sent(1), Running("u", 1), Cancelled("u", True)]):
        request = fold(U, *before, Ended("u", outcome)).requests["u"]
        assert request.is_cancelled is is_cancelled


def test_a_cancellation_that_is_told_is_not_taken_back() -> None:
    """Not by force, which asks for less: the outcome would be open again."""
    request = fold(U, sent(1), Cancelled("u"), Running("u", 1), Cancelled("u", True)).requests["u"]
    assert request.cancelled == Cancelled("u")
    assert request.is_cancelled
    running = fold(U, sent(1), Running("u", 1), Cancelled("u", True), Cancelled("u")).requests["u"]
    assert running.cancelled == Cancelled("u")


def test_the_newest_request_of_a_key_has_it() -> None:
    again = Submitted("v", "t", {}, ["a"], key="k")
    assert fold(U).by_key == {"k": "u"}
    assert fold(U, Ended("u", "success")).by_key == {"k": "u"}
    assert fold(U, Ended("u", "success"), again).by_key == {"k": "v"}


def test_an_executor_is_opened_closed_and_opened_again() -> None:
    opened = fold(Opened("x", 1), Closed(), Opened("x", 2))
    assert opened.executor == history.ExecutorStatus("x", "x", 2, 103.0)
    opened_once = fold(Opened("x", 1, "x.y"), Closed())
    assert opened_once.executor == history.ExecutorStatus("x", "x.y", 1, 101.0, 102.0)
    assert fold().executor is None
    assert problems(opened) == []


def test_workers_come_and_go_and_a_new_incarnation_knows_none() -> None:
    seen = WorkerSeen("hare", "native", "0f", ["a"], 4)
    gone = WorkerGone("hare", "0f")
    key = ("hare", "0f")
    assert fold(seen).workers == {key: history.WorkerStatus(seen, 101.0)}
    assert fold(seen, gone).workers == {key: history.WorkerStatus(seen, 101.0, 102.0)}
    assert fold(seen, gone, seen).workers == {key: history.WorkerStatus(seen, 103.0)}
    assert fold(seen, Opened("x", 2)).workers == {}


def test_workers_that_have_gone_are_not_remembered_for_ever() -> None:
    """A worker that is started again and again is another process each time."""
    events: list[Event] = []
    for number in range(MAX_GONE + 50):
        events.append(WorkerSeen("hare", "native", str(number), ["a"]))
        events.append(WorkerGone("hare", str(number)))
    folded = fold(WorkerSeen("tortoise", "native", "0f", ["a"]), *events)
    assert len(folded.workers) == MAX_GONE + 1
    assert ("hare", "49") not in folded.workers
    assert ("tortoise", "0f") in folded.workers


@pytest.mark.parametrize(
    ("before", "event", "what"),
    [
        ([], sent(1), "dispatched: request u is not known"),
        ([], Running("u", 1), "running: request u is not known"),
        ([], Over("u", 1, "lost"), "over: request u is not known"),
        ([], Round("u", 2), "round: request u is not known"),
        ([], Cancelled("u"), "cancelled: request u is not known"),
        ([], Ended("u", "success"), "ended: request u is not known"),
        ([U], U, "submitted: request u is there already"),
        ([U], Running("u", 1), "running: request u has no attempt 1"),
        ([U, sent(1)], Over("u", 2, "lost"), "over: request u has no attempt 2"),
        ([U, sent(2)], sent(2), "dispatched: attempt 2 of request u comes too late"),
        ([U, sent(2)], sent(1), "dispatched: attempt 1 of request u comes too late"),
        ([U], sent(1, 2), "dispatched: attempt 1 of request u is before its own round"),
        ([U, Round("u", 3)], Round("u", 2), "round: request u is in the round of attempt 3 alr"),
        ([U, Ended("u", "success")], Ended("u", "success"), "ended: request u has ended before"),
        ([U, Ended("u", "success")], sent(1), "dispatched: request u has ended before"),
        ([U, sent(1), Ended("u", "success")], Running("u", 1), "running: request u has ended"),
        ([U, Ended("u", "success")], Round("u", 2), "round: request u has ended before"),
        ([U, Ended("u", "success")], U, "submitted: request u is there already"),
        ([], Closed(), "closed: nothing was opened"),
        ([], WorkerGone("hare"), "gone: worker hare was not there"),
        ([Opened("x", 2)], Opened("x", 2), "opened: incarnation 2 after 2"),
        ([Opened("x", 2)], Opened("y", 3), "opened: executor y goes on with what x began"),
    ],
)
@pytest.mark.parametrize("keeps_ended", [True, False])
def test_what_does_not_fit_is_told_with_its_number_and_changes_nothing(
    before: Sequence[Event], event: Event, what: str, keeps_ended: bool
) -> None:
    """Whether the ended ones are kept or not. Who opens is another matter: it is who it says."""
    folded = fold(*before, event, keeps_ended=keeps_ended)
    assert problems(folded) == [problems(folded)[0]]
    assert problems(folded)[0].startswith(f"line {len(before) + 1}: {what}")
    assert folded.requests == fold(*before, keeps_ended=keeps_ended).requests


def test_nonsense_without_end_is_counted() -> None:
    folded = fold(*[Running("u", 1)] * (MAX_PROBLEMS + 5))
    assert (len(folded.problems), folded.misfits) == (MAX_PROBLEMS, MAX_PROBLEMS + 5)


def test_what_has_ended_need_not_be_kept() -> None:
    """It is counted, and what is said about it afterwards still does not fit."""
    other = Submitted("v", "t", {}, ["a"])
    folded = fold(U, other, Ended("u", "error", {}), Cancelled("u"), keeps_ended=False)
    assert list(folded.requests) == ["v"]
    assert dict(folded.ended) == {FAILURE: 1}
    assert folded.by_key == {"k": "u"}
    assert problems(folded) == []
    folded.apply(Entry(5, 105.0, Ended("u", "success")))
    assert problems(folded) == ["line 5: ended: request u has ended before"]
    assert dict(folded.ended) == {FAILURE: 1}


def everything(folded: History) -> list[object]:
    """All that can be seen of a history."""
    return [
        *(folded.requests, folded.workers, folded.executor, folded.by_key, folded.ended),
        *(folded.problems, folded.misfits),
    ]


@given(some_events() | st.lists(any_event, max_size=20), st.integers(0, 30))
@settings(deadline=None)
def test_whatever_happens_is_folded_and_in_two_halves_as_in_one(
    events: list[Event], half: int
) -> None:
    """Nothing is raised; a fold of the open ones alone agrees with the whole."""
    whole = fold(*events)
    halves = fold(*events[:half])
    for number, event in enumerate(events[half:], len(events[:half]) + 1):
        halves.apply(Entry(number, 100.0 + number, event))
    assert everything(halves) == everything(whole)
    lean = fold(*events, keeps_ended=False)
    assert list(lean.open_requests()) == list(whole.open_requests())
    assert list(lean.dead_letters()) == list(whole.dead_letters())
    assert len(lean.requests) == len(list(lean.open_requests())) + len(list(lean.dead_letters()))
    assert (lean.ended, lean.problems, lean.workers) == (whole.ended, whole.problems, whole.workers)


@given(some_events())
@settings(deadline=None)
def test_the_first_end_of_a_request_stands(events: list[Event]) -> None:
    """Of those that come after its submission."""
    folded = fold(*events)
    for uuid, request in folded.requests.items():
        submitted = events.index(request.submitted)
        ends = [e for e in events[submitted:] if isinstance(e, Ended) and e.uuid == uuid]
        assert request.ended == (ends[0] if ends else None)
        assert request.state in REQUEST_STATES


# retries ------------------------------------------------------------------------------------------


def test_a_retry_waits_from_its_line_on_and_has_not_run() -> None:
    """Its stamp and its wait; a crash later changes nothing about that."""
    folded = fold(U, sent(1), Running("u", 1), Round("u", 2, 0, 1, "failure", 1, None, 2.5))
    request = folded.requests["u"]
    assert (request.state, request.has_run, request.retries) == (WAITING, False, 1)
    assert request.not_before == request.trail[-1].stamp + 2.5
    for number, event in enumerate([sent(2, 2), Running("u", 2), Round("u", 3, 1, 1)], 5):
        folded.apply(Entry(number, 100.0 + number, event))
    assert (request.crashes, request.retries, request.retry_base, request.has_run) == (
        1,
        1,
        2,
        True,
    )


def test_a_cancel_by_force_between_two_runs_is_a_cancel() -> None:
    request = fold(
        U, sent(1), Running("u", 1), Round("u", 2, 0, 1), Cancelled("u", force=True)
    ).requests["u"]
    assert request.is_cancelled


def test_whose_end_began_a_round_is_waited_for_by_nobody() -> None:
    request = fold(U, sent(1), Running("u", 1), Round("u", 2, 1, 0, "crash", 1)).requests["u"]
    assert request.attempts[0].over == "dropped"
    request = fold(U, sent(1), Round("u", 2, 1, 0, "crash", 7)).requests["u"]
    assert request.attempts[0].over is None


# dead letters -------------------------------------------------------------------------------------

DEAD = Ended("u", "error", {"type": "PoisonTask"}, "hare", dead=True)
REPEATED = Submitted("v", "t", {"args": [1]}, ["a"], repeats="u")


@pytest.mark.parametrize("keeps_ended", [False, True])
@pytest.mark.parametrize("then", [None, REPEATED, Discarded("u")])
def test_a_dead_letter_is_kept_until_it_is_repeated_or_dropped(
    keeps_ended: bool, then: Event | None
) -> None:
    before = fold(U, sent(1), DEAD, keeps_ended=keeps_ended)
    assert [letter.submitted.uuid for letter in before.dead_letters()] == ["u"]
    assert list(before.open_requests()) == []
    if then is None:
        return
    after = fold(U, sent(1), DEAD, then, keeps_ended=keeps_ended)
    assert list(after.dead_letters()) == []
    assert problems(after) == []
    assert ("u" in after.requests) is keeps_ended
    if keeps_ended:
        repeated = "v" if then is REPEATED else None
        assert after.requests["u"].repeated_by == repeated
    assert [one.submitted.uuid for one in after.open_requests()] == ["v"] * (then is REPEATED)


def test_only_a_dead_letter_can_be_dropped() -> None:
    assert problems(fold(U, Discarded("u"))) == ["line 2: discarded: request u is no dead letter"]
    twice = fold(U, DEAD, Discarded("u"), Discarded("u"))
    assert problems(twice) == ["line 4: discarded: request u is no dead letter"]
