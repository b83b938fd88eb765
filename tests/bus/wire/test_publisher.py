"""The thread that sends: in order, again if need be, and past what can never be sent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kombu
import pytest

from bus.wire import Broker, BrokerUrl, Dispatcher, Publisher, parse_url
from bus.wire.broker import Delivery
from bus.wire.publisher import MOST_REFUSALS
from bus.wire.testing import PrivateRedis, free_port
from protocol.envelope import BATCH, NOTIFY, RESPONSE, Envelope, Header
from protocol.parcel import Parcel
from protocol.topology import Address, Names, Queue
from tests.bus.wire.conftest import Through
from tests.bus.wire.servers import DEADLINE, question

LOGGER = "taskline.bus.wire.publisher"
Publish = Callable[..., Publisher]


@pytest.fixture
def publisher() -> Iterator[Publish]:
    """Make publishers that run; stopped after the test."""
    made: list[Publisher] = []

    def start(
        url: str | BrokerUrl, on_drop: Callable[[Parcel, str], None] | None = None
    ) -> Publisher:
        broker = parse_url(url) if isinstance(url, str) else url
        publisher = Publisher(broker, name="test-publisher", on_drop=on_drop)
        publisher.start()
        made.append(publisher)
        return publisher

    yield start
    for each in made:
        each.stop(0.2)


def taken(url: str, queue: Queue, until: str) -> list[str]:
    """Who asked, in order, up to the last that is waited for."""
    broker = Broker(parse_url(url))
    broker.open()
    found: list[str] = []
    deadline = time.monotonic() + DEADLINE
    try:
        broker.consume([queue])
        while until not in found and time.monotonic() < deadline:
            deliveries = broker.drain(0.2)
            found += [delivery.properties["reply_to"] for delivery in deliveries]
            broker.settle(deliveries)
    finally:
        broker.close()
    assert until in found, f"only these came: {found}"
    return found


def once_each(found: list[str]) -> list[str]:
    """Without what came a second time."""
    return list(dict.fromkeys(found))


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a human has to look at."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == LOGGER and record.levelno == logging.ERROR
    ]


def test_what_is_sent_arrives_in_order_and_flush_waits_for_it(
    broker_url: str, names: Names, publisher: Publish
) -> None:
    sender = publisher(broker_url)
    sender.start()  # twice is fine
    to = names.to_topic("t")
    sent = [f"asker-{n}" for n in range(1200)]
    sender.send(question(to, asker) for asker in sent[:1000])
    for asker in sent[1000:]:
        sender.send([question(to, asker)])
    assert sender.flush(DEADLINE)
    assert taken(broker_url, names.topic("t"), sent[-1]) == sent


def test_what_is_ready_for_one_reader_of_batches_is_one_message(
    broker_url: str, names: Names, publisher: Publish
) -> None:
    reader = Broker(parse_url(broker_url))
    reader.open()
    reader.consume([names.inbox("t.b")])
    to = names.to_inbox("t.b", takes_batches=True)
    sent = [question(to, "asker", header=Header(credit=n)) for n in range(50)]
    publisher(broker_url).send(sent)
    found: list[Delivery] = []
    deadline = time.monotonic() + DEADLINE
    while not found and time.monotonic() < deadline:
        found = reader.drain(0.2)
        reader.settle(found)
    assert [delivery.properties["type"] for delivery in found] == [BATCH]
    assert [part.envelope for part in Dispatcher(at_worker=True).sort(found)] == [
        parcel.envelope for parcel in sent
    ]
    reader.close()


def test_each_thread_that_sends_keeps_its_order(names: Names, publisher: Publish) -> None:
    sender = publisher("memory://")
    to = names.to_topic("t")

    def send(who: int) -> None:
        for n in range(200):
            sender.send([question(to, f"{who}-{n}")])

    threads = [threading.Thread(target=send, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    sender.send([question(to, "last")])
    found = taken("memory://", names.topic("t"), "last")
    for who in range(3):
        assert [each for each in found if each.startswith(f"{who}-")] == [
            f"{who}-{n}" for n in range(200)
        ]


def test_stop_sends_what_is_queued_and_twice_is_fine(broker_url: str, names: Names) -> None:
    sender = Publisher(parse_url(broker_url), name="test-publisher")
    sender.stop()  # before start: nothing
    sender.start()
    sender.send(question(names.to_topic("t"), f"asker-{n}") for n in range(20))
    sender.stop()
    sender.stop()
    assert not sender._thread.is_alive()
    assert len(taken(broker_url, names.topic("t"), "asker-19")) == 20


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_while_the_broker_is_away_flush_says_no_and_stop_is_bounded(
    scheme: str, names: Names, publisher: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    sender = publisher(f"{scheme}://user:hunter2@127.0.0.1:{free_port()}/0")
    assert sender.flush(DEADLINE)  # nothing is queued: nothing to wait for
    sender.send([question(names.to_topic("t"), "asker")])
    assert not sender.flush(0.2)
    waiters: list[bool] = []
    waiter = threading.Thread(target=lambda: waiters.append(sender.flush(1.0)))
    waiter.start()
    began = time.monotonic()
    sender.stop(0.3)
    assert time.monotonic() - began < DEADLINE
    assert not sender._thread.is_alive()
    waiter.join(DEADLINE)
    assert waiters == [False]  # dropping it is not sending it
    assert "stopping with messages unsent" in caplog.text
    assert "hunter2" not in caplog.text
    assert sender.dropped == 0


def test_what_is_sent_while_redis_is_away_arrives_in_order_when_it_comes(
    private_redis: PrivateRedis, names: Names, publisher: Publish
) -> None:
    private = private_redis
    private.kill()
    sender = publisher(private.url)
    to = names.to_topic("t")
    sent = [f"asker-{n}" for n in range(30)]
    sender.send(question(to, asker) for asker in sent[:10])
    assert not sender.flush(0.2)
    sender.send(question(to, asker) for asker in sent[10:20])
    private.start()
    assert sender.flush(DEADLINE)
    private.kill()  # with what was in it
    sender.send(question(to, asker) for asker in sent[20:])
    assert not sender.flush(0.2)
    private.start()
    assert sender.flush(DEADLINE)
    assert taken(private.url, names.topic("t"), sent[-1]) == sent[20:]
    sender.stop()


def test_what_is_sent_while_the_way_to_rabbitmq_is_cut_arrives_in_order(
    amqp_url: str, through: Through, names: Names, publisher: Publish
) -> None:
    proxy = through(amqp_url)
    sender = publisher(proxy.url(amqp_url))
    to = names.to_topic("t")
    sent = [f"asker-{n}" for n in range(30)]
    sender.send(question(to, asker) for asker in sent[:10])
    assert sender.flush(DEADLINE)
    proxy.refuse()
    proxy.reset()
    sender.send(question(to, asker) for asker in sent[10:20])
    assert not sender.flush(0.2)
    sender.send(question(to, asker) for asker in sent[20:])
    proxy.heal()
    assert sender.flush(DEADLINE)
    assert once_each(taken(amqp_url, names.topic("t"), sent[-1])) == sent


BAD_ENVELOPES = [
    Envelope(RESPONSE, correlation_id="c", header=Header(boot="no boot")),
    Envelope(RESPONSE, correlation_id="c", header=Header(tickets="1:" + "1," * 4000 + "1")),
    Envelope(NOTIFY, reply_to="x" * 256),
    Envelope(NOTIFY, reply_to="\ud800"),
    Envelope(RESPONSE, correlation_id="ü" * 128),
]


@pytest.mark.parametrize("bad", BAD_ENVELOPES, ids=["boot", "long", "reply", "half", "bytes"])
def test_a_message_that_cannot_travel_is_dropped_at_once_and_costs_no_other(
    bad: Envelope,
    broker_url: str,
    names: Names,
    publisher: Publish,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if bad is not BAD_ENVELOPES[0] and not broker_url.startswith("memory"):
        broker_url = "memory://"  # decided before any broker is asked
    sender = publisher(broker_url)
    to = names.to_topic("t")
    sender.send([question(to, "before"), Parcel(to, bad, b"{}"), question(to, "after")])
    assert sender.flush(DEADLINE)
    assert taken(broker_url, names.topic("t"), "after") == ["before", "after"]
    assert sender.dropped == 1
    (line,) = errors(caplog)
    assert "can never be sent" in line
    assert bad.kind in line


def _declared_differently(url: str, names: Names) -> Parcel:
    """RabbitMQ's 406, and the local broker's: the queue is there, with other flags."""
    queue = names.topic("other")
    options = {}
    if url.startswith("local"):
        options = {
            "transport": parse_url(url).transport,
            "transport_options": parse_url(url).options,
        }
    with kombu.Connection(None if options else url, **options) as connection:
        kombu.Queue(queue.name, durable=False, auto_delete=True, exclusive=False).bind(
            connection.default_channel
        ).declare()
    return question(names.to_topic("other"), "poison")


def _wrong_type(url: str, names: Names) -> Parcel:
    """Redis: under the queue's name there is no list."""
    with kombu.Connection(url) as connection:
        connection.default_channel.client.set(names.topic("other").name, "x")
    return question(names.to_topic("other"), "poison")


def _no_exchange(url: str, names: Names) -> Parcel:
    """RabbitMQ's 404."""
    return question(Address(f"{names.exchange}.nowhere", "key"), "poison")


@pytest.mark.parametrize(
    ("fixture", "refused_by"),
    [
        ("amqp_url", _declared_differently),
        ("amqp_url", _no_exchange),
        ("redis_url", _wrong_type),
        ("local_path", _declared_differently),
        ("local_path", _no_exchange),
    ],
)
def test_a_message_that_the_broker_always_refuses_is_dropped_and_costs_no_other(
    fixture: str,
    refused_by: Callable[[str, Names], Parcel],
    names: Names,
    publisher: Publish,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    caplog.set_level(logging.DEBUG, "taskline")
    found = request.getfixturevalue(fixture)
    url = f"local://{found}" if isinstance(found, Path) else str(found)
    poison = refused_by(url, names)
    told: list[tuple[Parcel, str]] = []
    sender = publisher(url, lambda *what: told.append(what))
    to = names.to_topic("t")
    sender.send([question(to, "before"), poison, question(to, "after")])
    sender.send([question(to, "later")])
    assert sender.flush(DEADLINE)
    assert once_each(taken(url, names.topic("t"), "later")) == ["before", "after", "later"]
    assert sender.dropped == 1
    (line,) = errors(caplog)
    assert "can never be sent" in line
    tries = [record for record in caplog.records if "failed" in record.getMessage()]
    assert len([record for record in tries if record.name == LOGGER]) == MOST_REFUSALS - 1
    ((dropped, why),) = told
    assert dropped is poison
    assert f"{parse_url(url).shown} refuses it: " in why


def test_what_is_longer_than_this_redis_takes_is_dropped_before_it_cuts_the_line(
    private_redis: PrivateRedis,
    names: Names,
    publisher: Publish,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = private_redis.url
    with kombu.Connection(url) as connection:
        connection.default_channel.client.config_set("proto-max-bulk-len", 2**20)
    told: list[tuple[Parcel, str]] = []
    sender = publisher(url, lambda *what: told.append(what))
    to = names.to_topic("t")
    fits, long = (
        Parcel(to, Envelope(NOTIFY, reply_to=asker), b" " * size)
        for asker, size in (("fits", 1_047_000), ("long", 1_048_600))
    )
    sender.send([question(to, "before"), long, fits, question(to, "after")])
    assert sender.flush(DEADLINE)
    assert taken(url, names.topic("t"), "after") == ["before", "fits", "after"]
    ((dropped, why),) = told
    assert dropped is long
    assert "proto-max-bulk-len is 1,048,576" in why
    assert len(errors(caplog)) == 1


def test_a_full_queue_is_no_reason_to_drop_anything(
    amqp_url: str, names: Names, publisher: Publish
) -> None:
    """RabbitMQ refuses what a bounded queue has no room for, and takes it when it has."""
    queue = names.inbox("small")
    with kombu.Connection(amqp_url) as connection:
        small = kombu.Queue(
            queue.name,
            durable=True,
            queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
        ).bind(connection.default_channel)
        small.declare()
        sender = publisher(amqp_url)
        sender.send([question(names.to_inbox("small"), "first")])
        assert sender.flush(DEADLINE)
        sender.send([question(names.to_inbox("small"), "second")])
        assert not sender.flush(0.5)
        first = small.get(no_ack=True)
        assert first is not None
        assert sender.flush(DEADLINE)
        second = small.get(no_ack=True)
        assert second is not None
        assert second.properties["reply_to"] == "second"
    assert sender.dropped == 0
