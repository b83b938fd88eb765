"""One connection: what it says when it is closed, broken or refused. The rest is conformance's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from bus.wire import Broker, broker, parse_url
from bus.wire.outgoing import Undeliverable
from protocol.errors import BrokerError, BrokerUnavailable
from protocol.topology import Names
from tests.bus.wire.servers import DEADLINE, free_port, question


@pytest.fixture
def names(exchange: str) -> Names:
    """The native names under an exchange of this test's own."""
    return Names("native", exchange)


@pytest.fixture
def opened(broker_url: str) -> Iterator[Broker]:
    """A connection."""
    connection = Broker(parse_url(broker_url))
    connection.open()
    yield connection
    connection.close()


def askers(connection: Broker, count: int, *, settle: bool = True) -> list[str]:
    """Who asked, in order."""
    found: list[str] = []
    until = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < until:
        deliveries = connection.drain(0.2)
        found += [delivery.properties["reply_to"] for delivery in deliveries]
        if settle:
            connection.settle(deliveries)
    return found


def test_what_is_closed_says_so_and_can_be_opened_again(opened: Broker, names: Names) -> None:
    opened.publish([question(names.to_topic("t"), "one")])
    opened.close()
    opened.close()
    assert not opened.is_open
    assert "closed" in repr(opened)
    for use in (
        lambda: opened.drain(0.1),
        lambda: opened.publish([question(names.to_topic("t"), "x")]),
        lambda: opened.consume([names.topic("t")]),
    ):
        with pytest.raises(BrokerError, match="closed"):
            use()
    opened.keep_alive()
    opened.open()
    assert "open" in repr(opened)
    opened.consume([names.topic("t")])
    assert askers(opened, 1) == ["one"]


def test_opening_again_gives_back_what_was_not_acknowledged(opened: Broker, names: Names) -> None:
    opened.publish([question(names.to_topic("t"), f"asker-{n}") for n in range(3)])
    opened.consume([names.topic("t")])
    assert len(askers(opened, 3, settle=False)) == 3
    opened.open()
    opened.consume([names.topic("t")])
    assert askers(opened, 3) == ["asker-0", "asker-1", "asker-2"]


def test_nothing_to_acknowledge_is_fine(opened: Broker) -> None:
    opened.settle([])


def test_each_thing_is_declared_once_for_a_connection(
    opened: Broker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared: list[str] = []
    declare = kombu.Queue.declare

    def count(self: kombu.Queue, *args: Any, **kwargs: Any) -> Any:
        declared.append(self.name)
        return declare(self, *args, **kwargs)

    monkeypatch.setattr(kombu.Queue, "declare", count)
    for _ in range(3):
        opened.publish([question(names.to_topic("t"), "x")] * 3)
    assert declared == [names.topic("t").name]
    opened.open()
    opened.publish([question(names.to_topic("t"), "x")])
    assert declared == [names.topic("t").name] * 2


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_is_unavailable_after_a_single_try(scheme: str) -> None:
    connection = Broker(parse_url(f"{scheme}://127.0.0.1:{free_port()}/0"))
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="is it running"):
        connection.open()
    assert time.monotonic() - began < 2.0
    assert not connection.is_open


def test_an_undeliverable_message_is_named_before_anything_is_sent(
    opened: Broker, names: Names
) -> None:
    bad = question(names.to_topic("t"), "x" * 256)
    with pytest.raises(Undeliverable) as caught:
        opened.publish([question(names.to_topic("t"), "first"), bad])
    assert caught.value.parcel is bad
    opened.consume([names.topic("t")])
    assert opened.drain(0.2) == []


def test_an_idle_connection_can_be_kept_alive(opened: Broker, names: Names) -> None:
    opened.publish([question(names.to_topic("t"), "x")])
    opened.keep_alive()
    opened.publish([question(names.to_topic("t"), "y")])


def test_a_list_that_rabbitmq_refuses_is_an_error(amqp_url: str, names: Names) -> None:
    """A bounded queue: nacks instead of acks."""
    queue = names.inbox("small")
    with kombu.Connection(amqp_url) as connection:
        kombu.Queue(
            queue.name,
            durable=True,
            queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
        ).bind(connection.default_channel).declare()
        writer = Broker(parse_url(amqp_url))
        writer.open()
        try:
            with pytest.raises(BrokerError, match="refused"):
                writer.publish([question(names.to_inbox("small"), "x")] * 50)
        finally:
            writer.close()


def test_confirms_that_do_not_come_are_not_waited_for_without_end(
    amqp_url: str, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "CONFIRM_TIMEOUT", 0.0)
    writer = Broker(parse_url(amqp_url))
    writer.open()
    try:
        with pytest.raises(BrokerError, match="were not confirmed"):
            writer.publish([question(names.to_topic("t"), "x")] * 50)
    finally:
        writer.close()
