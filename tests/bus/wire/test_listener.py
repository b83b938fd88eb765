"""The thread that takes: it begins, it comes back, it ends, and it acknowledges last."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest

from bus.wire import Broker, BrokerUrl, Dispatcher, Listener, Mailbox, deadlines, parse_url
from bus.wire.testing import PrivateRedis, free_port
from bus.wire.watch import WATCH
from protocol.errors import BrokerUnavailable
from protocol.parcel import Parcel, Received, Refused
from protocol.topology import Names, Queue
from tests.bus.wire import stuck
from tests.bus.wire.conftest import Through
from tests.bus.wire.servers import DEADLINE, Collected, question, until
from tests.private import demand

Listen = Callable[..., Listener]


@pytest.fixture
def queue(names: Names) -> Queue:
    """The queue that is listened to."""
    return names.inbox("a")


@pytest.fixture
def listen(queue: Queue) -> Iterator[Listen]:
    """Make listeners to that queue; stopped after the test."""
    made: list[Listener] = []

    def listen(url: str | BrokerUrl, deliver: Collected, **more: Any) -> Listener:
        listener = Listener(
            parse_url(url) if isinstance(url, str) else url,
            more.pop("queues", [queue]),
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
    return listener._session.thread


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
    assert time.monotonic() - began < DEADLINE
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
    monkeypatch.setattr(deadlines, "CONNECT_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        listener = listen(f"amqp://127.0.0.1:{mute.getsockname()[1]}//", Collected())
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable) as caught:
            listener.start(0.3)
        assert "not connected after 0.3 s" in str(caught.value)
        assert time.monotonic() - began < DEADLINE
        assert not thread_of(listener).is_alive()


def test_a_broker_that_begins_late_is_waited_for(listen: Listen) -> None:
    redis = demand(PrivateRedis())
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
        redis.stop()


def test_after_redis_was_killed_and_came_back_it_consumes_again(
    private_redis: PrivateRedis, names: Names, listen: Listen
) -> None:
    deliver = Collected()
    listener = listen(private_redis.url, deliver)
    listener.start()
    private_redis.kill()
    private_redis.start()
    deliver.wait_until_consuming(2)
    send(private_redis.url, question(names.to_inbox("a"), "after"))
    assert deliver.askers(1) == ["after"]
    listener.stop()


def test_after_the_connection_to_rabbitmq_broke_it_consumes_again(
    amqp_url: str, through: Through, names: Names, listen: Listen
) -> None:
    deliver = Collected()
    proxy = through(amqp_url)
    listen(proxy.url(amqp_url), deliver).start()
    send(amqp_url, question(names.to_inbox("a"), "before"))
    assert deliver.askers(1) == ["before"]
    proxy.refuse()
    proxy.reset()
    send(amqp_url, question(names.to_inbox("a"), "meanwhile"))
    proxy.heal()
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


def test_stop_is_quick_while_the_broker_is_away(
    private_redis: PrivateRedis, listen: Listen
) -> None:
    listener = listen(private_redis.url, Collected())
    listener.start()
    private_redis.kill()
    began = time.monotonic()
    listener.stop()
    assert time.monotonic() - began < DEADLINE
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


# a thread that hangs ------------------------------------------------------------------------------


def test_that_it_stands_still_is_seen_meanwhile_and_before_what_came_then_is_delivered(
    names: Names, listen: Listen
) -> None:
    """Until then nobody may conclude anything from what he has not heard."""
    holds, goes_on = threading.Event(), threading.Event()
    seen: list[tuple[float, float]] = []

    def stand_still() -> None:
        seen.append(listener.stood_still)
        holds.set()
        assert goes_on.wait(DEADLINE)

    deliver = Collected(stand_still)
    listener = listen("memory://", deliver)
    listener.start()
    send("memory://", question(names.to_inbox("a"), "one"))
    assert holds.wait(DEADLINE)
    assert until(lambda: listener.stood_still != seen[0])
    since, now = listener.stood_still
    assert since < now < since + DEADLINE
    assert listener.stood_still[1] > now, "it does so still"
    send("memory://", question(names.to_inbox("a"), "two"))
    goes_on.set()
    assert deliver.askers(2) == ["one", "two"]
    assert seen[1][0] == since
    assert seen[1] == listener.stood_still
    assert seen[1][1] > now


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody waits at a mailbox, as a keeper does, and looks round often."""
    monkeypatch.setattr(deadlines, "LOOK", 0.1)
    monkeypatch.setattr(WATCH, "_next", 0.0)
    mailbox: Mailbox[None] = Mailbox()
    keeper = threading.Thread(target=mailbox.take, args=(None,))
    keeper.start()
    yield
    mailbox.put(None)
    keeper.join(DEADLINE)


@pytest.mark.usefixtures("watchful")
def test_a_thread_that_hangs_is_replaced_and_what_it_still_brings_is_ignored(
    names: Names, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    voices: list[threading.Thread] = []
    deliver = Collected(lambda: voices.append(threading.current_thread()))
    listener = listen(stuck.URL, deliver)
    listener.start()
    hung = thread_of(listener)
    trap = stuck.Transport.lay_trap()
    send("memory://", question(names.to_inbox("a"), "one"))
    assert stuck.Transport.caught.wait(DEADLINE)
    assert until(lambda: not listener.is_consuming)
    deliver.wait_until_consuming(2)
    assert listener.is_consuming
    assert listener.replaced == 1
    send("memory://", question(names.to_inbox("a"), "two"))
    assert deliver.askers(1) == ["two"]
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.levelno == logging.ERROR
    assert "test-listener has hung in the library below" in line.getMessage()

    trap.set()  # it comes to itself, with a message that is then given back
    hung.join(DEADLINE)
    assert not hung.is_alive()
    assert deliver.askers(2) == ["two", "one"]
    send("memory://", question(names.to_inbox("a"), "last"))
    assert deliver.askers(3) == ["two", "one", "last"]
    assert listener.replaced == 1
    assert set(voices) == {thread_of(listener)}


@pytest.mark.usefixtures("watchful")
def test_where_time_outs_are_switched_off_a_dead_line_is_noticed_all_the_same(
    redis_url: str, through: Through, names: Names, listen: Listen
) -> None:
    """redis-py waits for an answer without an end; the connection is cut from outside."""
    proxy = through(redis_url)
    for_ever = {"socket_timeout": None, "health_check_interval": 0}
    deliver = Collected()
    listener = listen(parse_url(proxy.url(redis_url), for_ever), deliver)
    listener.start()
    proxy.blackhole()
    assert until(lambda: listener.replaced == 1)
    proxy.heal()
    deliver.wait_until_consuming(2)
    send(redis_url, question(names.to_inbox("a"), "after"))
    assert deliver.askers(1) == ["after"]


def test_stop_leaves_behind_what_hangs(
    names: Names,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(deadlines, "CLOSING", 0.05)
    listener = listen(stuck.URL, Collected())
    listener.start()
    trap = stuck.Transport.lay_trap()
    send("memory://", question(names.to_inbox("a"), "one"))
    assert stuck.Transport.caught.wait(DEADLINE)
    began = time.monotonic()
    listener.stop()
    assert time.monotonic() - began < DEADLINE
    assert "is left behind" in caplog.text
    trap.set()
    thread_of(listener).join(DEADLINE)
    assert not thread_of(listener).is_alive()


# back-pressure ------------------------------------------------------------------------------------


class Hoarder(Collected):
    """An owner that is behind: it holds what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[object] = []

    def __call__(self, delivered: list[Received | Refused]) -> None:
        """Be a listener's ``deliver``."""
        self.held.append(delivered)
        super().__call__(delivered)


def test_an_owner_that_is_behind_is_handed_no_more_until_it_lets_go(
    broker_url: str, names: Names, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest stays at the broker. Not what has been delivered already: at most a prefetch."""
    monkeypatch.setattr("bus.wire.listener.HELD_AT_MOST", 20)
    monkeypatch.setattr("bus.wire.broker.MOST_AT_ONCE", 10)
    monkeypatch.setattr("bus.wire.broker.PREFETCH", 10)
    hoarder = Hoarder()
    listener = listen(broker_url, hoarder)
    listener.start()
    sent = [f"asker-{n}" for n in range(100)]
    send(broker_url, *(question(names.to_inbox("a"), asker) for asker in sent))
    assert hoarder.askers(21) == sent[:21] or len(hoarder.asked()) <= 30
    at_first = len(hoarder.asked())
    assert not until(lambda: len(hoarder.asked()) > at_first, 0.5)
    assert listener.is_consuming
    while len(hoarder.asked()) < 100:
        before = len(hoarder.asked())
        hoarder.held.clear()
        assert until(lambda before=before: len(hoarder.asked()) > before)
    assert hoarder.asked() == sent
    assert listener.crowded == 0


def test_an_owner_that_lets_go_of_nothing_is_handed_more_after_a_while(
    names: Names, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.wire.listener.HELD_BYTES_AT_MOST", 10)
    monkeypatch.setattr("bus.wire.listener.PATIENCE", 0.1)
    monkeypatch.setattr("bus.wire.broker.MOST_AT_ONCE", 1)
    hoarder = Hoarder()
    listener = listen("memory://", hoarder)
    listener.start()
    sent = [f"asker-{n}" for n in range(10)]
    send("memory://", *(question(names.to_inbox("a"), asker) for asker in sent))
    assert hoarder.askers(10) == sent
    assert listener.crowded >= 3  # six questions of two bytes are more than ten


def test_while_it_waits_for_its_owner_its_connection_lives(
    amqp_url: str,
    impatient: Callable[[str], BrokerUrl],
    names: Names,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than RabbitMQ waits for a heartbeat; what it delivers meanwhile is not lost."""
    monkeypatch.setattr("bus.wire.listener.HELD_AT_MOST", 0)
    monkeypatch.setattr("bus.wire.broker.MOST_AT_ONCE", 5)
    hoarder = Hoarder()
    listener = listen(impatient(amqp_url), hoarder)
    listener.start()
    sent = [f"asker-{n}" for n in range(50)]
    send(amqp_url, *(question(names.to_inbox("a"), asker) for asker in sent))
    assert until(lambda: hoarder.held)
    assert not until(lambda: hoarder.times_consuming > 1, 3.0)
    monkeypatch.setattr("bus.wire.listener.HELD_AT_MOST", 1000)
    assert hoarder.askers(50) == sent
    assert hoarder.times_consuming == 1
