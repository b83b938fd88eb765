"""The thread that takes: it begins, it comes back, it ends, and it acknowledges last."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kombu
import pytest

from bus.wire import Broker, Dispatcher, Listener, broker, parse_url
from protocol.errors import BrokerUnavailable
from protocol.parcel import Parcel
from protocol.topology import Names, Queue
from tests.bus.wire.servers import (
    DEADLINE,
    Collected,
    Gate,
    PrivateRedis,
    free_port,
    question,
)

Listen = Callable[..., Listener]


@pytest.fixture
def names(exchange: str) -> Names:
    """The native names under an exchange of this test's own."""
    return Names("native", exchange)


@pytest.fixture
def queue(names: Names) -> Queue:
    """The queue that is listened to."""
    return names.inbox("a")


@pytest.fixture
def listen(queue: Queue) -> Iterator[Listen]:
    """Make listeners to that queue; stopped after the test."""
    made: list[Listener] = []

    def listen(url: str, deliver: Collected, **more: Any) -> Listener:
        listener = Listener(
            parse_url(url),
            [queue],
            Dispatcher(at_worker=True),
            deliver,
            on_consuming=deliver.on_consuming,
            name="test-listener",
            **more,
        )
        made.append(listener)
        return listener

    yield listen
    for listener in made:
        listener.stop()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateRedis]:
    """A Redis that may be killed; it runs."""
    redis = PrivateRedis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def gate(amqp_url: str) -> Iterator[Gate]:
    """An open door to RabbitMQ."""
    there = urlsplit(amqp_url)
    gate = Gate(there.hostname or "127.0.0.1", there.port or 5672)
    gate.open()
    yield gate
    gate.shut()


def through(gate: Gate, url: str) -> str:
    """The URL that leads through the gate."""
    parts = urlsplit(url)
    return parts._replace(
        netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{gate.port}"
    ).geturl()


def send(url: str, *parcels: Parcel) -> None:
    """Publish on a connection of its own."""
    connection = Broker(parse_url(url))
    connection.open()
    try:
        connection.publish(parcels)
    finally:
        connection.close()


def thread_of(listener: Listener) -> threading.Thread:
    """The one it runs on."""
    return listener._thread


def test_what_arrives_is_delivered_sorted_and_in_order(
    broker_url: str, names: Names, listen: Listen
) -> None:
    deliver = Collected()
    listener = listen(broker_url, deliver)
    listener.start()
    assert deliver.times_consuming == 1
    listener.start()  # twice is fine
    asked = [f"asker-{n}" for n in range(50)]
    send(broker_url, *(question(names.to_inbox("a"), asker) for asker in asked))
    assert deliver.askers(50) == asked
    listener.stop()
    listener.stop()
    assert not thread_of(listener).is_alive()


def test_what_was_delivered_is_acknowledged_and_does_not_come_again(
    broker_url: str, names: Names, listen: Listen
) -> None:
    first, second = Collected(), Collected()
    listener = listen(broker_url, first)
    listener.start()
    send(broker_url, question(names.to_inbox("a"), "one"))
    assert first.askers(1) == ["one"]
    listener.stop()
    send(broker_url, question(names.to_inbox("a"), "two"))
    listen(broker_url, second).start()
    assert second.askers(1) == ["two"]


def test_what_could_not_be_handed_over_is_not_acknowledged_and_comes_again(
    broker_url: str, names: Names, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """``deliver`` raises twice: a bug of the owner's, and no message is lost by it."""
    troubles = [RuntimeError("not now"), RuntimeError("nor now")]

    def react() -> None:
        if troubles:
            raise troubles.pop()

    deliver = Collected(react)
    listener = listen(broker_url, deliver)
    listener.start()
    sent = [f"asker-{n}" for n in range(5)]
    send(broker_url, *(question(names.to_inbox("a"), asker) for asker in sent))
    assert sorted(filter(None, deliver.askers(5))) == sent
    assert deliver.times_consuming == 3
    assert thread_of(listener).is_alive()
    assert any("not now" in record.getMessage() for record in caplog.records)


def test_on_a_clean_end_what_nobody_will_read_is_deleted(
    broker_url: str, names: Names, queue: Queue, listen: Listen
) -> None:
    deliver = Collected()
    listener = listen(broker_url, deliver, delete_at_end=[queue])
    listener.start()
    listener.stop()
    heard = Collected()
    send(broker_url, question(names.to_topic("else"), "x"))  # the broker is there all the same
    listen(broker_url, heard).start()  # declared anew: empty
    send(broker_url, question(names.to_inbox("a"), "new"))
    assert heard.askers(1) == ["new"]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_without_a_broker_start_says_so_in_time_and_the_thread_has_ended(
    scheme: str, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "taskline")
    port = free_port()
    listener = listen(f"{scheme}://user:hunter2@127.0.0.1:{port}/0", Collected())
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable) as caught:
        listener.start(0.5)
    assert time.monotonic() - began < 5.0
    said = str(caught.value)
    assert "not connected after 0.5 s" in said
    assert f"connecting to {scheme}://user:**@127.0.0.1:{port}/0 failed" in said
    assert "refused" in said.lower()
    assert "is it running" in said
    assert isinstance(caught.value.__cause__, BrokerUnavailable)
    assert not thread_of(listener).is_alive()
    assert all(record.levelno == logging.DEBUG for record in caplog.records)  # the error says it
    assert caplog.records
    assert all("hunter2" not in text for text in [said, caplog.text])
    with pytest.raises(BrokerUnavailable):
        listener.start(0.1)  # it has ended: no second life


def test_a_server_that_takes_connections_and_says_nothing_is_not_waited_for(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a broker behind a dead network does; the thread ends when its connecting has."""
    monkeypatch.setattr(broker, "CONNECT_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        listener = listen(f"amqp://127.0.0.1:{mute.getsockname()[1]}//", Collected())
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable) as caught:
            listener.start(0.3)
        assert "not connected after 0.3 s" in str(caught.value)
        assert time.monotonic() - began < 5.0
        assert not thread_of(listener).is_alive()


def test_a_broker_that_begins_late_is_waited_for(tmp_path: Path, listen: Listen) -> None:
    redis = PrivateRedis(tmp_path)
    deliver = Collected()
    listener = listen(redis.url, deliver)
    starter = threading.Thread(target=listener.start)
    try:
        starter.start()
        redis.start()
        starter.join(DEADLINE)
        assert not starter.is_alive()
        assert deliver.times_consuming == 1
    finally:
        listener.stop()
        redis.kill()


def test_after_redis_was_killed_and_came_back_it_consumes_again(
    private: PrivateRedis, names: Names, listen: Listen
) -> None:
    deliver = Collected()
    listener = listen(private.url, deliver)
    listener.start()
    private.kill()
    private.start()
    deliver.wait_until_consuming(2)
    send(private.url, question(names.to_inbox("a"), "after"))
    assert deliver.askers(1) == ["after"]
    listener.stop()


def test_after_the_connection_to_rabbitmq_broke_it_consumes_again(
    amqp_url: str, gate: Gate, names: Names, listen: Listen
) -> None:
    deliver = Collected()
    listen(through(gate, amqp_url), deliver).start()
    send(amqp_url, question(names.to_inbox("a"), "before"))
    assert deliver.askers(1) == ["before"]
    gate.shut()
    send(amqp_url, question(names.to_inbox("a"), "meanwhile"))
    gate.open()
    deliver.wait_until_consuming(2)
    send(amqp_url, question(names.to_inbox("a"), "after"))
    assert deliver.askers_until("after") == ["before", "meanwhile", "after"]


def test_after_its_queue_was_deleted_it_consumes_again(
    amqp_url: str, names: Names, queue: Queue, listen: Listen
) -> None:
    """By somebody else, or by its expiry: RabbitMQ cancels the consumer."""
    deliver = Collected()
    listen(amqp_url, deliver).start()
    with kombu.Connection(amqp_url) as connection:
        connection.default_channel.queue_delete(queue.name)
    deliver.wait_until_consuming(2)
    send(amqp_url, question(names.to_inbox("a"), "after"))
    assert deliver.askers(1) == ["after"]


def test_stop_is_quick_while_the_broker_is_away(private: PrivateRedis, listen: Listen) -> None:
    listener = listen(private.url, Collected())
    listener.start()
    private.kill()
    began = time.monotonic()
    listener.stop()
    assert time.monotonic() - began < 5.0
    assert not thread_of(listener).is_alive()


def test_what_ends_every_connection_at_once_is_tried_less_and_less_often(
    broker_url: str, names: Names, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """``deliver`` never succeeds: the waits grow, for consuming alone is no success."""
    caplog.set_level(logging.WARNING)

    def react() -> None:
        raise RuntimeError("never")

    deliver = Collected(react)
    listener = listen(broker_url, deliver)
    listener.start()
    send(broker_url, question(names.to_inbox("a"), "poison"))
    deliver.wait_until_consuming(4)
    listener.stop()
    waits = [record.args[-1] for record in caplog.records if "next in" in str(record.msg)]
    assert all(wait > 0 for wait in waits[:3])
    assert waits[2] >= 0.2  # the third of 0.1, 0.2, 0.4, of which half is chance


def test_stop_before_start_does_nothing_and_start_after_it_is_refused(listen: Listen) -> None:
    listener = listen("memory://", Collected())
    listener.stop()
    with pytest.raises(BrokerUnavailable):
        listener.start(1.0)
