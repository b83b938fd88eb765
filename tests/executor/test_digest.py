"""What a worker process holds, asked ticket by ticket."""

from __future__ import annotations

import pytest

from executor.digest import MAX_DROPPED, Digest
from protocol.errors import MessageRefused
from protocol.messages import Held
from protocol.tickets import Ticket


@pytest.mark.parametrize(
    ("ticket", "where"),
    [
        (Ticket(1, 1), "queued"),
        (Ticket(1, 99_999_999), "queued"),
        (Ticket(2, 4), "running"),
        (Ticket(2, 7), "ended"),
        (Ticket(1, 0), None),
        (Ticket(2, 5), None),
        (Ticket(3, 1), "dropped"),
        (Ticket(4, 1), None),
    ],
)
def test_a_ticket_is_where_the_digest_lists_it(ticket: Ticket, where: str | None) -> None:
    digest = Digest(Held(queued="1:1-100000000", running="2:4", ended="2:6-8", dropped="3:1"))
    assert digest.where(ticket) == where


def test_in_several_places_the_one_furthest_on_counts() -> None:
    digest = Digest(Held(queued="1:1-4", running="1:1-3", ended="1:1-2", dropped="1:1"))
    found = [digest.where(Ticket(1, n)) for n in range(1, 5)]
    assert found == ["dropped", "ended", "running", "queued"]


def test_an_empty_one_lists_nothing() -> None:
    digest = Digest(Held())
    assert digest.where(Ticket(1, 1)) is None
    assert list(digest.dropped()) == []


def test_what_was_thrown_away_comes_in_spans() -> None:
    digest = Digest(Held(dropped="2:9 1:1-3,5"))
    assert sorted(digest.dropped()) == [(1, (1, 3)), (1, (5, 5)), (2, (9, 9))]


@pytest.mark.parametrize("text", ["1:0", "1:5-2", f"1:1-{MAX_DROPPED + 1}", "1:" + "9" * 17])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(MessageRefused):
        Digest(Held(dropped=text))
