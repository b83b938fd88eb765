"""kombu's Redis transport, cured: nonsense in a list, order of what goes back, few clients."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from bus.wire import Broker, Dispatcher, deadlines, parse_url
from bus.wire.broker import Delivery
from bus.wire.testing import PrivateRedis
from bus.wire.transports import redis
from bus.wire.transports.redis import bulk
from bus.wire.transports.redis.channel import AT_ONCE
from protocol.envelope import NOTIFY, Envelope
from protocol.errors import BrokerUnavailable
from protocol.parcel import Parcel, Received, Refused
from protocol.timing import INBOX_EXPIRES, REPLY_EXPIRES
from protocol.topology import Names, Queue
from tests.bus.wire.conftest import Through
from tests.bus.wire.servers import DEADLINE, question

UNACKED = "taskline.unacked"


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


def test_a_flood_of_a_fan_out_is_read_in_portions_and_keeps_nothing_else_waiting(
    reader: Broker, redis_url: str, names: Names
) -> None:
    """It would be read for as long as it lasts, and all of it kept."""
    count = 25 * AT_ONCE // 10
    sender = Broker(parse_url(redis_url))
    sender.open()
    sender.publish([question(names.to_everybody(names.call), str(n)) for n in range(count)])
    sender.publish([question(names.to_inbox("a"), "in between")])
    sender.close()
    turns: list[list[str]] = []
    until = time.monotonic() + DEADLINE
    while sum(map(len, turns)) < count + 1 and time.monotonic() < until:
        deliveries = reader.drain(0.5)
        reader.settle(deliveries)
        turns.append([delivery.properties["reply_to"] for delivery in deliveries])
    assert max(map(len, turns)) <= AT_ONCE
    assert sum("in between" in turn for turn in turns[:4]) == 1
    heard = [each for turn in turns for each in turn if each != "in between"]
    assert heard == [str(n) for n in range(count)]


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


def test_a_dead_server_is_not_taken_for_nonsense(private_redis: PrivateRedis, names: Names) -> None:
    broker = Broker(parse_url(private_redis.url))
    try:
        broker.open()
        broker.consume([names.inbox("a")])
        assert broker.drain(0.1) == []
        private_redis.kill()
        until = time.monotonic() + DEADLINE
        with pytest.raises((OSError, ConnectionError)):
            while time.monotonic() < until:
                assert broker.drain(0.1) == []
        broker.close()
        with pytest.raises(BrokerUnavailable):
            broker.open()
    finally:
        broker.close()


def test_what_is_on_its_way_when_a_consumer_closes_is_not_lost(
    private_redis: PrivateRedis, names: Names
) -> None:
    """A hundred connections that end in the midst of it; at last all is there."""
    writer = Broker(parse_url(private_redis.url))
    writer.open()
    taken: list[str] = []
    for n in range(100):
        reader = Broker(parse_url(private_redis.url))
        reader.open()
        reader.consume([names.inbox("a")])
        reader.drain(0.001)
        writer.publish([question(names.to_inbox("a"), f"{n}-{each}") for each in range(3)])
        deliveries = reader.drain(0.001)
        taken += [delivery.properties["reply_to"] for delivery in deliveries]
        reader.settle(deliveries)
        reader.close()
    reader.open()
    reader.consume([names.inbox("a")])
    until = time.monotonic() + DEADLINE
    while (deliveries := reader.drain(0.5)) or (len(taken) < 300 and time.monotonic() < until):
        taken += [delivery.properties["reply_to"] for delivery in deliveries]
        reader.settle(deliveries)
    reader.close()
    writer.close()
    assert sorted(taken) == sorted(f"{n}-{each}" for n in range(100) for each in range(3))


def test_what_is_on_its_way_to_a_consumer_that_was_cancelled_goes_back(
    private_redis: PrivateRedis, names: Names
) -> None:
    """As at the end of an executor that comes back for its replies."""
    reader = Broker(parse_url(private_redis.url))
    reader.open()
    reader.consume([names.replies("ex"), names.hello_queue("ex")])
    reader.delete(names.hello_queue("ex"))  # consumes no more; a wait is under way all the same
    writer = Broker(parse_url(private_redis.url))
    writer.open()
    writer.publish([question(names.to_replies("ex"), f"{n}") for n in range(3)])
    writer.close()
    reader.close()
    reader.open()
    reader.consume([names.replies("ex")])
    found = next_deliveries(reader, 3)
    assert [delivery.properties["reply_to"] for delivery in found] == ["0", "1", "2"]
    reader.close()


def test_with_a_prefix_for_all_keys_everything_is_as_without(
    private_redis: PrivateRedis, names: Names
) -> None:
    """What comes alone, what comes together, what was under way at the end, what was given back."""
    url = parse_url(private_redis.url, {"global_keyprefix": "ours/"})
    writer, reader = Broker(url), Broker(url)
    writer.open()
    reader.open()
    reader.consume([names.inbox("a")])
    for many in (1, 50):
        writer.publish([question(names.to_inbox("a"), f"{n}") for n in range(many)])
        found = next_deliveries(reader, many)
        assert [each.properties["reply_to"] for each in found] == [f"{n}" for n in range(many)]
    writer.publish([question(names.to_inbox("a"), "again")])
    assert reader.drain(DEADLINE)
    reader.drain(0.01)
    writer.publish([question(names.to_inbox("a"), "under way")])
    reader.close()
    reader.open()
    reader.consume([names.inbox("a")])
    found = next_deliveries(reader, 2)
    assert {each.properties["reply_to"] for each in found} == {"again", "under way"}
    with Redis.from_url(private_redis.url) as server:
        assert all(key.startswith(b"ours/") for key in server.scan_iter())
    reader.close()
    writer.close()


def test_a_line_that_breaks_between_taking_and_noting_costs_no_message(
    private_redis: PrivateRedis, names: Names, through: Through
) -> None:
    """The message has left the list; it is delivered, whatever becomes of the note."""
    proxy = through(private_redis.url)
    writer, reader = (
        Broker(parse_url(private_redis.url)),
        Broker(parse_url(proxy.url(private_redis.url))),
    )
    writer.open()
    reader.open()
    try:
        reader.consume([names.inbox("a")])
        assert reader.drain(0.1) == []
        writer.publish([question(names.to_inbox("a"), "x")])
        for client in _clients(private_redis, "cmd=ping"):
            private_redis.command("CLIENT", "KILL", "ID", client)
        (delivery,) = next_deliveries(reader, 1, settle=False)
        assert delivery.properties["reply_to"] == "x"
    finally:
        reader.close()
        writer.close()


def test_a_list_is_kept_for_as_long_as_its_kind_is_after_its_reader_has_gone(
    private_redis: PrivateRedis, names: Names
) -> None:
    writer = Broker(parse_url(private_redis.url))
    writer.open()
    everywhere = [names.to_inbox("a"), names.to_replies("ex"), names.to_topic("t")]
    writer.publish([question(address, "x") for address in everywhere])
    assert INBOX_EXPIRES - 5 < _lifetime(private_redis, names.inbox("a")) <= INBOX_EXPIRES
    assert REPLY_EXPIRES - 5 < _lifetime(private_redis, names.replies("ex")) <= REPLY_EXPIRES
    assert _lifetime(private_redis, names.topic("t")) == -1  # kept until somebody reads it

    # Emptied, it is gone; made anew by the next message, it has its lifetime again.
    reader = Broker(parse_url(private_redis.url))
    reader.open()
    reader.consume([names.inbox("a")])
    assert len(next_deliveries(reader, 1)) == 1
    reader.close()
    writer.publish([question(names.to_inbox("a"), "x")] * 3)
    assert _lifetime(private_redis, names.inbox("a")) > INBOX_EXPIRES - 5
    writer.close()


def test_a_queue_that_is_deleted_takes_its_messages_along(
    private_redis: PrivateRedis, names: Names
) -> None:
    """kombu deleted only what was bound to an exchange."""
    reader = Broker(parse_url(private_redis.url))
    reader.open()
    reader.consume([names.inbox("a")])
    reader.publish([question(names.to_inbox("b"), "x")])
    reader.delete(names.inbox("b"))
    assert private_redis.command("LLEN", names.inbox("b").name) == b":0"
    reader.close()


def test_a_binding_that_is_deleted_beside_others_is_made_again(
    redis_url: str, exchange: str, server: Any
) -> None:
    """As when there was no other: the message after it finds its queue."""
    names = Names("taskflow", exchange)  # whose queues are bound to an exchange
    broker = Broker(parse_url(redis_url))
    broker.open()
    broker.consume([names.topic("a"), names.topic("b")])
    key = f"_kombu.binding.{exchange}"
    (member,) = [each for each in server.smembers(key) if each.endswith(b"a")]
    server.srem(key, member)
    broker.publish([question(names.to_topic("a"), "x")])
    assert [one.properties["reply_to"] for one in next_deliveries(broker, 1)] == ["x"]
    broker.close()


def test_who_reads_prolongs_what_waits_for_him(private_redis: PrivateRedis, names: Names) -> None:
    private_redis.command("LPUSH", names.inbox("a").name, *["waiting"] * 5)
    private_redis.command("EXPIRE", names.inbox("a").name, "5")
    reader = Broker(parse_url(private_redis.url))
    reader.open()
    reader.consume([names.inbox("a"), names.call_queue("a"), names.topic("t")])
    reader.refresh()  # one has been taken; the others still wait
    assert _lifetime(private_redis, names.inbox("a")) > INBOX_EXPIRES - 5
    private_redis.command("EXPIRE", names.inbox("a").name, "5")
    reader.refresh()  # not each time
    assert _lifetime(private_redis, names.inbox("a")) <= 5
    reader.close()


def test_what_is_given_back_to_a_reader_that_is_gone_does_not_stay_for_ever(
    private_redis: PrivateRedis, names: Names
) -> None:
    writer, reader = Broker(parse_url(private_redis.url)), Broker(parse_url(private_redis.url))
    writer.open()
    reader.open()
    reader.consume([names.inbox("a")])
    writer.publish([question(names.to_inbox("a"), "x")])
    assert len(next_deliveries(reader, 1, settle=False)) == 1
    reader.close()
    writer.close()
    assert private_redis.command("LLEN", names.inbox("a").name) == b":1"
    assert 0 < _lifetime(private_redis, names.inbox("a")) <= REPLY_EXPIRES


def test_who_hears_a_fan_out_leaves_nothing_behind(
    private_redis: PrivateRedis, names: Names
) -> None:
    """kombu kept the name of every consumer there ever was, of killed ones for ever."""
    reader = Broker(parse_url(private_redis.url))
    reader.open()
    reader.consume([names.call_queue("a")])
    reader.drain(0.1)
    reader.publish([question(names.to_everybody(names.call), "x")])
    assert len(next_deliveries(reader, 1)) == 1
    assert private_redis.command("DBSIZE") == b":0"
    reader.close()


def test_a_server_that_accepts_and_says_nothing_takes_no_longer_than_connecting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As what stands before a Redis that is gone. Answers may take longer later on."""
    monkeypatch.setattr(deadlines, "SILENCE", 3 * DEADLINE)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        broker = Broker(parse_url(url, {"socket_connect_timeout": 0.3}))
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.open()
        assert time.monotonic() - began < DEADLINE


def _lifetime(server: PrivateRedis, queue: Queue) -> int:
    """Seconds it has to live; -1 for ever, -2 if it is not there."""
    return int(server.command("TTL", queue.name)[1:])


def _clients(server: PrivateRedis, which: str) -> list[str]:
    """The ids of Redis' clients whose line holds this."""
    with kombu.Connection(server.url) as connection:
        found = connection.default_channel.client.client_list()
    return [each["id"] for each in found if f"cmd={each['cmd']}" == which]


def test_where_clients_may_not_be_unblocked_closing_takes_as_long_as_the_wait(
    private_redis: PrivateRedis, names: Names
) -> None:
    """An account without CLIENT: nothing is lost by it."""
    rules = ["on", ">secret", "~*", "&*", "+@all", "-client"]
    assert private_redis.command("ACL", "SETUSER", "small", *rules) == b"+OK"
    reader = Broker(parse_url(private_redis.url.replace("//", "//small:secret@")))
    writer = Broker(parse_url(private_redis.url))
    writer.open()
    reader.open()
    reader.consume([names.inbox("a")])
    writer.publish([question(names.to_inbox("a"), f"{n}") for n in range(3)])
    assert len(next_deliveries(reader, 2, settle=False)) >= 2
    reader.close()
    reader.open()
    reader.consume([names.inbox("a")])
    found = next_deliveries(reader, 3)
    assert [delivery.properties["reply_to"] for delivery in found] == ["0", "1", "2"]
    reader.close()
    writer.close()


# many at once -------------------------------------------------------------------------------------


def drained(reader: Broker, count: int) -> list[list[Delivery]]:
    """So many deliveries, in the lists in which they came; none acknowledged."""
    lists: list[list[Delivery]] = []
    until = time.monotonic() + DEADLINE
    while sum(map(len, lists)) < count and time.monotonic() < until:
        lists.append(reader.drain(0.5))
    return [each for each in lists if each]


def filled(reader: Broker, names: Names, count: int) -> list[str]:
    """As many questions in the reader's list, and who asked them."""
    askers = [f"{n}" for n in range(count)]
    with_another = Broker(reader.url)
    with_another.open()
    with_another.publish([question(names.to_inbox("a"), asker) for asker in askers])
    with_another.close()
    return askers


def askers_of(lists: list[list[Delivery]]) -> list[str]:
    return [delivery.properties["reply_to"] for each in lists for delivery in each]


def test_many_are_taken_in_one_round_trip_and_noted_and_settled_in_one(
    reader: Broker, names: Names, server: Any
) -> None:
    sent = filled(reader, names, 250)
    lists = drained(reader, 250)
    assert askers_of(lists) == sent
    assert max(map(len, lists)) == bulk.MOST
    assert len(lists) <= 8
    assert notes_of(server, names) == 250
    reader.settle([delivery for each in lists for delivery in each])
    assert notes_of(server, names) == 0
    assert reader.drain(0.1) == []


def test_of_what_is_acknowledged_at_once_nothing_is_noted_and_of_the_rest_at_the_next_look(
    reader: Broker, names: Names, server: Any
) -> None:
    """One at a time, as in a quiet hour: the usual case costs Redis no word."""

    def taken() -> Delivery:
        assert reader.drain(0.001) == []  # waits for the next
        filled(reader, names, 1)
        (delivery,) = next_deliveries(reader, 1, settle=False)
        return delivery

    def is_noted(delivery: Delivery) -> bool:
        return bool(server.hexists(UNACKED, delivery.message.delivery_tag))

    for _ in range(10):
        delivery = taken()
        assert not is_noted(delivery)
        reader.settle([delivery])
    delivery = taken()
    assert reader.drain(0.001) == []
    assert is_noted(delivery)
    reader.settle([delivery])
    assert not is_noted(delivery)


def test_what_has_no_note_yet_is_given_back_by_who_closes(
    reader: Broker, names: Names, server: Any
) -> None:
    assert reader.drain(0.001) == []
    (sent,) = filled(reader, names, 1)
    (delivery,) = next_deliveries(reader, 1, settle=False)
    assert not server.hexists(UNACKED, delivery.message.delivery_tag)
    reader.close()
    assert 0 < server.ttl(names.inbox("a").name) <= REPLY_EXPIRES
    reader.open()
    reader.consume([names.inbox("a")])
    assert [d.properties["reply_to"] for d in next_deliveries(reader, 1)] == [sent]


def test_what_is_taken_from_a_queue_of_taskflows_is_noted_at_once(
    redis_url: str, exchange: str, server: Any
) -> None:
    """Their peers say nothing twice."""
    topic = Names("taskflow", exchange)
    reader = Broker(parse_url(redis_url))
    reader.open()
    reader.consume([topic.topic("x")])
    assert reader.drain(0.001) == []
    reader.publish([question(topic.to_topic("x"), "asker")])
    (delivery,) = next_deliveries(reader, 1, settle=False)
    assert server.hexists(UNACKED, delivery.message.delivery_tag)
    reader.delete(topic.topic("x"))
    reader.close()


def test_kombus_priorities_are_read_where_its_peers_write(
    redis_url: str, exchange: str, reader: Broker, names: Names
) -> None:
    """In a list of their own each; nobody writes into such a list of a queue of ours."""
    queue = Names("taskflow", exchange).topic("x")
    theirs = Broker(parse_url(redis_url))
    theirs.open()
    theirs.consume([queue, names.inbox("b")])
    with kombu.Connection(redis_url) as connection:
        stock = kombu.Producer(connection.default_channel, auto_declare=False)
        for priority in (9, 0):
            stock.publish(b"{}", routing_key=queue.name, priority=priority, reply_to=str(priority))
    found = [delivery.properties["reply_to"] for delivery in next_deliveries(theirs, 2)]
    assert sorted(found) == ["0", "9"]
    theirs.delete(queue)
    theirs.close()
    assert reader.drain(0.001) == []
    assert reader._open_channel().priority_steps == [0]


def test_what_waits_is_soon_taken_together_again_where_all_was_alone_for_long(
    reader: Broker, names: Names
) -> None:
    """The look for more is left out now and then only."""
    for _ in range(20):
        filled(reader, names, 1)
        next_deliveries(reader, 1)
    sent = filled(reader, names, 300)
    lists = drained(reader, 300)
    assert askers_of(lists) == sent
    assert len(lists) <= 25


def test_what_was_taken_together_comes_back_in_its_order_when_its_taker_is_cut_off(
    reader: Broker, names: Names, redis_url: str
) -> None:
    sent = filled(reader, names, 120)
    assert askers_of(drained(reader, 120)) == sent
    reader.close()
    reader.open()
    reader.consume([names.inbox("a")])
    assert [d.properties["reply_to"] for d in next_deliveries(reader, 120)] == sent


def test_nonsense_among_many_leaves_no_note_behind(
    reader: Broker, names: Names, server: Any
) -> None:
    filled(reader, names, 1)
    for garbage in (b"garbage", b"[]", b'{"properties": {}}', b"\xff\xfe"):
        server.lpush(names.inbox("a").name, garbage)
        filled(reader, names, 1)
    lists = drained(reader, 9)
    assert len(lists) < 9
    assert len(askers_of_good(lists)) == 5
    reader.settle([delivery for each in lists for delivery in each])
    assert notes_of(server, names) == 0


def notes_of(server: Any, names: Names) -> int:
    """Notes of what was taken from this test's own inbox: others' tests use the same server."""
    queue = names.inbox("a").name.encode()
    return sum(queue in note for note in server.hvals(UNACKED))


def askers_of_good(lists: list[list[Delivery]]) -> list[str]:
    found = Dispatcher(at_worker=True).sort([delivery for each in lists for delivery in each])
    return [each.envelope.reply_to or "" for each in found if isinstance(each, Received)]


def test_a_note_of_nonsense_whose_taker_was_killed_ends_nobody_else(
    reader: Broker, names: Names, server: Any
) -> None:
    """Taken and noted by the script, and killed before it was looked at."""
    server.hset(UNACKED, "killed1", "[garbage" + f',"","{names.inbox("a").name}"]')
    server.zadd(f"{UNACKED}_index", {"killed1": 1.0})
    sent = filled(reader, names, 3)
    assert askers_of(drained(reader, 3)) == sent
    until = time.monotonic() + DEADLINE
    while server.hexists(UNACKED, "killed1") and time.monotonic() < until:
        assert reader.drain(0.1) == []
    assert not server.hexists(UNACKED, "killed1")


def test_where_scripts_are_not_allowed_they_are_taken_one_by_one(
    private_redis: PrivateRedis, names: Names
) -> None:
    rules = ["on", ">secret", "~*", "&*", "+@all", "-@scripting"]
    assert private_redis.command("ACL", "SETUSER", "plain", *rules) == b"+OK"
    reader = Broker(parse_url(private_redis.url.replace("//", "//plain:secret@")))
    reader.open()
    reader.consume([names.inbox("a")])
    sent = filled(reader, names, 20)
    lists = drained(reader, 20)
    assert askers_of(lists) == sent
    assert len(lists) == 20
    reader.close()


def test_what_goes_back_to_a_queue_of_taskflows_stays_there_for_as_long_as_before(
    redis_url: str, exchange: str, server: Any
) -> None:
    """For ever: workers of a topic may come tomorrow. Taken one by one or together."""
    topic = Names("taskflow", exchange)
    reader, writer = Broker(parse_url(redis_url)), Broker(parse_url(redis_url))
    for broker in (reader, writer):
        broker.open()
    reader.consume([topic.topic("x")])
    writer.publish([question(topic.to_topic("x"), f"{n}") for n in range(5)])
    assert len(askers_of(drained(reader, 5))) == 5
    reader.close()
    assert server.llen(topic.topic("x").name) == 5
    assert server.ttl(topic.topic("x").name) == -1
    writer.delete(topic.topic("x"))
    writer.close()
