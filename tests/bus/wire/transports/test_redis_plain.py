"""What we put into a list ourselves is what stock kombu reads there, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import kombu
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import loads

from bus.wire import Broker, parse_url
from bus.wire.outgoing import Undeliverable, properties_of
from bus.wire.transports.redis.plain import entry, read
from protocol.envelope import NOTIFY, Envelope, Header
from protocol.parcel import Parcel
from protocol.topology import Names
from tests.bus.wire.servers import question

BODIES = {
    "empty": b"",
    "an object": b"{}",
    "quotes and backslashes": rb'{"a\\": "\"\\u0000\n\\"}',
    "lines and a null": b'{"a":\r\n\t"\x00\x1f\x7f"}',
    "not ASCII": '{"ä": "€ 𝄞"}'.encode(),
    "no text": b"\xff\x00\xfe",
    "long": b'"' * 100_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_comes_out_as_it_went_in(body: bytes, redis_url: str, names: Names) -> None:
    """Read by stock kombu, which is what a peer of an earlier version reads with."""
    header = Header(executor="ex", incarnation=3)
    queue = names.inbox("a")
    writer = Broker(parse_url(redis_url))
    writer.open()
    around = Envelope(NOTIFY, "asker", "uuid", header)
    with kombu.Connection(redis_url) as connection:
        try:
            writer.publish([Parcel(names.to_inbox("a"), around, body)])
            message = connection.default_channel.basic_get(queue.name, no_ack=True)
        finally:
            writer.delete(queue)
            writer.close()
    found = message.body.encode() if isinstance(message.body, str) else message.body
    assert found == body
    assert message.properties["type"] == NOTIFY
    assert message.properties["reply_to"] == "asker"
    assert message.properties["correlation_id"] == "uuid"
    assert message.headers == {"x-taskline": header.to_text()}
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert message.delivery_info == {"exchange": "", "routing_key": queue.name}


def test_a_text_is_in_the_entry_as_it_is_and_what_is_none_as_base64(names: Names) -> None:
    def written(body: bytes) -> Any:
        parcel = Parcel(names.to_inbox("a"), Envelope(NOTIFY), body)
        return json.loads(entry(body, properties_of(parcel)))

    assert written(b'{"a":1}')["body"] == '{"a":1}'
    assert "body_encoding" not in written(b'{"a":1}')["properties"]
    odd = written(b"\xff")
    assert base64.b64decode(odd["body"]) == b"\xff"
    assert odd["properties"]["body_encoding"] == "base64"


_PIECES = st.sampled_from(
    [*'"\\,{}äx€\n', '\\"', '","content-encoding":', "content-encoding", '","content-type":"']
)


@given(st.lists(_PIECES).map("".join), st.sampled_from(["", "x" * 5000, '{"a":"b"}' * 600]))
def test_an_entry_is_read_as_kombu_reads_it(text: str, more: str) -> None:
    """A large one of ours by a shorter way."""
    body = (text + more).encode()
    parcel = Parcel(Names("native", "e").to_inbox("a"), Envelope(NOTIFY), body)
    raw = entry(body, properties_of(parcel))
    found, expected = read(raw), loads(raw)
    assert as_bytes(found.pop("body")) == as_bytes(expected.pop("body")) == body
    assert found == expected


@given(st.lists(_PIECES).map("".join), st.lists(_PIECES).map("".join))
def test_what_somebody_else_wrote_is_read_as_kombu_reads_it(text: str, more: str) -> None:
    """What is no JSON is refused here, or has a body that its reader can refuse."""
    raw = b'{"body":"%s%s","content-encoding":"utf-8"%s}' % (
        text.encode(),
        b"x" * 5000,
        more.encode(),
    )
    try:
        expected = loads(raw)
    except ValueError:
        with contextlib.suppress(ValueError):
            as_bytes(read(raw)["body"])
        return
    found = read(raw)
    assert as_bytes(found.pop("body")) == as_bytes(expected.pop("body"))
    assert found == expected


def as_bytes(body: Any) -> bytes:
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body


def test_two_entries_have_two_tags(names: Names) -> None:
    parcel = Parcel(names.to_inbox("a"), Envelope(NOTIFY), b"{}")
    tags = {json.loads(entry(b"{}", properties_of(parcel)))["properties"]["delivery_tag"]}
    tags |= {json.loads(entry(b"{}", properties_of(parcel)))["properties"]["delivery_tag"]}
    assert len(tags) == 2


def test_a_list_that_is_none_costs_the_others_nothing_and_the_line_is_of_use(
    redis_url: str, names: Names
) -> None:
    """The name of one queue is taken by something else; what is for another arrives."""
    writer, reader = Broker(parse_url(redis_url)), Broker(parse_url(redis_url))
    writer.open()
    reader.open()
    with kombu.Connection(redis_url) as connection:
        server = connection.default_channel.client
        server.set(names.inbox("bad").name, "x")
        try:
            reader.consume([names.inbox("good")])
            with pytest.raises(Undeliverable, match="WRONGTYPE"):
                writer.publish(
                    [
                        question(names.to_inbox("bad"), "one"),
                        question(names.to_inbox("good"), "two"),
                    ]
                )
            writer.publish([question(names.to_inbox("good"), "three")])
            found: list[str] = []
            while len(found) < 2:
                deliveries = reader.drain(5.0)
                assert deliveries
                found += [delivery.properties["reply_to"] for delivery in deliveries]
                reader.settle(deliveries)
            assert found == ["two", "three"]
        finally:
            server.delete(names.inbox("bad").name)
            reader.delete(names.inbox("good"))
            writer.close()
            reader.close()
