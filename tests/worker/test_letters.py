"""What a worker writes: the header of each kind, and what each dialect can read."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import batch
from protocol.envelope import CAPS, STOPS, Header
from protocol.errors import MessageRefused, ValueRefused
from protocol.failure import from_text
from protocol.messages import Answer, Held, Release, Request, Response
from protocol.parcel import Parcel
from protocol.tickets import Ticket
from protocol.timing import BEAT
from protocol.topology import Names
from tests.worker.executors import BOOT, TASK, header, read
from worker.letters import Letters
from worker.record import Record


def letters(dialect: Any = "native", **settings: Any) -> Letters:
    """Of a worker of two topics."""
    said = {"worker": "w", "boot": BOOT, "slots": 3, "beat": BEAT, "can_stop": True} | settings
    said.setdefault("takes_batches", lambda _: False)
    return Letters(Names(dialect, "test"), ("x", "y"), **said)


def record(attempt: int | None = 2, *, is_native: bool = True) -> Record:
    """One that is held."""
    head = Header(attempt=attempt) if is_native else None
    one = Record("u1", "ex-1", Request(TASK), head, 0.0)
    one.ticket = Ticket(1, 7)
    return one


def test_a_word_to_everybody_goes_to_the_fan_out_once_for_each_topic() -> None:
    sent = letters().to_everybody(["m.a"], 5, 1.5)
    assert [read(parcel).message for parcel in sent] == [
        Answer("x", ("m.a",)),
        Answer("y", ("m.a",)),
    ]
    assert sent[0].address == Names("native", "test").to_everybody(Names("native", "test").hello)
    head = header(sent[0])
    assert (head.clock, head.slots, head.credit, head.inbox) == (1500, 3, 5, f"x.{BOOT}")


def test_taskflows_peers_are_told_when_they_ask_and_without_a_header() -> None:
    assert letters("taskflow").to_everybody(["m.a"], 5, 1.0) == []
    sent = letters("taskflow").to_one("flow", ["m.a"], 5, 1.0)
    assert [parcel.envelope.header for parcel in sent] == [None, None]


@pytest.mark.parametrize(
    ("settings", "caps", "beat"),
    [
        ({}, (*CAPS, STOPS), None),
        ({"can_stop": False}, CAPS, None),
        ({"beat": 0.25}, (*CAPS, STOPS), 250),
    ],
)
def test_notify_says_what_this_worker_can_and_how_often_it_beats(
    settings: dict[str, Any], caps: tuple[str, ...], beat: int | None
) -> None:
    one = letters(**settings)
    head = header(one.to_one("ex-1", [], 0, 1.0)[0])
    assert (head.caps, head.beat, head.replaces) == (caps, beat, None)
    one.replaces = "a" * 16
    assert header(one.to_one("ex-1", [], 0, 1.0)[0]).replaces == "a" * 16


def test_all_that_is_answered_to_one_executor_travels_together() -> None:
    """RUNNINGs and ends, whatever the credit is by then, and however late."""
    of = letters(takes_batches=lambda _: True)
    sent: list[Parcel] = []
    for number in range(20):
        one = record()
        one.ticket = Ticket(1, number + 1)
        sent.append(of.response(one, b"{}", float(number)))
        one.end = "done"
        sent.append(of.response(one, b"{}", float(number), number))
    assert batch.gathered(sent) == [sent]


def test_a_response_names_the_newest_ticket_and_at_its_end_the_credit() -> None:
    one = record()
    running = letters().response(one, b"{}", 2.0)
    head = header(running)
    assert (head.tickets, head.attempt, head.end, head.credit) == ("1:7", 2, None, None)
    one.end = "limit"
    head = header(letters().response(one, b"{}", 2.0, credit=4))
    assert (head.tickets, head.attempt, head.end, head.credit) == ("1:7", 2, "limit", 4)
    assert header(letters().response(record(None), b"{}", 2.0)).attempt is None


def test_what_is_of_what_is_held_says_who_and_when() -> None:
    one = letters()
    sent = [
        one.held("ex-1", Held(running="1:2"), 3.0),
        one.dropped("ex-1", [Ticket(1, 3), Ticket(1, 2)], 3.0),
        one.release("ex-1", "u1", [([Ticket(2, 1)], "late"), ([Ticket(1, 9)], "over")], 6, 3.0),
    ]
    for parcel in sent:
        head = header(parcel)
        assert (head.worker, head.boot, head.clock) == ("w", BOOT, 3000)
        assert parcel.address == Names("native", "test").to_replies("ex-1")
    released = read(sent[2])
    assert released.message == Release((("2:1", "late"), ("1:9", "over")))
    assert released.envelope.correlation_id == "u1"
    assert header(sent[2]).credit == 6


def test_every_message_says_how_often_it_beats_if_that_is_unusual() -> None:
    """Whichever is heard first: nobody must expect the next one too soon."""
    one = letters(beat=20.0)
    sent = [
        *one.to_one("ex-1", [], 0, 1.0),
        one.response(record(), b"{}", 1.0),
        one.held("ex-1", Held(), 1.0),
        one.dropped("ex-1", [Ticket(1, 3)], 1.0),
        one.release("ex-1", "u1", [([Ticket(2, 1)], "late")], 6, 1.0),
    ]
    assert {header(parcel).beat for parcel in sent} == {20_000}


def test_a_digest_that_is_too_long_for_a_message_is_refused() -> None:
    with pytest.raises(MessageRefused):
        letters().held("ex-1", Held(ended=f"1:{'1,3,' * 50_000}5"), 1.0)


def test_what_a_taskflow_peer_could_not_read_is_refused_before_it_is_sent() -> None:
    """It reads its JSON with kombu, which takes some objects for something else."""
    odd = {"__type__": "datetime", "__value__": "x"}
    letters().body_of(record(), Response.success(odd))
    with pytest.raises(ValueRefused):
        letters().body_of(record(is_native=False), Response.success(odd))
    failure = from_text(("E", "Exception"), "no")
    assert b"FAILURE" in letters().body_of(record(is_native=False), Response.failure(failure))


def test_a_request_that_is_put_back_is_the_one_that_came() -> None:
    one = record(is_native=False)
    parcel = letters("taskflow").put_back(one)
    assert parcel.address == Names("taskflow", "test").to_topic("x")
    assert (parcel.envelope.reply_to, parcel.envelope.correlation_id) == ("ex-1", "u1")
    assert read(parcel).message == Request(TASK, name=TASK)
