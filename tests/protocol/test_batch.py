"""Several messages as one: which go together, that they arrive as they were, and bad ones among."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import batch, envelope, messages
from protocol.envelope import BATCH, REQUEST, RESPONSE, Envelope, Header
from protocol.errors import MessageRefused
from protocol.messages import Request, Response
from protocol.parcel import Parcel
from protocol.topology import Names
from protocol.values import MAX_DEPTH

NAMES = Names("native", "test")
TO_WORKER = Header(
    executor="ex", incarnation=1, boot="0" * 16, tickets="1:1", start_by=9, mode="alo"
)
TASK = messages.encode(Request("m.task", arguments={"x": 1}))


def parcel(
    uuid: str | None = "u",
    to: str = "x.b",
    body: bytes = TASK,
    *,
    takes_batches: bool = True,
    reply_to: str | None = "ex",
    header: Header | None = TO_WORKER,
) -> Parcel:
    """A REQUEST to a worker that reads batches, but for what is said otherwise."""
    address = NAMES.to_inbox(to, takes_batches=takes_batches)
    return Parcel(address, Envelope(REQUEST, reply_to, uuid, header), body)


def uuids(groups: list[list[Parcel]]) -> list[list[str | None]]:
    return [[each.envelope.correlation_id for each in group] for group in groups]


def test_what_goes_to_one_reader_goes_together_in_its_order() -> None:
    mixed = [parcel("1"), parcel("2", "y.b"), parcel("3"), parcel("4", "y.b"), parcel("5")]
    assert uuids(batch.gathered(mixed)) == [["1", "3", "5"], ["2", "4"]]


def test_who_has_not_announced_it_gets_one_by_one() -> None:
    apart = [parcel("1", takes_batches=False), parcel("2", takes_batches=False)]
    assert uuids(batch.gathered(apart)) == [["1"], ["2"]]


def test_what_has_no_header_or_another_way_back_is_not_put_with_the_others() -> None:
    apart = [parcel("1"), parcel("2", header=None), parcel("3", reply_to="other"), parcel("4")]
    assert uuids(batch.gathered(apart)) == [["1", "4"], ["2"], ["3"]]


def test_a_long_body_travels_alone() -> None:
    long = messages.encode(Request("m.task", arguments={"x": "y" * batch.ALONE}))
    assert uuids(batch.gathered([parcel("1"), parcel("2", body=long), parcel("3")])) == [
        ["1", "3"],
        ["2"],
    ]


def test_a_batch_has_its_bounds() -> None:
    groups = batch.gathered([parcel(str(n)) for n in range(2 * batch.MOST + 1)])
    assert [len(group) for group in groups] == [batch.MOST, batch.MOST, 1]
    body = messages.encode(Request("m.task", arguments={"x": "y" * (batch.ALONE - 200)}))
    for group in batch.gathered([parcel(body=body) for _ in range(50)]):
        assert sum(len(each.body) for each in group) <= batch.MOST_BYTES
        assert len(batch.joined(group).body) < batch.MOST_BYTES + 1000 * len(group)


def test_one_alone_is_no_batch() -> None:
    one = parcel()
    assert batch.joined([one]) is one


def read(sent: Parcel, *, at_worker: bool) -> list[tuple[Envelope, messages.Message]]:
    """What its reader finds in it."""
    around = sent.envelope
    assert around.header is not None
    assert around.kind == BATCH
    assert around.correlation_id is None
    return [
        (
            envelope.checked(
                part["type"],
                around.reply_to,
                part.get("correlation_id"),
                around.header.with_own(part["header"]),
                at_worker=at_worker,
            ),
            messages.read(part["type"], part["body"], at_worker=at_worker),
        )
        for part in batch.parts(sent.body)
    ]


def test_what_is_joined_is_read_as_it_was() -> None:
    group = [parcel("1"), parcel('a "b" \\ ü\n'), parcel("3")]
    sent = batch.joined(group)
    assert sent.address == group[0].address
    assert json.loads(sent.body)["messages"][0]["body"] == json.loads(TASK)
    assert read(sent, at_worker=True) == [
        (each.envelope, messages.decode(REQUEST, each.body, at_worker=True)) for each in group
    ]


_TEXT = st.text(max_size=8)
_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), _JSON), min_size=2, max_size=20))
@settings(deadline=None, max_examples=60)
def test_whatever_the_results_are_they_come_out_one_by_one(said: list[tuple[str, Any]]) -> None:
    said = [(uuid, value) for uuid, value in said if _travels(uuid)]
    if not said:
        return
    header = Header(boot="0" * 16, clock=1, tickets="1:1")
    address = NAMES.to_replies("ex", takes_batches=True)
    parcels = [
        Parcel(
            address,
            Envelope(RESPONSE, correlation_id=uuid, header=header),
            messages.encode(Response.success(value)),
        )
        for uuid, value in said
    ]
    (group,) = batch.gathered(parcels)
    sent = batch.joined([*group, *group])  # two at least
    found = read(sent, at_worker=False)
    assert [around.correlation_id for around, _ in found] == 2 * [uuid for uuid, _ in said]
    for (_, message), (_, value) in zip(found, said + said, strict=True):
        assert isinstance(message, Response)
        assert message.data["result"] == value


def _travels(uuid: str) -> bool:
    try:
        return len(uuid.encode("utf-8")) <= envelope.MAX_PROPERTY
    except UnicodeEncodeError:
        return False


def test_a_body_as_deep_as_may_be_is_read_in_a_batch_too() -> None:
    deep: Any = 0
    for _ in range(MAX_DEPTH - 2):  # the body and its arguments are the others
        deep = [deep]
    body = messages.encode(Request("m.task", arguments={"x": deep}))
    ((_, first), _) = read(batch.joined([parcel(body=body), parcel()]), at_worker=True)
    assert first == messages.decode(REQUEST, body, at_worker=True)


def test_a_header_that_nobody_would_read_is_refused_where_it_is_written() -> None:
    for bad in (Header(boot="no boot"), Header(tickets="no ticket")):
        with pytest.raises(MessageRefused) as refused:
            batch.joined([parcel(header=bad), parcel(header=bad)])
        assert refused.value.reason == "schema"


def test_what_their_headers_have_in_common_is_said_once() -> None:
    first, second = TO_WORKER, TO_WORKER._replace(tickets="1:2", mode="amo", attempt=2)
    sent = batch.joined([parcel(header=first), parcel(header=second)])
    assert sent.envelope.header == Header(executor="ex", incarnation=1, boot="0" * 16)
    said = [each["header"] for each in json.loads(sent.body)["messages"]]
    assert said == [
        {"tk": "1:1", "sb": 9, "mode": "alo"},
        {"tk": "1:2", "sb": 9, "mode": "amo", "at": 2},
    ]
    assert [around.header for around, _ in read(sent, at_worker=True)] == [first, second]


def test_who_says_something_else_of_itself_ends_the_batch_and_nobody_is_overtaken() -> None:
    other = TO_WORKER._replace(keep=7)
    mixed = [parcel("1"), parcel("2"), parcel("3", header=other), parcel("4")]
    assert uuids(batch.gathered(mixed)) == [["1", "2"], ["3"], ["4"]]


_LEAST = b'{"type":"X","header":{},"body":{}}'


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("json", b"{"),
        ("json", 7),
        ("schema", b"[]"),
        ("schema", b"{}"),
        ("schema", b'{"messages":[]}'),
        ("schema", b'{"messages":[7]}'),
        ("schema", b'{"messages":[{"type":"REQUEST","body":{}}]}'),
        ("schema", b'{"messages":[{"type":7,"header":{"v":1},"body":{}}]}'),
        ("schema", b'{"messages":[{"type":"X","header":{},"body":{},"correlation_id":null}]}'),
        (
            "schema",
            b'{"messages":[%s]}' % b",".join([b'{"type":"X","header":{},"body":{}}'] * 1001),
        ),
        ("json", b'{"messages":%s}' % (b"[" * 300 + b"]" * 300)),
    ],
)
def test_what_is_no_batch_is_refused_whole(reason: str, body: object) -> None:
    with pytest.raises(MessageRefused) as refused:
        batch.parts(body)
    assert refused.value.reason == reason
