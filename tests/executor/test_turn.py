"""What one turn comes to: which lines, messages and ends, whatever callers have cancelled."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest

from executor.effects import (
    Begin,
    Crowd,
    Dispatch,
    Effect,
    Error,
    Failed,
    Publish,
    Record,
    Resolve,
    Rest,
    Tell,
    Value,
    Withdrawn,
)
from executor.future import Future
from executor.turn import Open, Requests, Turn
from protocol import envelope
from protocol.envelope import Envelope
from protocol.errors import RequestTimeout, ResultLost
from protocol.events import Cancelled, Dispatched, Ended, Over, Progress, Round, Running
from protocol.messages import UPDATE_PROGRESS
from protocol.parcel import Parcel
from protocol.topology import Address
from tests.executor.test_future import House

NOW = 7.0
STAMP = 1_700_000_000.0
PARCEL = Parcel(Address("", "somewhere"), Envelope(envelope.NOTIFY), b"{}")


class Asked:
    """A ledger that writes down what it is told, and answers with effects of its own."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.answers: list[Effect] = []

    def withdrawn(self, uuid: str, now: float, /) -> list[Effect]:
        return self._said("withdrawn", uuid, now)

    def cancelled(self, uuid: str, force: bool, now: float, /) -> list[Effect]:
        return self._said("cancelled", uuid, force, now)

    def _said(self, *words: Any) -> list[Effect]:
        self.told.append(words)
        answers, self.answers = self.answers, []
        return answers


class Scene:
    """Open requests, and a ledger."""

    def __init__(self) -> None:
        self.ended: list[tuple[Ended, Future[Any]]] = []
        self.requests = Requests(lambda ended, future: self.ended.append((ended, future)))
        self.ledger = Asked()

    def open(self, uuid: str) -> Future[Any]:
        future: Future[Any] = Future(uuid, "m.task", House())
        self.requests.open[uuid] = Open(future)
        return future

    def turn(self, *effects: Effect, cancelled: tuple[str, ...] = ()) -> Turn:
        turn = Turn(self.requests, cancelled)
        turn.gather(effects, self.ledger, NOW)
        return turn


@pytest.fixture
def scene() -> Scene:
    return Scene()


def dispatch(uuid: str, attempt: int = 1) -> Dispatch:
    event = Dispatched(uuid, attempt, 1, "native", "default", "hare")
    return Dispatch(uuid, attempt, PARCEL, event)


def test_everything_keeps_its_order_among_its_kind(scene: Scene) -> None:
    first, second = scene.open("u1"), scene.open("u2")
    turn = scene.turn(
        dispatch("u1"),
        Record(Running("u1", 1)),
        Begin("u1"),
        Tell("u1", "said", {}),
        Resolve("u1", Value(1), "hare"),
        Publish(PARCEL),
        dispatch("u2"),
        Crowd(2),
        Crowd(3),
    )
    assert turn.lines == [
        dispatch("u1").event,
        Running("u1", 1),
        Ended("u1", "success", 1, "hare"),
        dispatch("u2").event,
    ]
    assert turn.parcels == [PARCEL] * 3
    assert turn.news == [Tell("u1", "said", {}), ("u1", Value(1))]
    assert turn.crowd == 3
    assert first.running()
    assert not second.running()  # sent, and not known to run: it can still be cancelled
    assert scene.ended == [(turn.lines[2], first)]


def test_a_dispatch_of_one_that_was_cancelled_is_dropped_with_its_line(scene: Scene) -> None:
    """Before anything is written; and what the ledger makes of the credit goes out instead."""
    future = scene.open("u1")
    other = scene.open("u2")
    future.cancel()
    scene.ledger.answers = [dispatch("u2")]
    turn = scene.turn(dispatch("u1"))
    assert scene.ledger.told == [("withdrawn", "u1", NOW)]
    assert turn.lines == [Ended("u1", "cancelled"), dispatch("u2").event]
    assert turn.parcels == [PARCEL]
    assert turn.news == [("u1", Withdrawn())]
    assert not other.cancelled()


def test_what_follows_an_end_in_the_same_turn_is_left_out(scene: Scene) -> None:
    """Submitted, cancelled, and its worker found to have ended: the ledger did not know yet."""
    scene.open("u1").cancel()
    cancel = Parcel(PARCEL.address, Envelope(envelope.CANCEL, correlation_id="u1"), b"")
    turn = scene.turn(
        dispatch("u1"),
        Publish(cancel),
        Record(Over("u1", 1, "lost")),
        Record(Over("u2", 1, "lost")),
        Resolve("u1", Withdrawn()),
        Publish(PARCEL),
    )
    assert turn.lines == [Ended("u1", "cancelled"), Over("u2", 1, "lost")]
    assert turn.parcels == [PARCEL]


def test_the_standard_librarys_own_cancel_counts_as_well_and_is_told_to_who_waits(
    scene: Scene,
) -> None:
    future = scene.open("u1")
    concurrent.futures.Future.cancel(future)
    scene.turn(dispatch("u1"))
    assert concurrent.futures.wait([future], 0).done == {future}


def test_a_later_attempt_is_sent_whatever_its_future_says(scene: Scene) -> None:
    """The ledger will hear of the cancel, and tell the worker."""
    scene.open("u1").cancel()
    turn = scene.turn(dispatch("u1", attempt=2))
    assert turn.parcels == [PARCEL]
    assert not scene.ledger.told


def test_a_run_of_one_that_was_cancelled_is_told_to_the_ledger(scene: Scene) -> None:
    scene.open("u1").cancel()
    scene.ledger.answers = [Publish(PARCEL)]
    turn = scene.turn(Begin("u1"))
    assert scene.ledger.told == [("cancelled", "u1", False, NOW)]
    assert turn.parcels == [PARCEL]


def test_a_run_that_is_heard_of_again_is_no_news(scene: Scene) -> None:
    scene.open("u1")
    scene.turn(Begin("u1"), Begin("u1"))
    scene.requests.open["u1"].future.set_result("by its user")
    scene.turn(Begin("u1"))
    scene.turn(Begin("never heard of"))
    assert not scene.ledger.told


@pytest.mark.parametrize(
    "outcome", [Value(1), Failed({}, "hare"), Error(RequestTimeout("late", request_uuid="u1"))]
)
def test_an_end_finds_it_cancelled_and_the_line_says_so(scene: Scene, outcome: Any) -> None:
    scene.open("u1").cancel()
    turn = scene.turn(Resolve("u1", outcome, "hare"))
    assert turn.lines == [Ended("u1", "cancelled", None, "hare")]
    assert turn.news == [("u1", Withdrawn())]


def test_an_end_that_comes_first_cannot_be_cancelled_any_more(scene: Scene) -> None:
    """Claimed before its line is written: one outcome."""
    future = scene.open("u1")
    turn = scene.turn(Resolve("u1", Value(1)))
    assert not future.cancel()
    assert turn.lines == [Ended("u1", "success", 1)]


def test_a_result_that_no_line_can_hold_ends_as_lost(scene: Scene) -> None:
    """And keeps nobody else's from being written."""
    for uuid in ("u1", "u2", "u3"):
        scene.open(uuid)
    turn = scene.turn(
        Resolve("u1", Value("small"), "hare"),
        Resolve("u2", Value("x" * 10_000), "hare"),
        Resolve("u3", Failed({"exception_str": "x" * 10_000}, "hare")),
    )
    assert turn.shed(8000)
    outcomes = {line.uuid: line.outcome for line in turn.lines if isinstance(line, Ended)}
    assert outcomes == {"u1": "success", "u2": "error", "u3": "error"}
    told = dict(news for news in turn.news if isinstance(news, tuple))
    assert told["u1"] == Value("small")
    assert isinstance(told["u2"], Error)
    assert isinstance(told["u2"].error, ResultLost)
    assert "have the task put it into a file" in str(told["u2"].error)
    assert not turn.shed(8000)


def test_one_that_its_user_has_set_ends_in_the_journal_as_its_worker_said(scene: Scene) -> None:
    scene.open("u1").set_result("my own")
    turn = scene.turn(Resolve("u1", Value(1)))
    assert turn.lines == [Ended("u1", "success", 1)]


def test_what_was_cancelled_is_not_open_but_not_forgotten_until_it_is_settled(
    scene: Scene,
) -> None:
    future = scene.open("u1")
    future.cancel()
    turn = scene.turn(Publish(PARCEL), cancelled=("u1",))
    assert "u1" in scene.requests.open  # nothing has been written yet
    turn.close(STAMP)
    assert not scene.requests.open
    assert scene.requests.unsettled == {"u1": future}
    assert len(scene.requests) == 1
    turn = scene.turn(Resolve("u1", Value("late")))
    turn.close(STAMP)
    assert turn.lines == [Ended("u1", "cancelled")]
    assert not scene.requests.unsettled
    assert scene.ended[-1][1] is future


def test_one_that_is_cancelled_and_ends_in_one_turn_leaves_nothing_behind(scene: Scene) -> None:
    """Whichever is heard of first."""
    scene.open("u1").cancel()
    turn = scene.turn(Resolve("u1", Withdrawn()), cancelled=("u1",))
    turn.close(STAMP)
    assert not scene.requests.unsettled
    assert turn.news == [("u1", Withdrawn())]


def test_a_run_that_is_to_be_stopped_stays_open(scene: Scene) -> None:
    future = scene.open("u1")
    future.begin()
    turn = scene.turn(cancelled=("u1", "never heard of"))
    turn.close(STAMP)
    assert list(scene.requests.open) == ["u1"]


def test_a_run_of_one_that_is_being_settled_is_told_to_the_ledger_again(scene: Scene) -> None:
    scene.open("u1").cancel()
    scene.turn(cancelled=("u1",)).close(STAMP)
    scene.turn(Begin("u1"))
    assert scene.ledger.told == [("cancelled", "u1", False, NOW)]


def test_those_of_one_executor_are_told_from_the_others(scene: Scene) -> None:
    mine, other = object(), object()
    for uuid, via in (("u1", mine), ("u2", other), ("u3", mine)):
        scene.open(uuid)
        scene.requests.open[uuid].via = via
    assert [entry.future.uuid for entry in scene.requests.entries(mine)] == ["u1", "u3"]
    assert [entry.future.uuid for entry in scene.requests.entries()] == ["u1", "u2", "u3"]


def test_a_run_that_is_repeated_rests_once_its_line_is_written(scene: Scene) -> None:
    """Not before: a cancel that is granted then is written behind it."""
    future = scene.open("u1")
    future.begin()
    turn = scene.turn(Record(Round("u1", 2, 0, 1)), Rest("u1"))
    assert future.running()
    turn.close(STAMP)
    assert not future.running()
    assert future.cancel()


@pytest.mark.parametrize("then", [Begin("u1"), Resolve("u1", Value(1))])
def test_what_runs_or_has_ended_since_does_not_rest(scene: Scene, then: Effect) -> None:
    future = scene.open("u1")
    future.begin()
    scene.turn(Rest("u1"), then).close(STAMP)
    assert future.running()


def test_each_future_is_told_the_lines_about_it_when_they_are_written(scene: Scene) -> None:
    first, second = scene.open("u1"), scene.open("u2")
    turn = scene.turn(dispatch("u1"), dispatch("u2"), Resolve("u1", Value(1), "hare"))
    assert len(first.history) == 1
    turn.close(STAMP)
    assert [(one.stamp, one.what) for one in first.history[1:]] == [
        (STAMP, "dispatched"),
        (STAMP, "ended"),
    ]
    assert [one.what for one in second.history[1:]] == ["dispatched"]


def test_the_end_of_one_that_was_cancelled_before_is_told_as_well(scene: Scene) -> None:
    future = scene.open("u1")
    future.cancel()
    scene.turn(Record(Over("u1", 1, "never")), cancelled=("u1",)).close(STAMP)
    scene.turn(Resolve("u1", Withdrawn())).close(STAMP)
    assert [one.what for one in future.history] == ["submitted", "cancelled", "over", "ended"]
    assert Cancelled.word == future.history[1].what


def test_how_far_a_task_is_is_told_between_the_lines_it_came_between(scene: Scene) -> None:
    scene.open("u")
    running, over = Running("u", 1), Over("v", 1, "lost")
    said = {"progress": 7, "of": 3}
    turn = scene.turn(
        *(Record(running), Tell("u", UPDATE_PROGRESS, said), Tell("u", "other", {"progress": 1})),
        *(Tell("u", UPDATE_PROGRESS, {"progress": "half"}), Record(over), Resolve("u", Value(1))),
    )
    ended = Ended("u", "success", 1)
    assert list(turn.happened()) == [running, Progress("u", 1.0, {"of": 3}), over, ended]
    assert turn.lines == [running, over, ended]
    assert turn.shed(-1)
    assert list(turn.happened())[-1] == turn.lines[-1] != ended
