"""Threads of one process, among themselves and together with kombu's own memory transport."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator

import kombu
import pytest
from kombu.exceptions import ConnectionError
from kombu.transport import memory as stock

from tests.bus.wire.servers import DEADLINE
from tests.bus.wire.transports.peers import MEMORY, Inbox


@pytest.fixture
def clean() -> Iterator[None]:
    """The state is the process's: nothing of a test is left to the next."""
    yield
    stock.Channel.queues.clear()
    stock.Transport.global_state.clear()


pytestmark = pytest.mark.usefixtures("clean")


def ours() -> kombu.Connection:
    """A connection over our transport."""
    return kombu.Connection(transport=MEMORY)


def theirs() -> kombu.Connection:
    """A connection over kombu's own."""
    return kombu.Connection("memory://", transport_options={"polling_interval": 0.01})


def _publish(connection: kombu.Connection, *numbers: int, queue: str = "q") -> None:
    """As who sends to a queue does: it sees to it that the queue is there."""
    producer = kombu.Producer(connection.channel())
    for number in numbers:
        producer.publish(number, routing_key=queue, declare=[kombu.Queue(queue)])


def test_messages_arrive_whole_and_in_order() -> None:
    """Body, headers and properties as they were sent."""
    producer = kombu.Producer(ours().channel())
    inbox = Inbox(ours(), "q")
    for number in range(10):
        producer.publish({"n": number}, routing_key="q", headers={"h": 1}, type="T", reply_to="r")
    assert inbox.take(10) == [{"n": number} for number in range(10)]
    last = inbox.messages[-1]
    assert last.headers == {"h": 1}
    assert (last.properties["type"], last.properties["reply_to"]) == ("T", "r")
    assert last.delivery_info["redelivered"] is False


@pytest.mark.parametrize(("sender", "reader"), [(ours, theirs), (theirs, ours)])
def test_a_stock_peer_meets_us_on_the_same_queues(sender, reader) -> None:  # type: ignore[no-untyped-def]
    """Through an exchange either side declared, in both directions."""
    queue = kombu.Queue("q", kombu.Exchange("e", "direct"), routing_key="k")
    inbox = Inbox(reader(), queue)
    producer = kombu.Producer(sender().channel())
    for number in range(5):
        producer.publish(number, exchange="e", routing_key="k")
    assert inbox.take(5) == list(range(5))


@pytest.mark.parametrize("sender", [ours, theirs])
def test_a_sleeping_consumer_is_woken_by_the_message(sender) -> None:  # type: ignore[no-untyped-def]
    """Also by a stock peer's, and on a queue that peer made; no interval is polled."""
    producer = kombu.Producer(sender().channel())
    producer.publish(0, routing_key="q", declare=[kombu.Queue("q")])
    inbox = Inbox(ours(), "q")
    assert inbox.take(1) == [0]
    delays = []
    for number in range(10):
        asked = threading.Event()
        sent = []

        def send(number: int = number, asked: threading.Event = asked, sent: list = sent) -> None:  # type: ignore[type-arg]
            asked.wait(DEADLINE)
            sent.append(time.monotonic())
            producer.publish(number, routing_key="q")

        thread = threading.Timer(0.01, send)
        thread.start()
        asked.set()
        inbox.take(1)
        delays.append(time.monotonic() - sent[0])
        thread.join()
    assert min(delays) < 0.5  # stock sleeps a second at a time


def test_a_drain_ends_at_its_deadline_and_a_tiny_one_takes_what_is_there() -> None:
    """With ``socket.timeout``."""
    inbox = Inbox(ours(), "q")
    begun = time.monotonic()
    with pytest.raises(socket.timeout):
        inbox.connection.drain_events(timeout=0.05)
    assert 0.04 < time.monotonic() - begun < DEADLINE
    _publish(ours(), 1, 2)
    inbox.connection.drain_events(timeout=0.001)
    inbox.connection.drain_events(timeout=0)
    assert inbox.bodies == [1, 2]


def test_many_threads_that_declare_a_queue_first_lose_nothing() -> None:
    """Stock checks, then creates: 159 of 6400 messages gone at this switching interval."""
    interval = sys.getswitchinterval()
    connections = [ours() for _ in range(8)]
    channels = [connection.channel() for connection in connections]
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(50):
            start = threading.Barrier(8)

            def send(channel: object, turn: int = turn, start: threading.Barrier = start) -> None:
                producer = kombu.Producer(channel)
                start.wait(DEADLINE)
                name = f"q{turn}"
                producer.publish(turn, routing_key=name, declare=[kombu.Queue(name)])

            threads = [threading.Thread(target=send, args=(channel,)) for channel in channels]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [stock.Channel.queues[f"q{turn}"].qsize() for turn in range(50)] == [8] * 50


def test_many_threads_that_declare_first_lose_no_binding() -> None:
    """Stock may put an empty table over one that has a binding already."""
    interval = sys.getswitchinterval()
    channels = [ours().channel() for _ in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(50):
            start = threading.Barrier(8)

            def declare(n: int, turn: int = turn, start: threading.Barrier = start) -> None:
                start.wait(DEADLINE)
                exchange = kombu.Exchange(f"e{turn}", "fanout")
                kombu.Queue(f"q{turn}.{n}", exchange).bind(channels[n]).declare()

            threads = [threading.Thread(target=declare, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            kombu.Producer(channels[0]).publish(1, exchange=f"e{turn}")
    finally:
        sys.setswitchinterval(interval)
    sizes = {stock.Channel.queues[f"q{t}.{n}"].qsize() for t in range(50) for n in range(8)}
    assert sizes == {1}


@pytest.mark.parametrize("close", ["channel", "connection"])
def test_closing_gives_back_what_is_held_in_order(close: str) -> None:
    """Before what was never taken, and marked; stock loses it."""
    _publish(ours(), *range(6))
    inbox = Inbox(ours(), "q", acks=False)
    inbox.take(4)
    inbox.messages[1].ack()
    if close == "channel":
        inbox.channel.close()
        inbox.channel.close()
    else:
        inbox.connection.release()
    again = Inbox(ours(), "q")
    assert again.take(5) == [0, 2, 3, 4, 5]
    marks = [message.delivery_info["redelivered"] for message in again.messages]
    assert marks == [True, True, True, False, False]
    with pytest.raises(ConnectionError, match="the channel is closed"):
        inbox.messages[0].ack()


def test_messages_given_back_one_by_one_stand_in_their_old_order() -> None:
    """Whatever the order of giving back, and also after a second time."""
    _publish(ours(), *range(4))
    inbox = Inbox(ours(), "q", prefetch=3, acks=False)
    inbox.take(3)
    inbox.consumer.cancel()
    for number in (1, 0, 2):
        inbox.messages[number].requeue()
    again = Inbox(ours(), "q", prefetch=2, acks=False)
    assert again.take(2) == [0, 1]
    again.consumer.recover(requeue=True)
    again.channel.close()
    assert Inbox(ours(), "q").take(4) == [0, 1, 2, 3]


def test_what_we_give_back_a_stock_peer_can_take() -> None:
    """Our marks in a message mean nothing to it."""
    _publish(ours(), 1)
    inbox = Inbox(ours(), "q", acks=False)
    inbox.take(1)
    inbox.connection.release()
    assert Inbox(theirs(), "q").take(1) == [1]


def test_closing_a_channel_breaks_no_other() -> None:
    """Of the same connection, or another."""
    connection = ours()
    other = Inbox(connection, "q")
    closed = Inbox(connection, "q")
    closed.channel.close()
    _publish(ours(), 1)
    assert other.take(1) == [1]
    assert kombu.Queue("q").bind(connection.channel()).queue_declare().message_count == 0


def test_channels_and_consumers_take_turns() -> None:
    """Two channels of a connection, and two consumers of one queue on a channel."""
    connection = ours()
    a, b = Inbox(connection, "a"), Inbox(connection, "b")
    shared: list[int] = []
    second = kombu.Consumer(
        b.channel, [kombu.Queue("b")], on_message=lambda m: (shared.append(m.payload), m.ack())
    )
    second.consume()
    _publish(ours(), *range(20), queue="a")
    _publish(ours(), *range(20), queue="b")
    for _ in range(20):
        connection.drain_events(timeout=DEADLINE)
    assert (len(a.bodies), len(b.bodies), len(shared)) == (10, 5, 5)
    second.cancel()
    assert len(b.take(10)) == 10


def test_prefetch_bounds_what_is_held_and_another_thread_may_open_the_window() -> None:
    """The sleeping thread is woken by the acknowledgement."""
    _publish(ours(), 1, 2, 3)
    inbox = Inbox(ours(), "q", prefetch=2, acks=False)
    assert inbox.rest() == [1, 2]
    acker = threading.Timer(
        0.02,
        lambda: inbox.messages[1].channel.basic_ack(inbox.messages[1].delivery_tag, multiple=True),
    )
    acker.start()
    assert inbox.take(1) == [3]
    acker.join()
    inbox.messages[2].reject()
    inbox.channel.close()
    assert Inbox(ours(), "q").rest() == []


def test_a_fanout_from_a_stock_peer_is_acknowledged_queue_by_queue() -> None:
    """It puts one object into all queues, with one delivery tag."""
    exchange = kombu.Exchange("e", "fanout")
    inbox = Inbox(ours(), kombu.Queue("q1", exchange), kombu.Queue("q2", exchange), acks=False)
    kombu.Producer(theirs().channel()).publish(1, exchange="e")
    assert inbox.take(2) == [1, 1]
    inbox.messages[0].ack()
    inbox.channel.close()
    assert len(Inbox(ours(), "q1", "q2").rest()) == 1


def test_no_ack_consumers_hold_nothing() -> None:
    """Nor does getting by hand with no_ack."""
    _publish(ours(), 1, 2)
    inbox = Inbox(ours(), "q", no_ack=True)
    assert inbox.take(1) == [1]
    inbox.channel.close()
    queue = kombu.Queue("q").bind(ours().channel())
    message = queue.get()
    assert message is not None
    assert message.payload == 2
    message.requeue()
    assert queue.get(no_ack=True) is not None
    assert queue.get() is None


def test_a_queue_deleted_under_a_consumer_works_again_when_it_is_used_again() -> None:
    """Bound or not, and whoever deletes it."""
    inbox = Inbox(ours(), "q")
    inbox.rest()
    channel = ours().channel()
    kombu.Queue("q", kombu.Exchange("e", "fanout")).bind(channel).declare()
    channel.queue_delete("q")
    assert "q" not in stock.Channel.queues
    kombu.Producer(channel).publish(1, exchange="e")
    assert inbox.rest() == []
    _publish(ours(), 2)
    assert inbox.take(1) == [2]


def test_what_is_published_to_a_queue_that_is_not_there_is_dropped_and_makes_none() -> None:
    """Stock keeps it, for somebody who may never come."""
    kombu.Producer(ours().channel()).publish(1, routing_key="nobody")
    assert "nobody" not in stock.Channel.queues
    inbox = Inbox(ours(), "nobody")
    kombu.Producer(ours().channel()).publish(2, routing_key="nobody")
    assert inbox.take(1) == [2]
    assert inbox.rest() == []
    inbox.channel.queue_delete("nobody")
    kombu.Producer(ours().channel()).publish(3, routing_key="nobody")
    assert "nobody" not in stock.Channel.queues


def test_the_bodies_of_publisher_and_consumer_are_not_shared() -> None:
    """Changing the headers of one copy of a fan-out changes no other."""
    exchange = kombu.Exchange("e", "fanout")
    inbox = Inbox(ours(), kombu.Queue("q1", exchange), kombu.Queue("q2", exchange))
    kombu.Producer(ours().channel()).publish(b"x", exchange="e", headers={"h": 1})
    inbox.take(1)
    inbox.messages[0].headers["h"] = 2
    inbox.take(1)
    assert inbox.messages[1].headers == {"h": 1}
