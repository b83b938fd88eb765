"""One connection: what it says when it is closed, broken or refused. The rest is conformance's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from bus.wire import Broker, deadlines, parse_url
from bus.wire.outgoing import Undeliverable
from bus.wire.testing import free_port
from protocol.errors import BrokerError, BrokerUnavailable
from protocol.topology import Names
from tests.bus.wire.conftest import Through
from tests.bus.wire.servers import DEADLINE, question


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
    times = 3 if opened.url.kind == "memory" else 1  # there once for each list, at no cost
    assert declared == [names.topic("t").name] * times
    opened.open()
    opened.publish([question(names.to_topic("t"), "x")])
    assert declared == [names.topic("t").name] * (times + 1)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_is_unavailable_after_a_single_try(scheme: str) -> None:
    connection = Broker(parse_url(f"{scheme}://127.0.0.1:{free_port()}/0"))
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="is it running"):
        connection.open()
    assert time.monotonic() - began < DEADLINE
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


def test_what_came_by_a_connection_that_is_gone_is_not_acknowledged_on_the_next(
    opened: Broker, names: Names
) -> None:
    """RabbitMQ would close the channel, with all that it holds."""
    opened.publish([question(names.to_topic("t"), f"asker-{n}") for n in range(3)])
    opened.consume([names.topic("t")])
    until_there = time.monotonic() + DEADLINE
    old = []
    while len(old) < 3 and time.monotonic() < until_there:
        old += opened.drain(0.2)
    opened.close()
    opened.settle(old)
    opened.open()
    opened.consume([names.topic("t")])
    opened.settle(old)
    assert opened.stale == 6
    assert askers(opened, 3) == ["asker-0", "asker-1", "asker-2"]
    opened.publish([question(names.to_topic("t"), "next")])
    assert askers(opened, 1) == ["next"]


def test_what_is_delivered_while_something_else_is_asked_is_not_lost(
    opened: Broker, names: Names
) -> None:
    """RabbitMQ delivers in the midst of a declaration; it would be acknowledged with the next."""
    opened.consume([names.topic("t")])
    sent = [f"asker-{n}" for n in range(30)]
    for n in range(3):
        opened.publish(
            [question(names.to_topic("t"), asker) for asker in sent[n * 10 : n * 10 + 10]]
        )
        opened.declare(names.topic(f"other-{n}"))
        opened.keep_alive()
        opened.refresh()
    assert askers(opened, 30) == sent


def test_a_refresh_of_what_is_there_changes_nothing(opened: Broker, names: Names) -> None:
    opened.consume([names.inbox("a"), names.call_queue("a")])
    opened.drain(0.2)
    for n in range(3):
        opened.refresh()
        opened.publish(
            [
                question(names.to_inbox("a"), f"one-{n}"),
                question(names.to_everybody(names.call), f"all-{n}"),
            ]
        )
        assert sorted(askers(opened, 2)) == [f"all-{n}", f"one-{n}"]


@pytest.mark.parametrize("work", ["drain", "publish", "delete"])
def test_another_thread_can_end_whatever_it_waits_for(
    work: str,
    server_url: str,
    names: Names,
    through: Through,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits for one of the deadlines instead is late."""
    for name in ("SILENCE", "HEARTBEAT", "CONFIRM_TIMEOUT"):
        monkeypatch.setattr(deadlines, name, 3 * DEADLINE)
    proxy = through(server_url)
    broker = Broker(parse_url(proxy.url(server_url)))
    broker.open()
    broker.consume([names.inbox("a"), names.call_queue("a")])
    broker.publish([question(names.to_topic("t"), "x")])
    broker.drain(0.2)
    proxy.blackhole()

    def wait() -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library says
            while work == "drain":
                broker.drain(60.0)
            if work == "publish":
                broker.publish([question(names.to_topic("t"), "x")])
            broker.delete(names.inbox("a"))
        broker.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    broker.abort()
    waiting.join(DEADLINE)
    assert not waiting.is_alive()


def test_closing_does_not_wait_for_messages(opened: Broker, names: Names) -> None:
    """kombu's Redis transport waited for the end of the wait that was under way: up to 1 s."""
    took = []
    for _ in range(5):
        opened.consume([names.inbox("a"), names.call_queue("a")])
        assert opened.drain(0.1) == []
        began = time.monotonic()
        opened.close()
        took.append(time.monotonic() - began)
        opened.open()
    assert min(took) < 0.5
