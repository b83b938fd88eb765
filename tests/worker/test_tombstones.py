"""Tickets that are over: for how long, how many, and what is still known of them."""

from __future__ import annotations

import pytest

from protocol.tickets import Ticket
from protocol.timing import START_WINDOW
from worker import tombstones as room
from worker.tombstones import HORIZON, Tombstones


def one(*numbers: int) -> list[Ticket]:
    """Tickets of incarnation 1."""
    return [Ticket(1, number) for number in numbers]


def test_what_is_put_in_is_over_and_nothing_else() -> None:
    over = Tombstones()
    over.add(one(3, 4), was_started=True)
    assert [n for n in range(1, 7) if Ticket(1, n) in over] == [3, 4]
    assert Ticket(2, 3) not in over


def test_it_is_remembered_whether_a_ticket_was_ever_started() -> None:
    over = Tombstones()
    over.add(one(1, 2), was_started=False)
    over.add(one(2, 3), was_started=True)  # the first word counts: it was over by then
    over.add(one(3), was_started=False)
    assert [over.never_started(ticket) for ticket in one(1, 2, 3, 4)] == [True, True, False, False]


def test_what_has_not_been_seen_closes_when_it_can_no_longer_start() -> None:
    over = Tombstones()
    over.add(one(10), was_started=False)
    over.age(100.0)
    over.age(100.0 + START_WINDOW)
    assert Ticket(1, 9) not in over
    over.age(100.1 + HORIZON)
    assert [n for n in range(1, 13) if Ticket(1, n) in over] == list(range(1, 11))
    assert len(over) == 0
    assert not over.never_started(Ticket(1, 10))  # it may have been: nothing is promised of it


def test_a_ticket_that_was_only_seen_lets_the_floor_rise_as_well() -> None:
    over = Tombstones()
    over.saw(one(5))
    over.age(0.0)
    over.age(HORIZON + 0.1)
    assert Ticket(1, 5) in over
    assert Ticket(1, 6) not in over


def test_the_floor_follows_within_a_few_steps_however_often_it_is_aged() -> None:
    over = Tombstones()
    for n in range(1, 1001):
        over.saw(one(n))
        over.age(n / 10)
        assert len(over._lives[1].marks) <= room._STEPS + 2
    behind = 1000 - max(n for n in range(1, 1001) if Ticket(1, n) in over)
    assert HORIZON * 10 <= behind <= HORIZON * 10 * (1 + 2 / room._STEPS)


def test_ten_thousand_gaps_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_GAPS", 10)
    over = Tombstones()
    for n in range(1, 20, 2):
        over.add(one(n), was_started=True)
    assert not over.is_full
    over.add(one(21), was_started=True)
    assert over.is_full
    for n in range(23, 43, 2):
        over.add(one(n), was_started=False)
    assert Ticket(1, 40) in over  # at twice as many, everything up to the newest
    assert Ticket(1, 42) not in over
    assert (over.is_full, len(over)) == (False, 0)


def test_of_lives_long_past_everything_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor that starts again and again must not get anything run twice."""
    monkeypatch.setattr(room, "MAX_INCARNATIONS", 3)
    over = Tombstones()
    for incarnation in range(1, 6):
        over.add([Ticket(incarnation, 7)], was_started=False)
    assert Ticket(2, 1) in over
    assert not over.never_started(Ticket(2, 7))
    assert Ticket(3, 1) not in over
    assert over.never_started(Ticket(3, 7))
    over.add([Ticket(1, 8)], was_started=False)
    over.saw([Ticket(2, 8)])
    assert sorted(over._lives) == [3, 4, 5]
    assert Ticket(1, 8) in over


def test_dense_tickets_cost_one_interval_however_many_there_were() -> None:
    over = Tombstones()
    for n in range(1, 10_001):
        over.add(one(n), was_started=True)
    assert len(over) == 1
