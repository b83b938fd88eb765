"""kombu's Redis transport, cured: nonsense in a list, order of what goes back, few clients."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from redis.exceptions import ConnectionError

from bus.wire import Broker, Dispatcher, parse_url
from bus.wire.broker import Delivery
from bus.wire.transports import redis
from protocol.envelope import NOTIFY, Envelope
from protocol.errors import BrokerUnavailable
from protocol.parcel import Parcel, Received, Refused
from protocol.topology import Names
from tests.bus.wire.servers import DEADLINE, PrivateRedis, question

UNACKED = "taskline.unacked"


@pytest.fixture
def names(exchange: str) -> Names:
    """The native names under an exchange of this test's own."""
    return Names("native", exchange)


@pytest.fixture
def reader(redis_url: str, names: Names) -> Iterator[Broker]:
    """A connection that consumes an inbox and a fan-out."""
    broker = Broker(parse_url(redis_url))
    broker.open()
    broker.consume([names.inbox("a"), names.call_queue("a")])
    yield broker
    broker.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    """redis-py's client, as somebody would use it who has nothing to do with kombu."""
    with kombu.Connection(redis_url) as connection:
        yield connection.default_channel.client


def next_deliveries(reader: Broker, count: int, *, settle: bool = True) -> list[Delivery]:
    """The next ``count``, acknowledged unless told otherwise."""
    found: list[Delivery] = []
    until = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < until:
        deliveries = reader.drain(0.5)
        if settle:
            reader.settle(deliveries)
        found += deliveries
    return found


def entry(**changes: Any) -> bytes:
    """An entry of kombu's, with something odd about it."""
    delivery = {"exchange": "", "routing_key": "x"}
    properties = {"delivery_tag": "t", "delivery_info": delivery, "priority": 0}
    whole = {
        "body": "e30=",
        "headers": {},
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {**properties, "body_encoding": "base64", "type": "NOTIFY"},
    }
    inner = changes.pop("properties", {})
    if isinstance(inner, dict):
        inner = {**whole["properties"], **inner}  # type: ignore[dict-item]
    return json.dumps({**whole, **changes, "properties": inner}).encode()


GARBAGE = {
    "text": b"garbage",
    "nothing": b"",
    "bytes": b"\xff\xfe\x00",
    "cut": entry()[:-20],
    "number": b"5",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "string": b'"text"',
    "deep": b"[" * 100_000,
    "revived": b'{"__type__": "uuid", "__value__": "x"}',
    "no tag": b'{"properties": {}}',
    "tag of null": entry(properties={"delivery_tag": None}),
    "tag of a list": entry(properties={"delivery_tag": []}),
    "properties of text": entry(properties="text"),
    "delivery info of text": entry(properties={"delivery_info": "text"}),
    "no delivery info": entry(properties={"delivery_info": {}}),
    "unknown body encoding": entry(properties={"body_encoding": "klingon"}),
    "body encoding of a number": entry(properties={"body_encoding": 5}),
    "no base64": entry(body="x"),
    "body of a list": entry(body=[1]),
    "headers of text": entry(headers="text"),
    "compressed": entry(headers={"compression": "application/x-gzip"}),
}


def test_the_transport_is_ours(reader: Broker) -> None:
    connection = reader._connection
    assert connection is not None
    assert isinstance(connection.transport, redis.Transport)


def test_whatever_is_pushed_into_a_list_costs_no_message_and_no_connection(
    reader: Broker, server: Any, names: Names, redis_url: str
) -> None:
    """Each kind of garbage between two good messages: all come, in order, on one connection."""
    queue = names.inbox("a").name
    writer = Broker(parse_url(redis_url))
    writer.open()
    for kind, garbage in GARBAGE.items():
        writer.publish([question(names.to_inbox("a"), f"before {kind}")])
        server.lpush(queue, garbage)
    writer.publish([question(names.to_inbox("a"), "last")])
    writer.close()
    dispatcher = Dispatcher(at_worker=True)
    deliveries = next_deliveries(reader, 2 * len(GARBAGE) + 1)
    found = dispatcher.sort(deliveries)
    good = [each.envelope.reply_to for each in found if isinstance(each, Received)]
    assert good == [*(f"before {kind}" for kind in GARBAGE), "last"]
    assert [type(each) for each in found[1::2]] == [Refused] * len(GARBAGE)
    assert sum(dispatcher.refusals.values()) == len(GARBAGE)
    held = [delivery.message.delivery_tag for delivery in deliveries]
    assert [server.hexists(UNACKED, tag) for tag in held] == [False] * len(held)
    assert server.llen(queue) == 0


def test_whatever_is_published_to_a_fan_out_costs_no_connection(
    reader: Broker, server: Any, names: Names, redis_url: str
) -> None:
    reader.drain(0.3)  # subscribes
    channel = f"/0.{names.call.name}"
    for garbage in (b"[]", b"{}", b"5", b"[" * 100_000, entry(headers="text")):
        server.publish(channel, garbage)
    writer = Broker(parse_url(redis_url))
    writer.open()
    writer.publish([question(names.to_everybody(names.call), "good")])
    writer.close()
    found = Dispatcher(at_worker=True).sort(next_deliveries(reader, 6))
    assert [type(each) for each in found] == [Refused] * 5 + [Received]


def test_garbage_that_was_not_acknowledged_does_not_come_again_as_itself(
    reader: Broker, server: Any, names: Names
) -> None:
    """A connection that ends with it gives back what stood in for it, which is as harmless."""
    server.lpush(names.inbox("a").name, b"garbage")
    assert len(next_deliveries(reader, 1, settle=False)) == 1
    reader.close()
    reader.open()
    reader.consume([names.inbox("a")])
    (found,) = Dispatcher(at_worker=True).sort(next_deliveries(reader, 1))
    assert isinstance(found, Refused)


def test_what_a_closing_consumer_gives_back_keeps_its_order(
    reader: Broker, names: Names, redis_url: str
) -> None:
    writer = Broker(parse_url(redis_url))
    writer.open()
    sent = [f"asker-{n}" for n in range(10)]
    writer.publish([question(names.to_inbox("a"), asker) for asker in sent])
    next_deliveries(reader, 10, settle=False)
    reader.close()
    writer.publish([question(names.to_inbox("a"), "later")])
    writer.close()
    reader.open()
    reader.consume([names.inbox("a")])
    found = [delivery.properties["reply_to"] for delivery in next_deliveries(reader, 11)]
    assert found == [*sent, "later"]


def test_a_channel_keeps_the_client_it_has(
    reader: Broker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kombu makes six for each task, at 80 µs each."""
    made = 0
    create = redis.Channel._create_client

    def count(self: redis.Channel, asynchronous: bool = False) -> Any:
        nonlocal made
        made += 1
        return create(self, asynchronous)

    monkeypatch.setattr(redis.Channel, "_create_client", count)
    parcels = [Parcel(names.to_inbox("a"), Envelope(NOTIFY), b"{}")] * 20
    reader.publish(parcels)
    assert len(next_deliveries(reader, 20)) == 20
    assert made <= 3


def test_a_dead_server_is_not_taken_for_nonsense(tmp_path: Any, names: Names) -> None:
    private = PrivateRedis(tmp_path)
    private.start()
    broker = Broker(parse_url(private.url))
    try:
        broker.open()
        broker.consume([names.inbox("a")])
        assert broker.drain(0.1) == []
        private.kill()
        until = time.monotonic() + DEADLINE
        with pytest.raises((OSError, ConnectionError)):
            while time.monotonic() < until:
                assert broker.drain(0.1) == []
        broker.close()
        with pytest.raises(BrokerUnavailable):
            broker.open()
    finally:
        broker.close()
        private.kill()
