"""Brokers that come and go: who takes and who sends notices, tries, comes back and says so.

With deadlines of a second, so that the tests are quick; how long it takes with the real ones is
measured in ``test_recovery``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest

from bus.wire import (
    Broker,
    BrokerUrl,
    Dispatcher,
    Listener,
    Publisher,
    deadlines,
    outbox,
    parse_url,
)
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis, TcpProxy
from protocol.envelope import NOTIFY, Envelope, Header
from protocol.errors import BrokerError
from protocol.parcel import Parcel
from protocol.topology import Names, Queue
from tests.bus.wire.conftest import Through
from tests.bus.wire.servers import DEADLINE, Collected, question, until

Listen = Callable[..., Listener]
Impatient = Callable[[str], BrokerUrl]
PublisherTo = Callable[[BrokerUrl], Publisher]


@pytest.fixture
def listen(names: Names) -> Iterator[Listen]:
    """Make listeners that listen, to an inbox and a fan-out; stopped after the test."""
    made: list[Listener] = []

    def listen(url: BrokerUrl, deliver: Collected, *queues: Queue, **more: Any) -> Listener:
        listener = Listener(
            url,
            queues or [names.inbox("a"), names.call_queue("a")],
            Dispatcher(at_worker=True),
            deliver,
            on_consuming=deliver.on_consuming,
            name="test-listener",
            **more,
        )
        made.append(listener)
        listener.start()
        return listener

    yield listen
    for listener in made:
        listener.stop()


@pytest.fixture
def publisher() -> Iterator[PublisherTo]:
    """Make publishers that run; stopped after the test."""
    made: list[Publisher] = []

    def start(url: BrokerUrl) -> Publisher:
        made.append(Publisher(url, name="test-publisher"))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop(0.2)


def send(url: str, *parcels: Parcel) -> None:
    """Publish on a connection of its own."""
    connection = Broker(parse_url(url))
    connection.open()
    try:
        connection.publish(parcels)
    finally:
        connection.close()


def lines(caplog: pytest.LogCaptureFixture, room: str) -> list[tuple[int, str]]:
    """What one room has told a human: (level, text)."""
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if record.name == f"taskline.bus.wire.{room}" and record.levelno >= logging.INFO
    ]


WAYS = ("comes", "goes")
#: What a network does that tells nobody.
SILENT: dict[str, Callable[[TcpProxy], None]] = {
    "black hole": TcpProxy.blackhole,
    "nothing comes": lambda proxy: proxy.one_way("up"),
    "nothing goes": lambda proxy: proxy.one_way("down"),
}
each_silent_fault = pytest.mark.parametrize(
    "fault",
    ["black hole", *(pytest.param(f"nothing {how}", marks=pytest.mark.slow) for how in WAYS)],
)


@each_silent_fault
def test_a_line_that_died_without_a_word_is_noticed_and_made_anew(
    fault: str,
    server_url: str,
    impatient: Impatient,
    through: Through,
    names: Names,
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskline")
    proxy = through(server_url)
    deliver = Collected()
    listener = listen(impatient(proxy.url(server_url)), deliver)
    assert listener.is_consuming
    assert lines(caplog, "listener") == []
    SILENT[fault](proxy)
    assert until(lambda: not listener.is_consuming)  # nobody has reset anything
    tried = proxy.connections
    assert until(lambda: proxy.connections > tried)  # it tries again
    proxy.heal()
    deliver.wait_until_consuming(2)
    assert until(lambda: listener.is_consuming)
    send(server_url, question(names.to_inbox("a"), "after"))
    assert deliver.askers(1) == ["after"]
    (lost, said), (found, comfort) = lines(caplog, "listener")
    assert (lost, found) == (logging.WARNING, logging.INFO)
    assert said.startswith("no connection to ")
    assert comfort.startswith("consuming from ")
    assert " again, after " in comfort


@pytest.mark.redis
def test_a_fan_outs_line_that_died_alone_is_noticed(
    redis_url: str, impatient: Impatient, through: Through, names: Names, listen: Listen
) -> None:
    """Nothing else is consumed: no list from which an answer would be missed."""
    proxy = through(redis_url)
    deliver = Collected()
    listener = listen(impatient(proxy.url(redis_url)), deliver, names.call_queue("a"))
    proxy.blackhole()
    assert until(lambda: not listener.is_consuming)
    proxy.heal()
    deliver.wait_until_consuming(2)


@pytest.mark.redis
def test_the_rest_of_a_message_to_a_fan_out_is_not_waited_for_without_end(
    redis_url: str, impatient: Impatient, through: Through, names: Names, listen: Listen
) -> None:
    proxy = through(redis_url)
    deliver = Collected()
    listener = listen(impatient(proxy.url(redis_url)), deliver, names.call_queue("a"))
    assert until(lambda: proxy.passed("down") > 0)
    proxy.throttle(50_000)
    before = proxy.passed("down")
    send(redis_url, Parcel(names.to_everybody(names.call), Envelope(NOTIFY), b"x" * 1_000_000))
    assert until(lambda: proxy.passed("down") > before + 10_000)
    proxy.blackhole()  # in the midst of it
    assert until(lambda: not listener.is_consuming)


def test_while_it_is_slow_it_is_not_away(
    server_url: str, impatient: Impatient, through: Through, names: Names, listen: Listen
) -> None:
    """Latencies below the deadlines cost time and nothing else."""
    proxy = through(server_url)
    deliver = Collected()
    listen(impatient(proxy.url(server_url)), deliver)
    proxy.latency(0.1)
    send(server_url, *(question(names.to_inbox("a"), f"asker-{n}") for n in range(3)))
    assert deliver.askers(3) == ["asker-0", "asker-1", "asker-2"]
    assert deliver.times_consuming == 1


def test_what_is_sent_into_a_black_hole_arrives_after_it(
    server_url: str,
    impatient: Impatient,
    through: Through,
    names: Names,
    listen: Listen,
    publisher: PublisherTo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskline.bus.wire.publisher")
    proxy = through(server_url)
    sender = publisher(impatient(proxy.url(server_url)))
    deliver = Collected()
    listen(parse_url(server_url), deliver)
    sender.send([question(names.to_inbox("a"), "before")])
    assert sender.flush(DEADLINE)
    assert not sender.is_away
    proxy.blackhole()
    sent = [f"asker-{n}" for n in range(20)]
    sender.send(question(names.to_inbox("a"), asker) for asker in sent)
    assert until(lambda: sender.is_away)
    tried = proxy.connections
    assert until(lambda: proxy.connections > tried)
    proxy.heal()
    assert sender.flush(DEADLINE)
    assert until(lambda: not sender.is_away)
    assert deliver.askers_until(sent[-1]) == ["before", *sent]
    (lost, _), (found, comfort) = lines(caplog, "publisher")
    assert (lost, found) == (logging.WARNING, logging.INFO)
    assert comfort.startswith("sending to ")


def test_more_than_the_socket_holds_does_not_block_for_ever(
    server_url: str,
    impatient: Impatient,
    through: Through,
    names: Names,
    publisher: PublisherTo,
) -> None:
    """A publish that blocks half-way, towards a broker that reads no more."""
    proxy = through(server_url)
    sender = publisher(impatient(proxy.url(server_url)))
    to = names.to_inbox("a")
    sender.send([question(to, "before")])
    assert sender.flush(DEADLINE)
    proxy.throttle(1)
    sender.send([Parcel(to, Envelope(NOTIFY), b"x" * 3_000_000)] * 4)
    assert until(lambda: sender.is_away)
    proxy.heal()
    proxy.reset()
    assert sender.flush(DEADLINE)


def test_an_idle_line_that_died_is_noticed_before_it_is_needed(
    server_url: str, impatient: Impatient, through: Through, names: Names, publisher: PublisherTo
) -> None:
    proxy = through(server_url)
    sender = publisher(impatient(proxy.url(server_url)))
    sender.send([question(names.to_inbox("a"), "before")])
    assert sender.flush(DEADLINE)
    proxy.blackhole()
    assert until(lambda: sender.is_away)
    proxy.heal()
    assert until(lambda: not sender.is_away)  # nothing is sent


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of minutes: who waits for one of them, instead of being called off, is late."""
    for name in ("SILENCE", "HEARTBEAT", "CONNECT_TIMEOUT", "CONFIRM_TIMEOUT"):
        monkeypatch.setattr(deadlines, name, 3 * DEADLINE)


@each_silent_fault
def test_nobody_waits_for_a_broker_that_does_not_answer_when_he_stops(
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    server_url: str,
    through: Through,
    names: Names,
    listen: Listen,
    publisher: PublisherTo,
) -> None:
    """With queues to delete, and messages unsent."""
    patient(monkeypatch)
    proxy = through(server_url)
    url = parse_url(proxy.url(server_url))
    inbox, call = names.inbox("a"), names.call_queue("a")
    listener = listen(url, Collected(), inbox, call, delete_at_end=[inbox, call])
    sender = publisher(url)
    sender.send([question(names.to_inbox("b"), "before")])
    assert sender.flush(DEADLINE)
    SILENT[fault](proxy)
    sender.send([question(names.to_inbox("b"), "unsent")])
    began = time.monotonic()
    listener.stop()
    assert time.monotonic() - began < DEADLINE
    assert not listener._session.thread.is_alive()
    began = time.monotonic()
    sender.stop(1.0)
    assert time.monotonic() - began < DEADLINE
    assert not sender._thread.is_alive()


def test_nobody_waits_for_a_connection_that_is_being_made_when_he_stops(
    server_url: str,
    through: Through,
    listen: Listen,
    publisher: PublisherTo,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patient(monkeypatch)
    proxy = through(server_url)
    url = parse_url(proxy.url(server_url))
    listener = listen(url, Collected())
    proxy.blackhole()
    proxy.reset()
    sender = publisher(url)
    sender.send([question(names.to_inbox("b"), "unsent")])
    assert until(lambda: proxy.open_connections >= 2)  # both say hello to nobody
    began = time.monotonic()
    listener.stop()
    sender.stop(0.1)
    assert time.monotonic() - began < DEADLINE
    assert not listener._session.thread.is_alive()
    assert not sender._thread.is_alive()


# deletion ----------------------------------------------------------------------------------------


@pytest.mark.rabbitmq
def test_a_fan_out_that_somebody_deleted_is_heard_again(
    amqp_url: str,
    impatient: Impatient,
    names: Names,
    listen: Listen,
    publisher: PublisherTo,
) -> None:
    """RabbitMQ tells nobody: the queue stays, its consumer too, only nothing comes any more."""
    deliver = Collected()
    listen(impatient(amqp_url), deliver)
    sender = publisher(impatient(amqp_url))
    sender.send([question(names.to_everybody(names.call), "before")])
    assert deliver.askers(1) == ["before"]
    with kombu.Connection(amqp_url) as connection:
        connection.default_channel.exchange_delete(names.call.name)

    def heard() -> bool:
        sender.send([question(names.to_everybody(names.call), "after")])
        return "after" in deliver.asked()

    assert until(heard)
    assert deliver.times_consuming == 1
    assert sender.dropped == 0


def _delete_exchange(url: str, names: Names) -> None:
    with kombu.Connection(url) as connection:
        connection.default_channel.exchange_delete(names.exchange)


def _delete_queue(url: str, names: Names) -> None:
    with kombu.Connection(url) as connection:
        connection.default_channel.queue_delete(names.topic("t").name)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("delete", [_delete_exchange, _delete_queue])
def test_what_taskflows_dialect_needs_is_declared_again(
    delete: Callable[[str, Names], None],
    amqp_url: str,
    impatient: Impatient,
    exchange: str,
    listen: Listen,
    publisher: PublisherTo,
) -> None:
    """There a request is sent once: nothing of it may be lost, whoever declares first."""
    flows = Names("taskflow", exchange)
    deliver = Collected()
    listen(impatient(amqp_url), deliver, flows.topic("t"))
    sender = publisher(impatient(amqp_url))
    sender.send([question(flows.to_topic("t"), "before")])
    assert deliver.askers(1) == ["before"]
    for n in range(3):
        delete(amqp_url, flows)
        sender.send([question(flows.to_topic("t"), f"after {n}")])
        assert deliver.askers_until(f"after {n}")
    assert sender.dropped == 0


def test_what_was_flushed_from_redis_is_there_again(
    private_redis: PrivateRedis,
    impatient: Impatient,
    exchange: str,
    names: Names,
    listen: Listen,
    publisher: PublisherTo,
) -> None:
    """Bindings are a set over there, and both sides believe that they have declared it."""
    flows = Names("taskflow", exchange)
    url = impatient(private_redis.url)
    deliver = Collected()
    listen(url, deliver, names.inbox("a"), names.call_queue("a"), flows.topic("t"))
    sender = publisher(url)
    everywhere = [names.to_inbox("a"), names.to_everybody(names.call), flows.to_topic("t")]
    for n in range(3):
        sent = [f"{n} {kind}" for kind in ("inbox", "call", "topic")]
        sender.send(map(question, everywhere, sent))
        assert until(lambda sent=sent: set(sent) <= set(deliver.asked())), deliver.asked()
        assert private_redis.command("FLUSHALL") == b"+OK"
    assert deliver.times_consuming == 1
    # And for a stranger, who declares nothing: the reader has bound itself again.
    assert until(lambda: _reaches(private_redis.url, flows, deliver))


def _reaches(url: str, flows: Names, deliver: Collected) -> bool:
    with kombu.Connection(url) as connection:
        exchange = kombu.Exchange(flows.exchange, "direct", durable=False, auto_delete=True)
        kombu.Producer(connection.default_channel, exchange).publish(
            b"{}",
            routing_key="t",
            type="NOTIFY",
            reply_to="stranger",
            content_type="application/json",
            content_encoding="utf-8",
        )
    return "stranger" in deliver.asked()


# short of memory ---------------------------------------------------------------------------------


def test_of_a_redis_without_memory_nothing_is_taken_and_lost(
    private_redis: PrivateRedis, names: Names, listen: Listen, publisher: PublisherTo
) -> None:
    url = parse_url(private_redis.url)
    sender = publisher(url)
    sent = [f"asker-{n}" for n in range(50)]
    sender.send(question(names.to_inbox("a"), asker) for asker in sent)
    assert sender.flush(DEADLINE)
    private_redis.command("CONFIG", "SET", "maxmemory", "1")
    deliver = Collected()
    listen(url, deliver)
    assert deliver.askers(50) == sent
    sender.send([question(names.to_inbox("a"), "later")])
    assert until(lambda: sender.is_away)
    private_redis.command("CONFIG", "SET", "maxmemory", "0")
    assert sender.flush(DEADLINE)
    assert deliver.askers(51) == [*sent, "later"]
    assert deliver.times_consuming == 1


def test_of_a_full_disk_the_local_brokers_publisher_says_so_and_waits_for_room(
    small_disk: str, names: Names, listen: Listen, publisher: PublisherTo
) -> None:
    url = parse_url(f"local://{small_disk}/broker")
    big = Parcel(names.to_inbox("a"), Envelope(NOTIFY), b'"' + b"x" * 1_000_000 + b'"')
    filler = Broker(url)
    filler.open()
    filler.declare(names.inbox("a"))
    with pytest.raises(BrokerError, match=r"DiskFull.* free space on that disk"):
        for _ in range(100):
            filler.publish([big])
    filler.close()
    sender = publisher(url)
    sender.send([big, question(names.to_inbox("a"), "last")])
    assert until(lambda: sender.is_away)
    deliver = Collected()
    listen(url, deliver, names.inbox("a"))
    assert sender.flush(DEADLINE)
    assert not sender.is_away
    assert deliver.askers_until("last")


@pytest.mark.slow
def test_a_rabbitmq_without_memory_is_waited_for_and_gets_nothing_twice(
    private_rabbitmq: PrivateRabbitMQ,
    monkeypatch: pytest.MonkeyPatch,
    names: Names,
    listen: Listen,
    publisher: PublisherTo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It takes what it is sent, confirms nothing, and would keep each new try beside the last."""
    # Of the deadlines no other: a line that is given up for a busy machine's silence is a new try.
    monkeypatch.setattr(deadlines, "CONFIRM_TIMEOUT", 1.0)
    url = parse_url(private_rabbitmq.url)
    deliver = Collected()
    listen(url, deliver)
    sender, other = publisher(url), publisher(url)
    sender.send([question(names.to_inbox("a"), "before")])
    assert sender.flush(DEADLINE)
    private_rabbitmq.control("set_vm_memory_high_watermark", "0")
    try:
        sender.send([question(names.to_inbox("a"), "meanwhile")])
        other.send([question(names.to_inbox("a"), "unsent")])
        assert until(lambda: sender.is_away and other.is_away)
        assert "says that it takes no messages" in caplog.text
        assert not sender.flush(3.0)  # longer than a confirm may take otherwise
        began = time.monotonic()
        other.stop(0.1)
        assert time.monotonic() - began < DEADLINE
        assert not other._thread.is_alive()
    finally:
        private_rabbitmq.control("set_vm_memory_high_watermark", "0.4")
    assert sender.flush(DEADLINE)
    sender.send([question(names.to_inbox("a"), "after")])
    assert deliver.askers_until("after")
    assert deliver.asked().count("meanwhile") == 1


def test_while_it_is_away_a_bounded_number_waits(
    private_redis: PrivateRedis,
    names: Names,
    publisher: PublisherTo,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = publisher(parse_url(private_redis.url))
    sender._outbox = outbox.Outbox(most=100)
    private_redis.kill()
    header = Header(executor="ex", incarnation=1)
    beat = Parcel(names.to_inbox("a"), Envelope(NOTIFY, reply_to="beat", header=header), b"{}")
    for _ in range(1000):
        sender.send([beat])
    assert until(lambda: sender.is_away)
    assert sender.dropped_full > 800
    said = [text for _, text in lines(caplog, "publisher") if "gave way" in text]
    assert len(said) == 1
    private_redis.start()
    assert sender.flush(DEADLINE)
    with kombu.Connection(private_redis.url) as connection:
        left = connection.default_channel.client.llen(names.inbox("a").name)
    assert left == 1000 - sender.dropped_full
