"""What we put into a list ourselves is what stock kombu reads there, and nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import kombu
import pytest

from bus.wire import Broker, parse_url
from bus.wire.outgoing import Undeliverable, properties_of
from bus.wire.transports.redis.plain import entry
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
