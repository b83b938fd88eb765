"""A list on its way: what is sent as one, and how it comes apart."""

from __future__ import annotations

import pytest

from bus.wire.load import Load
from protocol.envelope import BATCH, REQUEST, Envelope, Header
from protocol.parcel import Parcel
from protocol.topology import Names

NAMES = Names("native", "test")


def parcel(number: int, *, takes_batches: bool = True, header: Header | None = None) -> Parcel:
    address = NAMES.to_inbox("x.b", takes_batches=takes_batches)
    return Parcel(address, Envelope(REQUEST, "ex", str(number), header or Header()), b"{}")


def kinds(load: Load) -> list[str]:
    """As what they would be sent."""
    return [sent.envelope.kind for sent in load.first(1000)]


def left(load: Load) -> list[str | None]:
    """What is left, once everything has been taken apart."""
    found = []
    while load:
        if not load.split():
            found.append(load.drop().envelope.correlation_id)
    return found


def test_what_its_reader_takes_as_one_is_sent_as_one() -> None:
    load = Load([parcel(n) for n in range(5)])
    assert kinds(load) == [BATCH]
    assert len(load) == 5
    load.taken(1)
    assert not load


def test_the_others_are_sent_one_by_one() -> None:
    load = Load([parcel(n, takes_batches=False) for n in range(3)])
    assert kinds(load) == [REQUEST] * 3
    assert [sent.envelope.correlation_id for sent in load.first(2)] == ["0", "1"]
    load.taken(2)
    assert left(load) == ["2"]


def test_it_comes_apart_by_halves_and_in_order() -> None:
    load = Load([parcel(n) for n in range(5)])
    assert load.split()
    assert kinds(load) == [BATCH, BATCH]
    assert load.split()
    assert kinds(load) == [REQUEST, REQUEST, BATCH]
    assert not load.split()
    assert left(load) == ["0", "1", "2", "3", "4"]


def test_one_that_is_named_comes_apart_wherever_it_is() -> None:
    load = Load([parcel(9, takes_batches=False), *(parcel(n) for n in range(2))])
    named = load.first(2)[1]
    assert load.split(named)
    assert kinds(load) == [REQUEST] * 3
    assert load.drop(load.first(3)[1]).envelope.correlation_id == "0"
    assert left(load) == ["9", "1"]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_that_cannot_be_written_keeps_none_of_the_others_from_it(bad: int) -> None:
    """The publish of it alone says what is wrong with it."""
    unwritable = Header(tickets="no ticket")
    load = Load([parcel(n, header=unwritable if n == bad else None) for n in range(3)])
    assert kinds(load) == [REQUEST] * 3
