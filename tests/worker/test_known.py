"""Executors that are known: their tickets, their silence, their alarms, and how many."""

from __future__ import annotations

import math

import pytest

from protocol.envelope import Header
from protocol.messages import Held, Request
from protocol.tickets import Ticket
from protocol.timing import BEAT, KEEP
from worker import known as room
from worker.known import MAX_TICKETS, SILENCE, Executors, Known
from worker.record import Record


def record(uuid: str = "u", state: str = "queued") -> Record:
    """A native request's."""
    one = Record(uuid, "ex-1", Request("m.task"), Header(), 0.0)
    one.state = state  # type: ignore[assignment]
    return one


def numbered(*numbers: int) -> list[Ticket]:
    """Tickets of incarnation 1."""
    return [Ticket(1, number) for number in numbers]


@pytest.fixture
def known() -> Known:
    """Just met."""
    return Known("ex-1", 0.0)


# tickets ----------------------------------------------------------------------------------------


def test_a_record_answers_for_all_its_tickets_under_the_newest(known: Known) -> None:
    one = record()
    known.hold(one, numbered(5, 3, 9))
    assert (one.ticket, one.tickets) == (Ticket(1, 9), numbered(5, 3, 9))
    assert all(known.by_ticket[ticket] is one for ticket in one.tickets)
    assert known.digest() == Held(queued="1:3,5,9")


def test_a_ticket_that_is_over_is_not_held_again(known: Known) -> None:
    known.over.add(numbered(1), was_started=True)
    one = record()
    known.hold(one, numbered(1, 2))
    assert one.tickets == numbered(2)
    known.name(one, numbered(2, 1, 3))
    assert one.tickets == numbered(2, 3)


def test_what_is_held_is_not_over_whatever_the_floor(known: Known) -> None:
    known.hold(record(), numbered(4))
    known.over.saw(numbered(10))
    known.over.age(0.0)
    known.over.age(100.0)
    assert not known.is_over(Ticket(1, 4))
    assert known.is_over(Ticket(1, 5))


def test_letting_go_leaves_tombstones_that_say_whether_it_ran(known: Known) -> None:
    queued, ran = record("q"), record("r", "running")
    known.hold(queued, numbered(1, 2))
    known.hold(ran, numbered(3))
    known.let_go(queued)
    known.let_go(ran)
    assert (known.records, known.by_ticket) == ({}, {})
    assert [known.over.never_started(t) for t in numbered(1, 2, 3)] == [True, True, False]
    assert all(known.is_over(ticket) for ticket in numbered(1, 2, 3))


def test_the_record_of_a_new_round_does_not_answer_for_the_old_one(known: Known) -> None:
    old, new = record(state="running"), record()
    known.hold(old, numbered(1))
    known.let_go(old)
    known.hold(new, numbered(1, 2))
    assert known.records == {"u": new}
    assert known.digest() == Held(queued="1:2")


def test_a_record_has_so_many_tickets_and_keeps_the_newest(known: Known) -> None:
    one = record()
    known.hold(one, numbered(1))
    for n in range(2, 2 * MAX_TICKETS):
        known.name(one, numbered(n))
        one.ticket = Ticket(1, n)
    assert one.tickets == numbered(*range(MAX_TICKETS, 2 * MAX_TICKETS))
    assert known.is_over(Ticket(1, 1))
    assert len(known.by_ticket) == MAX_TICKETS


def test_a_digest_has_each_under_its_state_and_nothing_of_what_is_receipted(known: Known) -> None:
    for n, state in enumerate(("queued", "running", "ended", "dropped"), 1):
        known.hold(record(f"u{n}", state), numbered(n, n + 10))
    receipted = record("x", "running")
    known.hold(receipted, [Ticket(2, 1)])
    known.shed(receipted, receipted.tickets)
    assert known.digest() == Held("1:1,11", "1:2,12", "1:3,13", "1:4,14")


# silence ----------------------------------------------------------------------------------------


def test_an_executor_is_silent_after_two_questions_it_did_not_ask_and_gone_after_its_keep(
    known: Known,
) -> None:
    assert not known.is_silent(SILENCE)
    assert known.is_silent(SILENCE + 0.1)
    assert not known.is_gone(KEEP)
    assert known.is_gone(KEEP + 0.1)
    known.wants_kept(3600)
    known.wants_kept(None)
    assert not known.is_gone(3600.0)


def test_nobody_keeps_its_tombstones_for_ever_by_a_start_by_in_the_far_future(
    known: Known,
) -> None:
    known.may_start_until(1e12, 100.0)
    assert not known.can_be_forgotten(200.0)
    assert known.can_be_forgotten(300.0)
    known.may_start_until(150.0, 100.0)
    assert not known.can_be_forgotten(200.0)


# all of them ------------------------------------------------------------------------------------


def met(executors: Executors, reply_to: str, now: float) -> Known:
    """Known, and heard."""
    known = executors.meet(reply_to, now)
    assert known is not None
    executors.hear(known, now)
    return known


def test_an_alarm_goes_off_once_and_at_the_earliest_of_what_is_due() -> None:
    executors = Executors()
    known = met(executors, "a", 0.0)
    known.beat_at = 5.0
    executors.set_alarm(known, 0.0)
    ended = record(state="ended")
    known.hold(ended, numbered(1))
    known.outbox.keep(ended, b"", 0.0)
    executors.set_alarm(known, 0.0)
    executors.set_alarm(known, 0.0)
    assert executors.next_alarm == 2.0
    assert list(executors.take_due(1.9)) == []
    assert list(executors.take_due(6.0)) == [known]
    assert executors.next_alarm == math.inf


def test_alarms_do_not_pile_up() -> None:
    executors = Executors()
    known = met(executors, "a", 0.0)
    for n in range(1000):
        known.beat_at = n + BEAT
        executors.set_alarm(known, float(n))
        for due in executors.take_due(float(n)):
            executors.set_alarm(due, float(n))
    assert len(executors._alarms) == 1


def test_who_is_forgotten_has_no_alarm() -> None:
    executors = Executors()
    known = met(executors, "a", 0.0)
    known.beat_at = 500.0
    executors.set_alarm(known, 0.0)
    executors.grow_older(100.0)
    assert len(executors) == 0
    assert list(executors.take_due(1000.0)) == []
    again = met(executors, "a", 1000.0)
    assert again is not known


def test_whoever_returns_from_silence_is_noticed() -> None:
    executors = Executors()
    known = met(executors, "a", 0.0)
    assert not executors.hear(known, SILENCE)
    assert executors.hear(known, 2 * SILENCE + 1)


def test_the_longest_silent_of_those_without_anything_here_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_EXECUTORS", 3)
    executors = Executors()
    met(executors, "a", 0.0).hold(record(), numbered(1))
    met(executors, "b", 0.0)
    met(executors, "c", 0.0)
    met(executors, "b", 1.0)
    assert executors.meet("d", SILENCE) is None
    assert executors.meet("d", SILENCE + 0.5) is None  # not looked for again so soon
    assert executors.meet("d", SILENCE + 1.1) is not None
    assert [known.reply_to for known in executors] == ["a", "b", "d"]
