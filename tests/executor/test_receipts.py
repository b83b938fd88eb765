"""When receipts leave, and what they name."""

from __future__ import annotations

import pytest

from executor.peer import Peer
from executor.receipts import MOST, Receipts
from protocol.tickets import Ticket, parse
from protocol.timing import RECEIPT_DELAY, RECEIPTS_AT_ONCE


def worker(name: str = "a", *caps: str) -> Peer:
    """One with an inbox, that reads receipts."""
    peer = Peer(name * 16, "native", name)
    peer.inbox = f"x.{name}"
    peer.caps = frozenset(caps or ("receipt",))
    return peer


def tickets(*numbers: int, incarnation: int = 1) -> list[Ticket]:
    """Of one incarnation."""
    return [Ticket(incarnation, number) for number in numbers]


def test_they_wait_for_others_to_the_same_worker_for_a_moment() -> None:
    receipts, one, other = Receipts(), worker("a"), worker("b")
    receipts.add(one, tickets(1, 2), 10.0)
    receipts.add(other, tickets(7), 10.2)
    receipts.add(one, tickets(3, 9), 10.4)
    assert receipts.next == 10.0 + RECEIPT_DELAY
    assert list(receipts.leaving(10.49)) == []
    assert list(receipts.leaving(10.5)) == [(one, "1:1-3,9")]
    assert receipts.next == 10.2 + RECEIPT_DELAY
    assert list(receipts.leaving(20.0)) == [(other, "1:7")]
    assert receipts.next is None
    assert len(receipts) == 0


def test_many_leave_at_once() -> None:
    receipts, one = Receipts(), worker()
    receipts.add(one, tickets(*range(1, RECEIPTS_AT_ONCE)), 0.0)
    assert list(receipts.leaving(0.1)) == []
    receipts.add(one, tickets(RECEIPTS_AT_ONCE), 0.1)
    assert receipts.next == float("-inf")
    assert list(receipts.leaving(0.1)) == [(one, f"1:1-{RECEIPTS_AT_ONCE}")]
    assert list(receipts.leaving(9.0)) == []


def test_tickets_of_several_incarnations_travel_together_each_once() -> None:
    receipts, one = Receipts(), worker()
    receipts.add(one, [*tickets(4, incarnation=2), *tickets(8, 8, 9)], 0.0)
    receipts.add(one, tickets(8, incarnation=1), 0.0)
    assert list(receipts.leaving(1.0)) == [(one, "1:8-9 2:4")]


@pytest.mark.parametrize(
    "why", ["does not read them", "has ended", "has no inbox", "is taskflow's"]
)
def test_nothing_is_gathered_for_a_worker_that(why: str) -> None:
    one = worker("a", "release") if why == "does not read them" else worker()
    if why == "has ended":
        one.is_dead = True
    elif why == "has no inbox":
        one.inbox = None
    elif why == "is taskflow's":
        one = Peer("x", "taskflow", "x")
    receipts = Receipts()
    receipts.add(one, tickets(1), 0.0)
    assert receipts.next is None


def test_whole_spans_are_not_unfolded_and_no_message_names_more_than_is_read() -> None:
    receipts, one = Receipts(), worker()
    spans = [(1, (1, 3)), (1, (10, 2 * MOST)), (2, (5, 5)), (1, (2, 12))]
    receipts.add_spans(one, spans, 0.0)
    texts = [text for _, text in receipts.leaving(0.0)]
    assert texts == [f"1:1-{MOST}", f"1:{MOST + 1}-{2 * MOST}", "2:5"]
    assert all(len(parse(text)) <= MOST for text in texts)


def test_a_portion_may_be_of_several_spans() -> None:
    receipts, one = Receipts(), worker()
    receipts.add_spans(one, [(1, (n, n)) for n in range(2, 2 * MOST + 4, 2)], 0.0)
    sizes = [len(parse(text)) for _, text in receipts.leaving(0.0)]
    assert sizes == [MOST, 1]
