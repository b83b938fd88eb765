"""Who is speaking, and whether it is for us. What nonsense comes to is in test_table.py."""

from __future__ import annotations

from collections import Counter

import pytest

from protocol.envelope import Header
from protocol.tickets import Ticket
from tests.worker.executors import BOOT
from worker import known as executors_room
from worker.known import SILENCE, Executors
from worker.reception import Reception

PACE = 1.0


@pytest.fixture
def counts() -> Counter[str]:
    """What was refused."""
    return Counter()


@pytest.fixture
def reception(counts: Counter[str]) -> Reception:
    """Of a worker that beats every second."""
    return Reception(BOOT, Executors(), counts, pace=PACE)


def test_whoever_speaks_is_known_and_hears_from_us_within_a_beat(reception: Reception) -> None:
    known = reception.meet("ex-1", Header(incarnation=3), 10.0)
    assert known is not None
    assert (known.heard, known.incarnation, known.beat_at) == (10.0, 3, 11.0)
    assert reception.meet("ex-1", Header(), 12.0) is known
    assert (known.heard, known.incarnation, known.beat_at) == (12.0, 3, 11.0)


def test_a_word_from_an_earlier_life_is_no_sign_of_life(reception: Reception) -> None:
    reception.meet("ex-1", Header(incarnation=3), 10.0)
    known = reception.meet("ex-1", Header(incarnation=2), 20.0)
    assert known is not None
    assert (known.heard, known.incarnation) == (10.0, 3)


def test_who_returns_from_silence_is_told_of_once(reception: Reception) -> None:
    known = reception.meet("ex-1", Header(), 0.0)
    assert reception.take_returned() == []
    reception.meet("ex-1", Header(), SILENCE + 1)
    reception.meet("ex-1", Header(), SILENCE + 2)
    assert reception.take_returned() == [known]
    assert reception.take_returned() == []


def test_what_is_for_another_process_is_not_heard(
    reception: Reception, counts: Counter[str]
) -> None:
    assert reception.addressed("ex-1", Header(boot="c" * 16), 0.0) is None
    assert counts == {"wrong_boot": 1}
    assert reception.addressed("ex-1", Header(boot=BOOT), 0.0) is not None


def test_there_is_room_for_so_many(
    reception: Reception, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors_room, "MAX_EXECUTORS", 1)
    assert reception.meet("ex-1", Header(), 0.0) is not None
    assert reception.meet("ex-2", Header(), 0.0) is None
    assert counts == {"too_many_executors": 1}


def test_named_tickets_are_remembered_until_they_can_start_no_more(reception: Reception) -> None:
    known = reception.meet("ex-1", Header(incarnation=1), 0.0)
    assert known is not None
    header = Header(incarnation=1, tickets="1:4-5", start_by=30_000)
    assert reception.named(known, "u", header, 0.0) == [Ticket(1, 4), Ticket(1, 5)]
    assert (known.can_be_forgotten(30.0), known.can_be_forgotten(30.1)) == (False, True)


def test_a_request_may_say_how_long_results_are_kept(reception: Reception) -> None:
    """It may be the first word that is heard of its executor."""
    known = reception.meet("ex-1", Header(incarnation=1), 0.0)
    assert known is not None
    header = Header(incarnation=1, tickets="1:4", start_by=1, keep=3600)
    reception.named(known, "u", header, 0.0)
    assert known.keep == 3600.0
