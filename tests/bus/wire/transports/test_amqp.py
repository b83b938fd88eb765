"""What py-amqp cannot read comes in all the same, and the connection stays."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from amqp.exceptions import PreconditionFailed

from bus.wire import Broker, BrokerUrl, Dispatcher, parse_url
from bus.wire.broker import Delivery
from bus.wire.transports import amqp
from protocol.parcel import Received, Refused
from protocol.size import MAX_BODY
from protocol.topology import Names
from tests.bus.wire.conftest import Through
from tests.bus.wire.servers import DEADLINE


@pytest.fixture
def reader(amqp_url: str, names: Names) -> Iterator[Broker]:
    """A connection that consumes an inbox and a fan-out."""
    broker = Broker(parse_url(amqp_url))
    broker.open()
    broker.consume([names.inbox("a"), names.call_queue("a")])
    yield broker
    broker.close()


@pytest.fixture
def stranger(amqp_url: str) -> Iterator[kombu.Producer]:
    """A producer of stock kombu."""
    with kombu.Connection(amqp_url) as connection:
        yield kombu.Producer(connection.default_channel, auto_declare=False)


def next_deliveries(reader: Broker, count: int) -> list[Delivery]:
    """The next ``count``, acknowledged."""
    found: list[Delivery] = []
    until = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < until:
        deliveries = reader.drain(0.5)
        reader.settle(deliveries)
        found += deliveries
    return found


def publish(stranger: kombu.Producer, names: Names, **more: Any) -> None:
    """A question, with something odd about it."""
    about = {"routing_key": names.inbox("a").name, "type": "NOTIFY", "reply_to": "good"}
    stranger.publish(
        b"{}", content_type="application/json", content_encoding="utf-8", **{**about, **more}
    )


def test_the_transport_is_ours(reader: Broker) -> None:
    connection = reader._connection
    assert connection is not None
    assert isinstance(connection.transport, amqp.Transport)


@pytest.mark.parametrize(
    "odd",
    [
        {"reply_to": b"\xff\xfe"},
        {"correlation_id": b"\xc3"},
        {"type": b"\xff"},
        {"headers": {"a": {"b": b"\xff"}}, "reply_to": b"\xff"},
    ],
)
def test_a_property_that_is_no_text_costs_that_message_its_properties_only(
    odd: dict[str, Any], reader: Broker, stranger: kombu.Producer, names: Names
) -> None:
    publish(stranger, names)
    publish(stranger, names, **odd)
    publish(stranger, names)
    dispatcher = Dispatcher(at_worker=True)
    found = dispatcher.sort(next_deliveries(reader, 3))
    assert [type(each) for each in found] == [Received, Refused, Received]
    assert dispatcher.refusals == {"content_type": 1}
    reader.close()
    reader.open()
    reader.consume([names.inbox("a")])
    assert reader.drain(0.3) == []  # none of it comes again


def test_of_a_body_longer_than_any_may_be_nothing_is_kept_but_its_length(
    reader: Broker, stranger: kombu.Producer, names: Names
) -> None:
    """A good one comes before it and after it, and one that is as long as it may be."""
    publish(stranger, names)
    for size in (MAX_BODY, MAX_BODY + 1, 40_000_000):
        stranger.publish(
            b" " * size, routing_key=names.inbox("a").name, type="NOTIFY", reply_to="good",
            content_type="application/json", content_encoding="utf-8",
        )  # fmt: skip
    publish(stranger, names)
    found = next_deliveries(reader, 5)
    assert [each.size for each in found] == [2, MAX_BODY, MAX_BODY + 1, 40_000_000, 2]
    assert [sys.getsizeof(each.message.body) > 1000 for each in found] == [
        False, True, False, False, False,
    ]  # fmt: skip
    dispatcher = Dispatcher(at_worker=True)
    sorted_ = dispatcher.sort(found)
    assert [type(each) for each in sorted_] == [Received, Refused, Refused, Refused, Received]
    assert dispatcher.refusals == {"json": 1, "too_long": 2}


def test_a_table_nested_beyond_recursion_costs_that_message_its_properties_only(
    reader: Broker, stranger: kombu.Producer, names: Names
) -> None:
    """Written by hand: py-amqp could not write it either."""
    table = b""
    for _ in range(15_000):
        table = b"\x00F" + len(table).to_bytes(4, "big") + table
        if len(table) > 100_000:
            break
    deep = stranger.channel.prepare_message(b"{}")
    flags = (1 << 13).to_bytes(2, "big")  # application_headers, and nothing else
    deep._serialize_properties = lambda: flags + len(table).to_bytes(4, "big") + table
    stranger.channel.basic_publish(deep, exchange="", routing_key=names.inbox("a").name)
    publish(stranger, names)
    dispatcher = Dispatcher(at_worker=True)
    found = dispatcher.sort(next_deliveries(reader, 2))
    assert [type(each) for each in found] == [Refused, Received]


def test_a_routing_key_that_is_no_text_costs_nothing(
    reader: Broker, stranger: kombu.Producer, names: Names
) -> None:
    """A fan-out takes any, and every worker there is hears it."""
    publish(stranger, names, exchange=names.call.name, routing_key=b"\xff\xfe")
    publish(stranger, names, exchange=names.call.name, routing_key="ü")
    found = Dispatcher(at_worker=True).sort(next_deliveries(reader, 2))
    assert [type(each) for each in found] == [Received, Received]


def test_bodies_of_all_sizes_come_through_whole(
    reader: Broker, stranger: kombu.Producer, names: Names
) -> None:
    """None, one frame, several: the frames are read by another hand now."""
    bodies = [b"", b"x", b"y" * 131_064, b"z" * 1_000_000]
    for body in bodies:
        stranger.publish(body, routing_key=names.inbox("a").name)
    found = [each.message.body for each in next_deliveries(reader, 4)]
    assert [each.encode() if isinstance(each, str) else bytes(each) for each in found] == bodies


def test_an_answer_that_does_not_come_is_not_waited_for_without_end(
    amqp_url: str, names: Names, through: Through, impatient: Callable[[str], BrokerUrl]
) -> None:
    """Nor as long as heartbeats come, which is what a RabbitMQ without memory sends."""
    proxy = through(amqp_url)
    broker = Broker(impatient(proxy.url(amqp_url)))
    broker.open()
    try:
        proxy.one_way("down")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            broker.declare(names.inbox("a"))
        assert 0.5 < time.monotonic() - began < DEADLINE
    finally:
        broker.close()


def test_an_error_of_a_declaration_that_was_not_waited_for_comes_later(
    amqp_url: str, names: Names
) -> None:
    """Somebody deleted the exchange, and made it anew as something else."""
    broker = Broker(parse_url(amqp_url))
    broker.open()
    try:
        broker.consume([names.call_queue("a")])
        with kombu.Connection(amqp_url) as connection:
            channel = connection.default_channel
            channel.exchange_delete(names.call.name)
            channel.exchange_declare(names.call.name, "direct", durable=True, auto_delete=False)
        broker.refresh()
        with pytest.raises(PreconditionFailed):
            for _ in range(100):
                broker.drain(0.2)
    finally:
        broker.close()
