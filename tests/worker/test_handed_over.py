"""What the pool has and has not begun, as far as anybody knows: who is told what, and when."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import envelope
from protocol.timing import BEAT, CATCHING_UP, KEEP, LEASE, QUEUE_PATIENCE
from protocol.topology import Names
from tests.worker.executors import BOOT, TASK, Native, Taskflow, done, in_words, runs, told
from worker.effects import Effect
from worker.shift import RETURN_TIME, Shift
from worker.work import Encoded, Ended, Offer, Returned, Started, TaskEvent

EX = Native()
FLOW = Taskflow()
#: One who wants to hear of each run that it has begun.
OLDER = Native("older")
OLD_CAPS = tuple(cap for cap in envelope.CAPS if cap != envelope.ENDS)


def make(slots: int = 1, *, dialect: Any = "native") -> Shift:
    """A worker that offers one task and has begun to consume, and two executors."""
    shift = Shift(Names(dialect, "test"), ("t",), worker="w", boot=BOOT, slots=slots)
    shift.offering([Offer(TASK)], 0.0)
    shift.consuming(0.0)
    shift.tick(0.0)
    if dialect == "native":
        shift.heard([EX.question(), OLDER.question(caps=OLD_CAPS)], 0.5)
    return shift


def handed(shift: Shift, uuid: str = "u1", ticket: int = 1, ex: Native = EX) -> int:
    """A request that is handed to the pool, which says nothing; the run's number."""
    effects = shift.heard([ex.request(uuid, ticket)], 1.0)
    assert told(effects) == []
    (run,) = runs(effects)
    return run.work.key


def digest(shift: Shift) -> str:
    """What HELD says."""
    known = shift._executors.get(EX.name)
    assert known is not None
    return in_words(known.digest())


# what is told of it -------------------------------------------------------------------------------


def test_it_is_queued_until_the_pool_says_that_it_has_begun() -> None:
    shift = make()
    key = handed(shift)
    assert (digest(shift), shift.held) == ("queued 1:1", (1, 0))
    assert told(shift.heard([EX.request("u1", 1)], 1.5)) == [], "a copy of it"
    assert told(shift.reported([Started(key)], 2.0)) == ["RUNNING u1"]
    assert (digest(shift), shift.held) == ("running 1:1", (0, 1))
    assert shift.reported([Started(key)], 2.0) == []


def test_of_what_has_ended_by_then_the_end_alone_is_told_to_who_takes_it_for_both() -> None:
    shift = make(slots=2)
    keys = handed(shift, "u1", 1), handed(shift, "u2", 2)
    reports = [Started(keys[0]), Ended(keys[0], Encoded(b"1")), Ended(keys[1], Encoded(b"[2]"))]
    assert told(shift.reported(reports, 2.0)) == ["SUCCESS u1", "SUCCESS u2"]


def test_to_others_running_is_told_before_every_end() -> None:
    shift = make(slots=2)
    keys = handed(shift, "u1", 1, OLDER), handed(shift, "u2", 2, OLDER)
    reports = [Started(keys[0]), Ended(keys[0]), Ended(keys[1])]
    words = ["RUNNING u1", "SUCCESS u1", "RUNNING u2", "SUCCESS u2"]
    assert told(shift.reported(reports, 2.0)) == words


def test_to_who_has_not_said_what_he_takes_too() -> None:
    shift = make()
    stranger = Native("stranger")
    key = handed(shift, "u1", 1, stranger)
    assert told(shift.reported([Ended(key)], 2.0)) == ["RUNNING u1", "SUCCESS u1"]


def test_taskflows_peers_always_hear_running_first() -> None:
    """Its executor dies of a SUCCESS without it."""
    shift = make(dialect="taskflow")
    (run,) = runs(shift.heard([FLOW.request("u1")], 1.0))
    words = told(shift.reported([Ended(run.work.key, Encoded(b'{"a":1}'))], 2.0))
    assert words == ["RUNNING u1", "SUCCESS u1"]


def test_what_it_says_tells_as_well_that_it_has_begun() -> None:
    shift = make()
    key = handed(shift)
    assert told(shift.reported([TaskEvent(key, "saved", {})], 2.0)) == ["EVENT u1"]
    assert digest(shift) == "running 1:1"


# taking it back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("if_started", ["keep", "stop"])
def test_a_cancel_waits_for_the_pools_word_and_has_not_begun(if_started: Any) -> None:
    shift = make()
    key = handed(shift)
    assert done(shift.heard([EX.cancel("u1", 1, if_started)], 2.0)) == ["TAKE BACK"]
    assert done(shift.heard([EX.cancel("u1", 1, if_started)], 3.0)) == [], "it was asked for"
    assert set(told(shift.reported([Returned(key)], 3.0))) == {"RELEASE cancelled 1:1"}
    assert digest(shift) == "nothing"
    assert shift.reported([Ended(key)], 4.0) == []
    assert told(shift.heard([EX.request("u1", 1)], 5.0)) == ["RELEASE full 1:1"], "over for good"


@pytest.mark.parametrize(
    ("if_started", "words"), [("keep", ["RUNNING u1"] * 2), ("stop", ["RUNNING u1", "END"])]
)
def test_a_cancel_waits_for_the_pools_word_and_has_begun(if_started: Any, words: Any) -> None:
    shift = make()
    key = handed(shift)
    shift.heard([EX.cancel("u1", 1, if_started)], 2.0)
    assert done(shift.reported([Started(key)], 3.0)) == words
    assert told(shift.reported([Ended(key)], 4.0)) == ["SUCCESS u1"]


def test_a_cancel_that_comes_too_late_for_all_is_answered_with_the_end() -> None:
    shift = make()
    key = handed(shift)
    shift.heard([EX.cancel("u1", 1, "keep")], 2.0)
    assert "SUCCESS u1" in told(shift.reported([Ended(key)], 3.0))
    assert digest(shift) == "ended 1:1"


def test_a_cancel_of_an_earlier_attempt_has_it_wait_again() -> None:
    shift = make()
    key = handed(shift)
    shift.heard([EX.request("u1", "1:1-2", attempt=2)], 1.5)
    shift.heard([EX.cancel("u1", 1, attempt=1)], 2.0)
    effects = shift.reported([Returned(key)], 3.0)
    assert done(effects) == ["RUN 2"]
    assert shift.counts["stale_cancel"] == 1


def later_round(ticket: str = "1:1-2") -> Any:
    """The request of a second round, which no run of the first one serves."""
    return EX.request("u1", ticket, attempt=2, base=2)


def test_a_later_round_waits_for_the_pools_word_and_is_served_by_what_has_not_begun() -> None:
    shift = make()
    key = handed(shift)
    assert done(shift.heard([later_round()], 2.0)) == ["TAKE BACK"]
    assert done(shift.heard([later_round()], 2.5)) == [], "it was asked for"
    assert digest(shift) == "queued 1:1-2"
    (again,) = runs(shift.reported([Returned(key)], 3.0))
    assert (again.work.key, again.work.attempt) == (2, 2)
    assert told(shift.reported([Ended(2)], 4.0)) == ["SUCCESS u1"]


def test_a_later_round_waits_for_the_pools_word_and_runs_anew_beside_what_has_begun() -> None:
    """G4: the end of the earlier round is not told as that of the later one."""
    shift = make()
    key = handed(shift)
    shift.heard([later_round()], 2.0)
    effects = shift.reported([Started(key)], 3.0)
    assert told(effects) == ["RUNNING u1"], "the first one's"
    assert digest(shift) == "queued 1:2"
    effects = shift.reported([Ended(key)], 4.0)
    assert told(effects) == [], "the end of the first is nobody's"
    (anew,) = runs(effects)
    assert anew.work.attempt == 2
    assert told(shift.reported([Ended(2)], 5.0)) == ["SUCCESS u1"]


def test_a_later_round_of_what_was_receipted_meanwhile_runs_anew() -> None:
    shift = make()
    key = handed(shift)
    shift.heard([later_round()], 2.0)
    shift.heard([EX.receipt(1)], 2.5)
    (anew,) = runs(shift.reported([Returned(key)], 3.0))
    assert anew.work.attempt == 2


def test_what_waits_too_long_in_the_pool_goes_back_as_from_the_queue() -> None:
    shift = make()
    key = handed(shift)
    assert shift.next_deadline() <= 1.0 + QUEUE_PATIENCE
    assert done(shift.tick(1.0 + QUEUE_PATIENCE)) == ["TAKE BACK"]
    assert shift.next_deadline() > 1.0 + QUEUE_PATIENCE, "it waits for the pool"
    assert told(shift.reported([Returned(key)], 3.1)) == ["RELEASE full 1:1"]


def test_what_the_pool_returns_of_itself_is_too_late_or_waits_again() -> None:
    shift = make(slots=2)
    keys = handed(shift, "u1", 1), handed(shift, "u2", 2)
    effects = shift.reported([Returned(key) for key in keys], 2.0)
    assert [run.work.uuid for run in runs(effects)] == ["u1", "u2"], "in the order it came"
    shift.heard([EX.question()], 59.0)
    again = [run.work.key for run in runs(effects)]
    words = told(shift.reported([Returned(key) for key in again], 61.0))
    assert "RELEASE late 1:1" in words
    assert "RELEASE late 1:2" in words


def test_a_receipt_of_it_has_it_not_run_if_it_has_not_begun() -> None:
    shift = make()
    key = handed(shift)
    assert done(shift.heard([EX.receipt(1)], 2.0)) == ["TAKE BACK"]
    assert shift.reported([Returned(key)], 3.0) == []
    assert shift.counts["receipted_unrun"] == 1
    assert (digest(shift), shift.held) == ("nothing", (0, 0))


def test_a_receipt_of_it_leaves_a_run_that_has_begun_to_nobody() -> None:
    shift = make()
    key = handed(shift)
    shift.heard([EX.receipt(1)], 2.0)
    assert shift.reported([Started(key)], 3.0) == []
    assert shift.reported([Ended(key)], 4.0) == []
    assert shift.counts["discarded"] == 1


def test_a_standstill_gives_back_what_has_not_begun_and_keeps_what_has() -> None:
    shift = make(slots=2)
    keys = handed(shift, "u1", 1), handed(shift, "u2", 2)
    awake = 1.0 + LEASE
    assert done(shift.tick(awake)).count("TAKE BACK") == 2
    words = told(shift.reported([Started(keys[0]), Returned(keys[1])], awake + CATCHING_UP / 2))
    assert words == ["RUNNING u1", "RELEASE full 1:2"]


def test_an_executor_that_is_given_up_has_nothing_begun_for_it_any_more() -> None:
    shift = make()
    key = handed(shift)
    silent = 1.0 + KEEP + 1.0
    effects: list[Effect] = []
    now = 1.0
    while now < silent:
        now += BEAT
        effects += shift.tick(now)
    assert done(effects).count("TAKE BACK") == 1
    assert shift.reported([Returned(key)], now) == []
    assert shift.held == (0, 0)
    effects = shift.heard([EX.request("u1", 1, start_by=200.0)], now)
    assert not runs(effects), "nobody knew that it had not begun: it is over for good"
    assert not [word for word in told(effects) if word.startswith("RELEASE")]


# going down ---------------------------------------------------------------------------------------


def test_a_drain_gives_back_what_has_not_begun_and_waits_for_what_has() -> None:
    shift = make(slots=2)
    keys = handed(shift, "u1", 1), handed(shift, "u2", 2)
    assert done(shift.drain(2.0, 30.0)).count("TAKE BACK") == 2
    effects = shift.reported([Returned(keys[0]), Started(keys[1])], 2.1)
    assert told(effects) == ["RUNNING u2", "RELEASE drain 1:1"]
    assert "DONE" not in done(effects)
    assert "SUCCESS u2" in told(shift.reported([Ended(keys[1])], 3.0))


def test_a_drain_puts_a_taskflow_peers_request_back_on_its_topic() -> None:
    shift = make(dialect="taskflow")
    (run,) = runs(shift.heard([FLOW.request("u1")], 1.0))
    assert done(shift.drain(2.0, 30.0)) == ["TAKE BACK"]
    effects = shift.reported([Returned(run.work.key)], 2.1)
    assert done(effects) == ["REQUEST u1 to t", "DONE"]


def test_a_pool_that_does_not_answer_holds_up_no_end() -> None:
    """What it has may have begun: it is told as ended with its worker."""
    shift = make()
    handed(shift)
    shift.drain(2.0, 1.0)
    assert shift.tick(3.0) == []
    assert shift.next_deadline() <= 3.0 + RETURN_TIME
    assert "FAILURE u1" in told(shift.tick(3.0 + RETURN_TIME))
