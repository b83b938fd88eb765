"""Tickets as text and as intervals, against the plain set they stand for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import envelope, messages, schemas, tickets, timing
from protocol.errors import MessageRefused
from protocol.messages import Held
from protocol.tickets import MAX_DIGITS, MAX_NAMED, Ticket, TicketSet
from tests.protocol.arbitrary import texts

#: Close together, so that intervals meet, and some far away.
numbers = st.integers(1, 40) | st.integers(1, 10**15)
some_tickets = st.lists(st.builds(Ticket, st.integers(1, 5), numbers), min_size=1, max_size=40)

HOSTILE = [
    "", " ", ":", "1", "1:", ":1", "1:2-", "1:-2", "1:2,", "1:,2", "1:2 ", " 1:2", "1:2  1:3",
    "1:2\n", "1:2-3-4", "1:2:3", "a:b", "1:x", "+1:2", "1:+2", "1:1_000", "-1:2", "1:0x10",
    "１:２", "1:²", "1:2;3", "1:1.0", "0:1", "1:0", "00:1", "1:0-3", "1:5-4", "1:3,5-4",
    f"1:1-{MAX_NAMED + 1}", f"1:1-{MAX_NAMED} 2:1", f"1:1-{'9' * 5000}", f"{'9' * 5000}:1",
    f"1:{'9' * (MAX_DIGITS + 1)}", "1:1," * 50_000, "1:\ud800",
]  # fmt: skip
#: Of these, what names more than may be unfolded, and nothing, is no nonsense as ranges.
RANGES = {"", f"1:1-{MAX_NAMED + 1}", f"1:1-{MAX_NAMED} 2:1"}


def test_a_text_names_its_tickets_in_its_order() -> None:
    """The example of the module's docstring."""
    assert tickets.parse("3:17-20,25 4:2") == [
        *(Ticket(3, number) for number in (17, 18, 19, 20, 25)),
        Ticket(4, 2),
    ]
    assert tickets.parse("4:2 3:9,7")[-1] == Ticket(3, 7)


def test_one_ticket_is_written_as_it_is_read() -> None:
    """As it travels in a REQUEST."""
    assert str(Ticket(3, 17)) == "3:17"
    assert tickets.parse(str(Ticket(3, 17))) == [Ticket(3, 17)]


@given(some_tickets)
@settings(deadline=None)
def test_a_text_round_trip_keeps_the_set_and_sorts_it(some: list[Ticket]) -> None:
    """Whatever their order, and however often each is there; what is written fits the schema."""
    text = tickets.to_text(some)
    assert tickets.parse(text) == sorted(set(some))
    assert schemas.is_valid("release", {"items": [{"tickets": text, "reason": "full"}]})


@given(st.sets(st.integers(1, 200), min_size=1))
@settings(deadline=None)
def test_the_text_is_the_shortest(some: set[int]) -> None:
    """One span for each run of numbers, no more."""
    runs = sum(number - 1 not in some for number in some)
    assert tickets.to_text(Ticket(1, number) for number in some).count(",") == runs - 1


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_a_hostile_text_is_refused(text: str) -> None:
    """As a message is refused, in words that are short."""
    with pytest.raises(MessageRefused) as caught:
        tickets.parse(text)
    assert caught.value.reason == "tickets"
    assert len(str(caught.value)) < 200


@given(texts | st.text("0123456789:-, ", max_size=30))
@settings(deadline=None)
def test_any_text_names_tickets_or_is_refused(text: str) -> None:
    """Nothing else is raised, and nothing is named that the schema does not know as a text."""
    try:
        found = tickets.parse(text)
    except MessageRefused as refusal:
        assert refusal.reason == "tickets"
        return
    assert found
    assert len(found) <= MAX_NAMED
    assert all(incarnation >= 1 and number >= 1 for incarnation, number in found)
    assert schemas.is_valid("header", {"v": 1, "tk": text})


def test_as_many_as_may_be_named_are_named() -> None:
    """The bound itself is allowed, in one range or several."""
    assert len(tickets.parse(f"1:1-{MAX_NAMED}")) == MAX_NAMED
    assert len(tickets.parse(f"1:1-{MAX_NAMED - 1} 2:1")) == MAX_NAMED


def test_a_worker_can_name_all_it_may_hold_unfinished() -> None:
    """In one RELEASE, however they are scattered."""
    assert MAX_NAMED >= timing.CREDIT_MAX


# ranges -------------------------------------------------------------------------------------


@given(some_tickets, some_tickets)
@settings(deadline=None)
def test_ranges_know_the_tickets_a_text_names_and_no_others(
    some: list[Ticket], others: list[Ticket]
) -> None:
    """Without unfolding them; an incarnation nobody named has none."""
    named = tickets.ranges(tickets.to_text(some))
    assert set(named) == {ticket.incarnation for ticket in some}
    for ticket in some + others:
        assert (ticket.number in named.get(ticket.incarnation, ())) is (ticket in some)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), min_size=1, max_size=20))
@settings(deadline=None)
def test_spans_may_come_in_any_order_and_overlap(some: list[tuple[int, int]]) -> None:
    """A peer may write them as it likes; what is kept is the set."""
    spans = [(low, low + more) for low, more in some]
    text = ",".join(f"{low}-{high}" for low, high in spans)
    model = {number for low, high in spans for number in range(low, high + 1)}
    kept = tickets.ranges(f"7:{text}")[7]
    assert list(kept) == sorted(model)
    assert kept.spans == TicketSet(model).spans
    assert list(TicketSet.of_spans(spans)) == sorted(model)


def test_ranges_of_one_incarnation_may_be_named_in_several_places() -> None:
    """The pattern lets them."""
    named = tickets.ranges("3:1-2 4:9 3:3,8")
    assert {incarnation: str(kept) for incarnation, kept in named.items()} == {3: "1-3,8", 4: "9"}


def test_an_empty_text_names_nothing() -> None:
    """As a digest says it of each of its four parts."""
    assert tickets.ranges("") == {}


def test_a_range_is_not_unfolded_however_long_it_is() -> None:
    """Nothing is counted up to its end."""
    last = 10**MAX_DIGITS - 1
    kept = tickets.ranges(f"1:5-{last}")[1]
    assert (len(kept), last in kept, 4 in kept) == (1, True, False)


@pytest.mark.parametrize("text", sorted(set(HOSTILE) - RANGES), ids=lambda text: repr(text[:20]))
def test_hostile_ranges_are_refused(text: str) -> None:
    """As the text is when it is unfolded."""
    with pytest.raises(MessageRefused) as caught:
        tickets.ranges(text)
    assert caught.value.reason == "tickets"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", sorted(RANGES))
def test_what_is_too_much_to_unfold_is_not_too_much_for_ranges(text: str) -> None:
    """The bound is on what is unfolded."""
    assert all(kept.spans for kept in tickets.ranges(text).values())


#: As long as the schema lets a text be, each of another kind.
LONGEST = {
    "scattered": "1:" + ",".join(str(100_000 + 2 * n) for n in range(28_500)),
    "backwards": "1:" + ",".join(str(200_000 - 2 * n) for n in range(28_500)),
    "the same": "1:" + ",".join("1" for _ in range(99_990)),
    "incarnations": " ".join(f"{n}:1" for n in range(1, 26_000)),
}


@pytest.mark.parametrize("text", LONGEST.values(), ids=LONGEST)
def test_the_longest_digest_is_read_in_a_moment(text: str) -> None:
    """Built, checked, read and asked; processor time, so that a busy machine does not count."""
    began = time.process_time()
    body = messages.encode(Held(queued=text))
    held = messages.decode(envelope.HELD, body, at_worker=False)
    assert isinstance(held, Held)
    named = tickets.ranges(held.queued)
    assert sum(number in named.get(1, ()) for number in range(500)) <= 500
    assert time.process_time() - began < 3.0  # seconds; it is milliseconds, and hours if unfolded


@given(st.lists(numbers, max_size=60))
@settings(deadline=None)
def test_a_set_of_tickets_is_the_set_of_its_numbers(added: list[int]) -> None:
    """Model test, after every single addition."""
    kept, model = TicketSet(), set[int]()
    for number in added:
        kept.add(number)
        model.add(number)
        assert list(kept) == sorted(model)
        assert all((near in kept) is (near in model) for near in (number - 1, number, number + 1))
        assert len(kept) == sum(number - 1 not in model for number in model)
    assert bool(kept) is bool(model)
    assert list(TicketSet(added)) == sorted(model)


@pytest.mark.parametrize(
    ("added", "text"),
    [
        ((), ""),
        ((5,), "5"),
        ((5, 6), "5-6"),
        ((6, 5), "5-6"),
        ((5, 7), "5,7"),
        ((5, 7, 6), "5-7"),
        ((7, 1, 3, 2, 9, 8), "1-3,7-9"),
        ((2, 2, 2), "2"),
    ],
)
def test_the_intervals_join_where_they_meet(added: tuple[int, ...], text: str) -> None:
    """By the left, by the right, by both."""
    assert str(TicketSet(added)) == text


def test_a_dense_set_stays_small() -> None:
    """Ten thousand, the odd ones first, are one interval in the end."""
    kept = TicketSet(range(1, 10_001, 2))
    assert len(kept) == 5_000
    for number in range(2, 10_001, 2):
        kept.add(number)
    assert (len(kept), str(kept)) == (1, "1-10000")


@pytest.mark.parametrize(
    ("number", "left"),
    [
        (0, "2-4,7,9-10"),
        (1, "2-4,7,9-10"),
        (2, "3-4,7,9-10"),
        (4, "7,9-10"),
        (5, "7,9-10"),
        (7, "9-10"),
        (9, "10"),
        (10, ""),
        (99, ""),
    ],
)
def test_all_up_to_a_number_can_be_taken_out(number: int, left: str) -> None:
    kept = TicketSet((2, 3, 4, 7, 9, 10))
    kept.drop_up_to(number)
    assert str(kept) == left
    kept.add(4)
    assert 4 in kept
