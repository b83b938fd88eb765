"""The local broker as kombu's producers and consumers see it."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import kombu
import pytest
from kombu.exceptions import ChannelError, ConnectionError

from protocol.errors import ConfigurationError
from tests.bus.wire.servers import DEADLINE, until
from tests.bus.wire.transports.peers import HOLDER, LOCAL, Inbox, Process, local

Connect = Callable[..., kombu.Connection]
Start = Callable[..., Process]


def _declare(connection: kombu.Connection, *queues: str | kombu.Queue) -> kombu.Producer:
    channel = connection.channel()
    for each in queues:
        queue = each if isinstance(each, kombu.Queue) else kombu.Queue(each)
        queue.bind(channel).declare()
    return kombu.Producer(channel)


def test_messages_arrive_whole_and_in_order(connect: Connect) -> None:
    """Body, headers and properties as they were sent."""
    producer = _declare(connect(), "q")
    for number in range(100):
        producer.publish(
            {"n": number},
            routing_key="q",
            headers={"h": [1, "ü"]},
            correlation_id=f"c{number}",
            type="REQUEST",
            reply_to="r",
        )
    inbox = Inbox(connect(), "q")
    assert inbox.take(100) == [{"n": number} for number in range(100)]
    last = inbox.messages[-1]
    assert last.headers == {"h": [1, "ü"]}
    assert (last.properties["correlation_id"], last.properties["type"]) == ("c99", "REQUEST")
    assert last.properties["reply_to"] == "r"
    assert last.content_type == "application/json"
    assert last.delivery_info["redelivered"] is False
    assert last.delivery_info["routing_key"] == "q"


@pytest.mark.parametrize("size", [0, 4096, 4097, 1_000_000, 10_000_000])
def test_bodies_of_any_size_travel(connect: Connect, size: int) -> None:
    """Also those that have a table of their own."""
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    producer = _declare(connect(), "q")
    producer.publish(
        body, routing_key="q", content_type="application/data", content_encoding="binary"
    )
    inbox = Inbox(connect(), "q", acks=False)
    inbox.connection.drain_events(timeout=DEADLINE)
    assert inbox.messages[0].body == body
    inbox.messages[0].ack()
    assert inbox.rest() == []


def test_each_message_goes_to_one_of_several_consumers(connect: Connect) -> None:
    """Two connections, and two consumers of one channel, share a queue."""
    producer = _declare(connect(), "q")
    one, two = Inbox(connect(), "q", prefetch=1), Inbox(connect(), "q", prefetch=1)
    third: list[int] = []
    extra = kombu.Consumer(
        two.channel, [kombu.Queue("q")], on_message=lambda m: (third.append(m.payload), m.ack())
    )
    extra.consume()
    for number in range(30):
        producer.publish(number, routing_key="q")
    for _ in range(10):
        one.take(1)
    two.rest()
    assert sorted(one.bodies + two.bodies + third) == list(range(30))
    assert all([one.bodies, two.bodies, third])


def test_a_fanout_reaches_every_queue_once(connect: Connect) -> None:
    """Also from a publisher that never declared the exchange."""
    hello = kombu.Exchange("hello", "fanout", durable=True)
    inboxes = [Inbox(connect(), kombu.Queue(f"q{n}", hello)) for n in range(3)]
    producer = kombu.Producer(connect().channel())
    for number in range(5):
        producer.publish(number, exchange="hello", routing_key="whatever")
    for inbox in inboxes:
        assert inbox.take(5) == list(range(5))
        assert inbox.rest() == []


def test_direct_and_topic_exchanges_route_by_key(connect: Connect) -> None:
    """A queue that two bindings would serve gets one copy."""
    connection = connect()
    topic = kombu.Exchange("topic", "topic")
    direct = kombu.Exchange("direct", "direct")
    producer = _declare(
        connection,
        kombu.Queue("cpu", bindings=[kombu.binding(topic, "a.#"), kombu.binding(topic, "#.b")]),
        kombu.Queue("gpu", direct, routing_key="gpu"),
    )
    producer.publish(1, exchange="topic", routing_key="a.b")
    producer.publish(2, exchange="topic", routing_key="c")
    producer.publish(3, exchange="direct", routing_key="gpu")
    producer.publish(4, exchange="direct", routing_key="cpu")
    assert Inbox(connect(), "cpu").rest() == [1]
    assert Inbox(connect(), kombu.Queue("gpu", direct, routing_key="gpu")).rest() == [3]


def test_prefetch_bounds_what_a_consumer_holds(connect: Connect) -> None:
    """And an acknowledgement opens the window again."""
    producer = _declare(connect(), "q")
    for number in range(5):
        producer.publish(number, routing_key="q")
    inbox = Inbox(connect(), "q", prefetch=2, acks=False)
    assert inbox.rest() == [0, 1]
    inbox.messages[0].ack()
    assert inbox.rest() == [2]
    inbox.messages[2].channel.basic_ack(inbox.messages[2].delivery_tag, multiple=True)
    assert inbox.rest() == [3, 4]


def test_a_consumer_without_prefetch_may_hold_any_number(connect: Connect) -> None:
    """The cap is on what it claims at a time."""
    producer = _declare(connect(), "q")
    with producer.batch(300):
        for number in range(300):
            producer.publish(number, routing_key="q")
    assert Inbox(connect(), "q", acks=False).rest() == list(range(300))


def test_closing_a_channel_gives_back_what_it_holds_in_order(connect: Connect) -> None:
    """What was seen is marked, what was only claimed is not; later messages stay behind."""
    producer = _declare(connect(), "q")
    for number in range(8):
        producer.publish(number, routing_key="q")
    first = Inbox(connect(), "q", prefetch=6, acks=False)
    first.take(4)
    first.messages[1].ack()
    first.channel.close()
    again = Inbox(connect(), "q")
    assert again.take(7) == [0, 2, 3, 4, 5, 6, 7]
    marks = [message.delivery_info["redelivered"] for message in again.messages]
    assert marks == [True] * 3 + [False] * 4


def test_closing_a_connection_gives_back_what_it_holds_in_order(connect: Connect) -> None:
    """The same for the whole connection, as ``release`` does it."""
    producer = _declare(connect(), "q")
    for number in range(5):
        producer.publish(number, routing_key="q")
    connection = connect()
    Inbox(connection, "q", acks=False).take(3)
    connection.release()
    assert Inbox(connect(), "q").take(5) == list(range(5))


def test_cancelling_gives_back_what_was_claimed_and_not_delivered(connect: Connect) -> None:
    """And what was delivered stays with its holder."""
    producer = _declare(connect(), "q")
    for number in range(5):
        producer.publish(number, routing_key="q")
    first = Inbox(connect(), "q", acks=False)
    assert first.take(2) == [0, 1]
    first.consumer.cancel()
    second = Inbox(connect(), "q")
    assert second.take(3) == [2, 3, 4]
    assert not any(message.delivery_info["redelivered"] for message in second.messages)
    first.channel.close()
    assert second.take(2) == [0, 1]


def test_a_requeued_message_keeps_its_place_and_a_rejected_one_is_gone(connect: Connect) -> None:
    """Stock re-publishes it: to the end, and to every bound queue."""
    producer = _declare(connect(), "q")
    for number in range(4):
        producer.publish(number, routing_key="q")
    inbox = Inbox(connect(), "q", prefetch=2, acks=False)
    inbox.take(2)
    inbox.messages[0].reject()
    inbox.messages[1].requeue()
    assert inbox.take(2) == [1, 2]
    assert inbox.messages[2].delivery_info["redelivered"] is True


def test_recover_gives_back_everything_held(connect: Connect) -> None:
    """AMQP's ``basic.recover`` with requeue."""
    producer = _declare(connect(), "q")
    for number in range(3):
        producer.publish(number, routing_key="q")
    inbox = Inbox(connect(), "q", acks=False)
    inbox.take(3)
    inbox.consumer.recover(requeue=True)
    assert inbox.take(3) == [0, 1, 2]


def test_no_ack_consumers_leave_nothing_behind(connect: Connect) -> None:
    """Delivered is done."""
    producer = _declare(connect(), "q")
    for number in range(3):
        producer.publish(number, routing_key="q")
    inbox = Inbox(connect(), "q", no_ack=True)
    assert inbox.take(3) == [0, 1, 2]
    inbox.connection.release()
    assert Inbox(connect(), "q").rest() == []


def test_get_takes_one_message_by_hand(connect: Connect) -> None:
    """And None where there is none."""
    connection = connect()
    producer = _declare(connection, "q")
    producer.publish("a", routing_key="q")
    queue = kombu.Queue("q").bind(connection.channel())
    message = queue.get()
    assert message is not None
    assert message.payload == "a"
    assert queue.get() is None
    message.ack()
    connection.release()
    assert kombu.Queue("q").bind(connect().channel()).get() is None


def test_a_batch_is_one_transaction_over_all_its_queues(connect: Connect, path: str) -> None:
    """Nothing is there before its end, everything after it."""
    producer = _declare(connect(), "a", "b")
    seen = Inbox(connect(), "a", "b")
    with producer.batch(512):
        for number in range(100):
            producer.publish(number, routing_key="ab"[number % 2])
        assert seen.rest() == []
    assert sorted(seen.take(100)) == list(range(100))
    assert producer.supports_batch_publish


def test_a_batch_that_fails_publishes_nothing(connect: Connect) -> None:
    """Neither when the block raises, nor when one of its messages cannot be published."""
    producer = _declare(connect(), "q")

    def interrupted() -> None:
        with producer.batch(512):
            producer.publish(1, routing_key="q")
            raise KeyError("of the user")

    def misaddressed(**how: object) -> None:
        with producer.batch(512):
            producer.publish(1, routing_key="q")
            producer.publish(2, **how)

    with pytest.raises(KeyError):
        interrupted()
    with pytest.raises(ChannelError, match="no exchange 'nowhere'"):
        misaddressed(exchange="nowhere", routing_key="q")
    with pytest.raises(ChannelError, match="nothing of its batch was published"):
        misaddressed(routing_key="nobody", mandatory=True)
    assert Inbox(connect(), "q").rest() == []


def test_a_full_batch_flushes_by_itself(connect: Connect) -> None:
    """So that its size bounds the memory it takes."""
    producer = _declare(connect(), "q")
    inbox = Inbox(connect(), "q")
    with producer.batch(10):
        for number in range(15):
            producer.publish(number, routing_key="q")
        assert inbox.rest() == list(range(10))
    assert inbox.rest() == list(range(10, 15))


def test_a_sleeping_consumer_is_woken_by_another_process(
    connect: Connect, path: str, start: Start
) -> None:
    """Within milliseconds; the bound here is generous, and below every interval there is."""
    _declare(connect(), "q", "answers")
    echo = start(
        """
connection = local(sys.argv[1])
producer = kombu.Producer(connection.channel())
def answer(message):
    message.ack()
    producer.publish(message.payload, routing_key="answers")
consumer = kombu.Consumer(connection.channel(), [kombu.Queue("q")], on_message=answer)
consumer.consume()
say("ready")
forever(connection)
""",
        path,
    )
    assert echo.line() == "ready"
    inbox = Inbox(connect(), "answers")
    producer = kombu.Producer(connect().channel())
    trips = []
    for number in range(20):
        begun = time.monotonic()
        producer.publish(number, routing_key="q")
        assert inbox.take(1) == [number]
        trips.append(time.monotonic() - begun)
    assert min(trips) < 0.1


def test_a_drain_ends_at_its_deadline(connect: Connect) -> None:
    """With ``socket.timeout``, and a tiny deadline takes what is there."""
    producer = _declare(connect(), "q")
    inbox = Inbox(connect(), "q")
    begun = time.monotonic()
    with pytest.raises(socket.timeout):
        inbox.connection.drain_events(timeout=0.05)
    assert 0.04 < time.monotonic() - begun < DEADLINE
    producer.publish(1, routing_key="q")
    inbox.connection.drain_events(timeout=0)
    assert inbox.bodies == [1]


def test_an_acknowledgement_of_another_thread_opens_the_window(connect: Connect) -> None:
    """The thread that sleeps with a full window is woken, not left to the next sweep."""
    producer = _declare(connect(), "q")
    producer.publish(1, routing_key="q")
    producer.publish(2, routing_key="q")
    inbox = Inbox(connect(), "q", prefetch=1, acks=False)
    inbox.take(1)
    acker = threading.Timer(0.05, inbox.messages[0].ack)
    acker.start()
    assert inbox.take(1) == [2]
    acker.join()


def test_channels_of_one_connection_take_turns(connect: Connect) -> None:
    """No channel starves the other."""
    connection = connect()
    producer = _declare(connect(), "a", "b")
    one, two = Inbox(connection, "a"), Inbox(connection, "b")
    for number in range(10):
        producer.publish(number, routing_key="a")
        producer.publish(number, routing_key="b")
    for _ in range(10):
        connection.drain_events(timeout=DEADLINE)
    assert len(one.bodies) == len(two.bodies) == 5


def test_publishing_to_nobody_is_dropped_or_refused_as_asked(connect: Connect) -> None:
    """As on AMQP: a reader that is gone lets nothing grow."""
    producer = kombu.Producer(connect().channel())
    producer.publish(1, routing_key="nobody")
    with pytest.raises(ChannelError) as refused:
        producer.publish(1, routing_key="nobody", mandatory=True)
    assert refused.value.code == 312
    with pytest.raises(ChannelError) as unknown:
        producer.publish(1, exchange="nowhere", routing_key="x")
    assert unknown.value.code == 404


def test_consuming_from_an_unknown_queue_is_refused(connect: Connect) -> None:
    """404, for consumers, for getting and for passive declarations."""
    channel = connect().channel()
    for attempt in (
        lambda: channel.basic_consume("nobody", False, print, "tag"),
        lambda: channel.basic_get("nobody"),
        lambda: channel.queue_declare("nobody", passive=True),
        lambda: channel.exchange_declare("nowhere", passive=True),
        lambda: channel.queue_bind("nobody", "amq.direct", "k"),
        lambda: channel.queue_purge("nobody"),
    ):
        with pytest.raises(ChannelError) as refused:
            attempt()
        assert refused.value.code == 404


def test_declaring_a_name_differently_is_refused(connect: Connect) -> None:
    """406, as RabbitMQ has it, so that what runs here runs there."""
    channel = connect().channel()
    channel.queue_declare("q", durable=True)
    channel.queue_declare("q", durable=True)
    channel.exchange_declare("e", "fanout")
    for attempt in (
        lambda: channel.queue_declare("q", durable=False),
        lambda: channel.queue_declare("q", durable=True, arguments={"x-expires": 1000}),
        lambda: channel.queue_declare("r", arguments={"x-expires": 0}),
        lambda: channel.exchange_declare("e", "direct"),
    ):
        with pytest.raises(ChannelError) as refused:
            attempt()
        assert refused.value.code == 406


def test_a_consumer_tag_serves_one_consumer(connect: Connect) -> None:
    """Stock silently replaces the first."""
    channel = connect().channel()
    channel.queue_declare("q")
    channel.basic_consume("q", False, print, "tag")
    with pytest.raises(ChannelError, match="'tag' is in use"):
        channel.basic_consume("q", False, print, "tag")


def test_queues_are_counted_purged_and_deleted(connect: Connect) -> None:
    """By any connection, whoever declared them."""
    producer = _declare(connect(), "q")
    channel = connect().channel()
    for number in range(3):
        producer.publish(number, routing_key="q")
    assert tuple(channel.queue_declare("q", passive=True)) == ("q", 3, 0)
    assert channel.queue_purge("q") == 3
    producer.publish(1, routing_key="q")
    channel.queue_delete("q", if_empty=True)
    assert channel.queue_declare("q", passive=True)[1] == 1
    channel.queue_delete("q")
    with pytest.raises(ChannelError):
        channel.queue_declare("q", passive=True)


def test_an_auto_delete_queue_goes_with_its_last_consumer(connect: Connect) -> None:
    """With what is in it, and its bindings; not with the first."""
    queue = kombu.Queue("q", kombu.Exchange("e", "fanout"), auto_delete=True)
    connection = connect()
    one, two = Inbox(connection, queue), Inbox(connect(), queue)
    channel = connect().channel()
    one.consumer.cancel()
    assert channel.queue_declare("q", passive=True).message_count == 0
    two.connection.release()
    with pytest.raises(ChannelError):
        channel.queue_declare("q", passive=True)
    assert list(channel.list_bindings()) == []


def _is_gone(watcher: Inbox, queue: str) -> bool:
    """Whether there is no such queue any more; meanwhile ``watcher``, who gets nothing, sweeps."""
    with pytest.raises(TimeoutError):
        watcher.connection.drain_events(timeout=0.1)
    try:
        watcher.connection.channel().queue_declare(queue, passive=True)
    except ChannelError:
        return True
    return False


def test_an_auto_delete_queue_goes_with_a_killed_consumer(
    connect: Connect, path: str, start: Start
) -> None:
    """The sweep takes it away."""
    holder = start(
        HOLDER.replace("kombu.Queue(sys.argv[2])", "kombu.Queue(sys.argv[2], auto_delete=True)"),
        path,
        "q",
    )
    assert holder.line() == "ready"
    watcher = Inbox(connect(), "other")
    assert not _is_gone(watcher, "q")
    holder.kill()
    assert until(lambda: _is_gone(watcher, "q"))


def test_an_expiring_queue_goes_when_nobody_used_it_for_so_long(connect: Connect) -> None:
    """Not while it has a consumer, however long that is silent."""
    connection = connect()
    producer = _declare(connection, kombu.Queue("left", expires=0.2))
    kept = Inbox(connect(), kombu.Queue("kept", expires=0.2))
    producer.publish(1, routing_key="left")
    assert until(lambda: _is_gone(kept, "left"))
    assert connection.channel().queue_declare("kept", passive=True).consumer_count == 1


def test_a_closed_channel_says_so(connect: Connect) -> None:
    """Its messages are back: acknowledging one would be about somebody else's."""
    producer = _declare(connect(), "q")
    producer.publish(1, routing_key="q")
    inbox = Inbox(connect(), "q", acks=False)
    inbox.take(1)
    inbox.channel.close()
    inbox.channel.close()
    with pytest.raises(ConnectionError, match="the channel is closed"):
        inbox.messages[0].ack()


def test_kombu_reconnects_when_the_folder_was_removed(connect: Connect, path: str) -> None:
    """A broker whose folder somebody deletes is a connection error, and a fresh one works."""
    connection = connect()
    producer = _declare(connection, "q")
    producer.publish(1, routing_key="q")
    shutil.rmtree(path)
    with pytest.raises(connection.connection_errors):
        producer.publish(2, routing_key="q")
    fresh = connect()
    _declare(fresh, "q").publish(3, routing_key="q")
    assert Inbox(connect(), "q").take(1) == [3]


def test_sync_full_is_taken(connect: Connect) -> None:
    """The two modes share a file."""
    producer = _declare(connect(sync="full"), "q")
    producer.publish(1, routing_key="q")
    assert Inbox(connect(sync="normal"), "q").take(1) == [1]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "needs the option 'path'"),
        ({"path": "relative"}, "absolute path"),
        ({"path": "/tmp/x", "sync": "sometimes"}, "'sync' must be"),
        ({"path": "/tmp/x", "polling_interval": 1}, "does not know the option 'polling_interval'"),
    ],
)
def test_an_option_that_will_not_do_is_refused(options: dict[str, object], complaint: str) -> None:
    """By name, before anything is made."""
    with pytest.raises(ConfigurationError, match=complaint):
        kombu.Connection(transport=LOCAL, transport_options=options).connect()


def test_a_file_of_another_layout_is_refused(connect: Connect, path: str) -> None:
    """Rather than misread."""
    connect().release()
    db = sqlite3.connect(Path(path) / "broker.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigurationError, match="layout 99"):
        local(path).connect()


GARBAGE: tuple[object, ...] = (
    "", "no JSON", b"\xff\xfe", 5, 1.5, "5", "null", "[]", "{}", '"x"', "[1,2,3,4]", "[" * 100_000,
    "[null,null,null,null]", '["a","b",{},5]', '["a","b",{},{}]',
    '["a","b",{},{"delivery_info":7}]',
    '["a","b",{},{"delivery_info":{},"body_encoding":"klingon"}]',
    '["a","b",{},{"delivery_info":{},"body_encoding":"base64"}]',
)  # fmt: skip


def test_what_somebody_wrote_into_the_file_is_a_message_for_others_to_refuse(
    connect: Connect, path: str
) -> None:
    """It used to end every connection that took it, and go back to the front of its queue."""
    producer = _declare(connect(), "q")
    inbox = Inbox(connect(), "q")
    bodies = (b"x", "x", 5, None)
    with closing(sqlite3.connect(f"{path}/broker.db")) as db, db:
        (queue,) = db.execute("SELECT id FROM queue WHERE name = 'q'").fetchone()
        rows = [(queue, meta, body) for meta in GARBAGE for body in bodies]
        db.executemany("INSERT INTO msg (queue, meta, body) VALUES (?, ?, ?)", rows)
    producer.publish({"n": 1}, routing_key="q")
    while len(inbox.messages) < len(rows) + 1:
        inbox.connection.drain_events(timeout=10.0)
    assert [message.content_type for message in inbox.messages[:4]] == [None] * 4
    assert inbox.messages[-1].payload == {"n": 1}


def test_a_file_that_is_no_database_is_damage_and_not_a_lost_connection(path: str) -> None:
    """Reconnecting would not help, so kombu is told not to."""
    Path(path).mkdir(mode=0o700)
    (Path(path) / "broker.db").write_bytes(b"something else entirely" * 1000)
    connection = local(path)
    with pytest.raises(connection.connection_errors, match="not a database"):
        connection.connect()
    assert connection.recoverable_connection_errors != connection.connection_errors


def test_kombu_sees_what_the_transport_can(connect: Connect) -> None:
    """Exchange types, batches and the errors that are worth a reconnect."""
    connection = connect()
    assert connection.supports_exchange_type("fanout")
    assert connection.transport.driver_type == "local"
    assert connection.connected
    connection.release()
    assert not connection.connected
