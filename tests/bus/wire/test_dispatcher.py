"""Whether a delivery is a message of the protocol: decided for anything a peer can send."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from kombu.message import Message

from bus.wire import Dispatcher
from bus.wire.broker import Delivery
from bus.wire.dispatcher import MAX_LINES, MAX_REMEMBERED, QUIET
from bus.wire.unopened import keep_closed
from protocol import envelope, messages
from protocol.envelope import HEADER, Header
from protocol.messages import (
    Answer,
    Cancel,
    Dropped,
    Held,
    Question,
    Receipt,
    Release,
    Request,
    Response,
)
from protocol.messages import Message as Said
from protocol.parcel import Received, Refused
from protocol.size import MAX_BODY

LOGGER = "taskline.bus.wire.dispatcher"
REQUEST = messages.encode(Request("m.task", arguments={"x": 1}))
ABOUT = {"type": "REQUEST", "reply_to": "peer", "correlation_id": "c-1"}


class _Channel:
    """As much of a kombu channel as has to do with making messages: each has a class of its own."""

    class Message(Message):
        """A transport's."""


def delivery(
    body: Any = REQUEST,
    *,
    content_type: Any = "application/json",
    content_encoding: Any = "utf-8",
    headers: Any = None,
    **changes: Any,
) -> Delivery:
    """A good request, but for what is said otherwise; a property that is None is left out."""
    properties = {name: value for name, value in {**ABOUT, **changes}.items() if value is not None}
    channel = _Channel()
    keep_closed(channel)
    message = channel.Message(
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        properties=properties,
        postencode="utf-8",
    )
    return Delivery(message)


def refused(dispatcher: Dispatcher, bad: Delivery) -> Refused:
    """What becomes of it, which must be a refusal."""
    (found,) = dispatcher.sort([bad])
    assert isinstance(found, Refused), found
    return found


def test_a_list_comes_out_in_its_order_good_and_bad() -> None:
    dispatcher = Dispatcher(at_worker=True)
    found = dispatcher.sort(
        [delivery(), delivery(b"{"), delivery(b"{}", type="NOTIFY"), delivery(type="NONE")]
    )
    assert [type(each) for each in found] == [Received, Refused, Received, Refused]
    assert isinstance(found[0], Received)
    assert found[0].message == Request("m.task", "m.task", arguments={"x": 1})
    assert isinstance(found[2], Received)
    assert found[2].message == Question()


def test_a_body_may_come_as_bytes_text_or_a_view_of_them() -> None:
    dispatcher = Dispatcher(at_worker=True)
    for body in (REQUEST, REQUEST.decode(), memoryview(REQUEST), bytearray(REQUEST)):
        (found,) = dispatcher.sort([delivery(body)])
        assert isinstance(found, Received)


def test_our_header_comes_along() -> None:
    header = Header(worker="w", boot="0" * 16, clock=7, tickets="1:1")
    (found,) = Dispatcher(at_worker=False).sort(
        [
            delivery(
                messages.encode(Response.running()),
                type="RESPONSE",
                headers={HEADER: header.to_text()},
            )
        ]
    )
    assert isinstance(found, Received)
    assert found.envelope.header == header


#: As much as the kinds of ours need in their header.
TO_WORKER = Header(
    executor="ex1", incarnation=1, boot="0" * 16, tickets="1:1", start_by=60000
).to_text()
TO_EXECUTOR = Header(boot="0" * 16, clock=5).to_text()

#: Each kind of ours as it is read, on the side it is for.
OURS: list[tuple[bool, Said]] = [
    (True, Cancel("keep", "user")),
    (True, Receipt("1:1-3")),
    (False, Held(running="1:1")),
    (False, Release((("1:1", "late"),))),
    (False, Dropped("1:1")),
]


@pytest.mark.parametrize(("at_worker", "message"), OURS, ids=lambda value: str(value)[:9])
def test_each_kind_of_ours_is_read_where_it_is_for(at_worker: bool, message: Said) -> None:
    header = TO_WORKER if at_worker else TO_EXECUTOR
    body = messages.encode(message)
    good = delivery(body, type=message.kind, headers={HEADER: header})
    (found,) = Dispatcher(at_worker=at_worker).sort([good])
    assert isinstance(found, Received)
    assert found.message == message
    refusal = refused(Dispatcher(at_worker=not at_worker), good)
    assert refusal.reason == "wrong_side"


BAD_AT_WORKER: list[tuple[str, dict[str, Any]]] = [
    ("no_type", {"type": None}),
    ("unknown_type", {"type": "CELERY"}),
    ("unknown_type", {"type": 7}),
    ("unknown_type", {"type": ["REQUEST"]}),
    ("unknown_type", {"type": {"a": 1}}),
    ("unknown_type", {"type": ""}),
    ("wrong_side", {"type": "RESPONSE"}),
    ("wrong_side", {"type": "RELEASE"}),
    ("wrong_side", {"type": "HELD"}),
    ("wrong_side", {"type": "DROPPED"}),
    ("incomplete", {"type": "CANCEL"}),
    ("incomplete", {"type": "CANCEL", "headers": {HEADER: '{"v": 1}'}}),
    ("incomplete", {"type": "RECEIPT", "correlation_id": None}),
    ("schema", {"type": "CANCEL", "headers": {HEADER: TO_WORKER}, "body": b"{}"}),
    ("schema", {"type": "RECEIPT", "headers": {HEADER: TO_WORKER}, "body": b'{"tickets": ""}'}),
    ("no_reply_to", {"reply_to": None}),
    ("no_reply_to", {"reply_to": ""}),
    ("no_correlation_id", {"correlation_id": None}),
    ("property", {"reply_to": "x" * 256}),
    ("property", {"reply_to": b"\xff"}),
    ("property", {"reply_to": {"a": 1}}),
    ("property", {"correlation_id": 1.5}),
    ("property", {"correlation_id": "\ud800"}),
    ("content_type", {"content_type": None}),
    ("content_type", {"content_type": "application/x-python-serialize"}),
    ("content_type", {"content_type": "application/data"}),
    ("content_type", {"content_type": "text/plain"}),
    ("content_type", {"content_type": 5}),
    ("content_type", {"content_type": "x" * 100_000}),
    ("compression", {"headers": {"compression": "application/x-gzip"}}),
    ("compression", {"headers": {"compression": "klingon"}}),
    ("compression", {"headers": {"compression": 5}}),
    ("unreadable", {"headers": "text"}),
    ("unreadable", {"headers": [1]}),
    ("unreadable", {"body": "\ud800"}),
    ("header", {"headers": {HEADER: 5}}),
    ("header", {"headers": {HEADER: {"v": 1}}}),
    ("header", {"headers": {HEADER: "{"}}),
    ("header", {"headers": {HEADER: "x" * 10_000}}),
    ("header", {"headers": {HEADER: "[" * 2000}}),
    ("schema", {"headers": {HEADER: "[]"}}),
    ("schema", {"headers": {HEADER: '{"v": 0}'}}),
    ("incomplete", {"headers": {HEADER: '{"v": 1}'}}),
    ("json", {"body": None}),
    ("json", {"body": b""}),
    ("json", {"body": REQUEST[:-1]}),
    ("json", {"body": b'"\xff\xfe"'}),
    ("json", {"body": b"NaN"}),
    ("json", {"body": b'{"arguments": {"x": NaN}}'}),
    ("json", {"body": b"[" * 100_000}),
    ("json", {"body": b"[" * 100_000 + b"]" * 100_000}),
    ("too_long", {"body": REQUEST + b" " * MAX_BODY}),
    ("too_long", {"body": b"[" * (MAX_BODY + 1)}),
    ("json", {"body": 5}),
    ("json", {"body": {"task_cls": "x"}}),
    ("schema", {"body": b"[]"}),
    ("schema", {"body": b"null"}),
    ("schema", {"body": b"{}"}),
    ("schema", {"body": b'{"x": 1}', "type": "NOTIFY"}),
    ("schema", {"body": REQUEST.replace(b'"execute"', b'"explode"')}),
]


@pytest.mark.parametrize(("reason", "changes"), BAD_AT_WORKER)
def test_nonsense_at_a_worker_is_refused_and_counted_under_its_reason(
    reason: str, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = Dispatcher(at_worker=True)
    found = refused(dispatcher, delivery(**changes))
    assert found.reason == reason
    assert dispatcher.refusals == {reason: 1}
    (line,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert reason in line
    assert len(line) < 800
    assert line.isprintable()


BAD_AT_EXECUTOR: list[tuple[str, dict[str, Any]]] = [
    ("too_long", {"type": "RESPONSE", "body": b" " * (MAX_BODY + 1)}),
    ("wrong_side", {"type": "REQUEST"}),
    ("wrong_side", {"type": "CANCEL"}),
    ("wrong_side", {"type": "RECEIPT"}),
    ("incomplete", {"type": "HELD", "body": b"{}"}),
    ("incomplete", {"type": "DROPPED", "body": b'{"tickets": "1:1"}'}),
    ("schema", {"type": "HELD", "body": b'{"held": "1:1"}', "headers": {HEADER: TO_EXECUTOR}}),
    ("schema", {"type": "DROPPED", "body": b"{}", "headers": {HEADER: TO_EXECUTOR}}),
    ("no_correlation_id", {"type": "RESPONSE", "correlation_id": None}),
    ("schema", {"type": "NOTIFY", "body": b"{}"}),
    ("schema", {"type": "RESPONSE", "body": b'{"state": "DONE", "data": {}}'}),
    ("schema", {"type": "RESPONSE", "body": b'{"state": "SUCCESS"}'}),
    ("incomplete", {"type": "RELEASE", "body": b'{"items": []}'}),
    (
        "incomplete",
        {
            "type": "RESPONSE",
            "body": b'{"state": "RUNNING", "data": {}}',
            "headers": {HEADER: '{"v": 1, "w": "x"}'},
        },
    ),
    (
        "schema",
        {
            "type": "RELEASE",
            "body": b'{"items": 1}',
            "headers": {HEADER: '{"v": 1, "b": "0123456789abcdef", "ck": 1}'},
        },
    ),
]


@pytest.mark.parametrize(("reason", "changes"), BAD_AT_EXECUTOR)
def test_nonsense_at_an_executor_is_refused_and_counted_under_its_reason(
    reason: str, changes: dict[str, Any]
) -> None:
    dispatcher = Dispatcher(at_worker=False)
    assert refused(dispatcher, delivery(**changes)).reason == reason
    assert dispatcher.refusals == {reason: 1}


def test_a_workers_answer_is_read_at_an_executor() -> None:
    body = json.dumps({"topic": "t", "tasks": ["a", "b"]}).encode()
    (found,) = Dispatcher(at_worker=False).sort([delivery(body, type="NOTIFY", reply_to=None)])
    assert isinstance(found, Received)
    assert found.message == Answer("t", ("a", "b"))


def test_a_refusal_says_whom_to_answer_as_far_as_it_could_be_read() -> None:
    dispatcher = Dispatcher(at_worker=True)
    found = refused(dispatcher, delivery(b"{"))
    assert (found.kind, found.reply_to, found.correlation_id) == ("REQUEST", "peer", "c-1")
    found = refused(dispatcher, delivery(type=5, reply_to=b"x", correlation_id="x" * 300))
    assert (found.kind, found.reply_to, found.correlation_id) == (None, None, None)


def test_a_compressed_body_is_not_opened() -> None:
    bad = delivery(b"not even compressed", headers={"compression": "application/x-gzip"})
    assert bad.message.body == b"not even compressed"
    assert refused(Dispatcher(at_worker=True), bad).reason == "compression"


def test_it_is_logged_once_a_minute_for_each_reason_and_peer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    dispatcher = Dispatcher(at_worker=True, clock=lambda: now)

    def lines() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        caplog.clear()
        return found

    dispatcher.sort([delivery(b"{")] * 3)
    (line,) = lines()
    assert line.startswith("refused a message from 'peer': json: ")
    assert "more like it" not in line

    dispatcher.sort([delivery(b"[]"), delivery(b"{", reply_to="other"), delivery(b"{")])
    schema, other = lines()  # another reason, another peer; the same is quiet
    assert "schema" in schema
    assert "'other'" in other

    now += QUIET - 0.1
    dispatcher.sort([delivery(b"{")])
    assert lines() == []
    now += 0.2
    dispatcher.sort([delivery(b"{")] * 2)
    (line,) = lines()
    assert line.endswith("(4 more like it since the last line)")

    now += QUIET
    dispatcher.sort([delivery(b"{")])
    (line,) = lines()
    assert line.endswith("(1 more like it since the last line)")
    assert dispatcher.refusals == {"json": 9, "schema": 1}


def test_who_does_not_say_his_name_is_one_peer(caplog: pytest.LogCaptureFixture) -> None:
    Dispatcher(at_worker=True).sort(
        [delivery(type=None, reply_to=None), delivery(type=None, reply_to=5)]
    )
    (record,) = caplog.records
    assert "from an unknown peer" in record.getMessage()


def test_a_peers_name_cannot_forge_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    Dispatcher(at_worker=True).sort([delivery(b"{", reply_to="x\nERROR forged \x1b[31m")])
    (record,) = caplog.records
    assert record.getMessage().isprintable()


def test_a_stranger_of_many_names_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """It was a line for each name, 17 MB of them for 100,000 messages."""
    now = 100.0
    dispatcher = Dispatcher(at_worker=True, clock=lambda: now)
    dispatcher.sort([delivery(b"{", reply_to=f"peer-{n}") for n in range(500)])
    dispatcher.sort([delivery(type=None, reply_to="peer-0")])  # another reason
    assert len(caplog.records) == MAX_LINES + 1
    assert dispatcher.refusals == {"json": 500, "no_type": 1}
    now += QUIET
    dispatcher.sort([delivery(b"{", reply_to="peer-499")])
    assert f"({500 - MAX_LINES} from other peers were not told of)" in caplog.messages[-1]


def test_the_peers_remembered_for_the_log_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, LOGGER)
    now = 0.0
    dispatcher = Dispatcher(at_worker=True, clock=lambda: now)
    for n in range(MAX_REMEMBERED + 50):
        dispatcher.sort([delivery(b"{", reply_to=f"peer-{n}")])
        now += QUIET / MAX_LINES
    assert len(dispatcher._logged) == MAX_REMEMBERED
    assert dispatcher.refusals == {"json": MAX_REMEMBERED + 50}


ON_REQUEST = Header(
    executor="ex1", incarnation=1, boot="0" * 16, tickets="1:1", start_by=60000, mode="alo"
).to_text()


def batch_of(*parts: object, **changes: Any) -> Delivery:
    """A batch of these, as a worker is sent it."""
    shared = Header(executor="ex1", incarnation=1, boot="0" * 16).to_text()
    about = {"type": "BATCH", "correlation_id": None, "headers": {HEADER: shared}} | changes
    return delivery(json.dumps({"messages": parts}).encode(), **about)


def part(uuid: str | None = "c-1", **changes: object) -> dict[str, object]:
    """A good request in a batch, but for what is said otherwise."""
    said = {
        "type": "REQUEST",
        "header": {"tk": "1:1", "sb": 60000, "mode": "alo"},
        "body": json.loads(REQUEST),
    }
    return said | ({} if uuid is None else {"correlation_id": uuid}) | changes


def test_a_batch_is_all_that_is_in_it_each_as_if_it_had_come_alone() -> None:
    dispatcher = Dispatcher(at_worker=True)
    alone = [delivery(headers={HEADER: ON_REQUEST}, correlation_id=uuid) for uuid in ("a", "b")]
    assert dispatcher.sort([batch_of(part("a"), part("b"))]) == dispatcher.sort(alone)
    assert not dispatcher.refusals


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("unknown_type", part(type="NONE")),
        ("unknown_type", part(None, type="BATCH", body={"messages": [part()]})),
        ("wrong_side", part(type="HELD", body={})),
        ("no_correlation_id", part(None)),
        ("property", part("c" * 300)),
        ("schema", part(header=7)),
        ("schema", part(header=None)),
        ("schema", part(header={"tk": 1})),
        ("incomplete", part(header={})),
        ("schema", part(body={})),
        ("schema", part(body=None)),
    ],
)
def test_what_is_refused_in_a_batch_costs_only_itself(reason: str, bad: dict[str, object]) -> None:
    dispatcher = Dispatcher(at_worker=True)
    first, second, third = dispatcher.sort([batch_of(part("a"), bad, part("z"))])
    assert isinstance(first, Received)
    assert isinstance(third, Received)
    assert isinstance(second, Refused)
    assert second.reason == reason
    assert second.reply_to == "peer"
    assert dispatcher.refusals == {reason: 1}


def test_what_a_message_of_a_batch_says_of_what_is_the_batchs_is_not_looked_at() -> None:
    """Another's name, or what a later version may say there."""
    own = {"tk": "1:1", "sb": 60000, "mode": "alo", "ex": "another", "b": 7, "later": []}
    dispatcher = Dispatcher(at_worker=True)
    assert dispatcher.sort([batch_of(part(header=own))]) == dispatcher.sort([batch_of(part())])


def test_a_batch_without_our_header_is_refused() -> None:
    """taskflow's peers send none; where messages are signed it would be a way round that."""
    assert (
        refused(Dispatcher(at_worker=True), batch_of(part(), headers=None)).reason == "incomplete"
    )


def test_the_kinds_of_the_protocol_are_all_looked_at() -> None:
    """A kind added to the protocol needs its place in the tables above."""
    looked_at = {message.kind for _, message in OURS} | {"NOTIFY", "REQUEST", "RESPONSE", "BATCH"}
    assert looked_at == set(envelope.KINDS)
