"""What every broker must do for us: one suite over local, memory, Redis, RabbitMQ and a folder.

It speaks to them through ``bus.wire.Broker``, as the listener and the publisher do, with a
connection of its own for each thread. What a broker cannot do by its nature is said where it is
left out.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bus.wire import Broker, parse_url
from bus.wire import broker as room
from protocol.envelope import NOTIFY, Envelope
from protocol.errors import BrokerError
from protocol.parcel import Parcel
from protocol.topology import Address, Exchange, Names, Queue
from tests import brokers

DEADLINE = 20.0  # seconds for whatever a test waits for


@pytest.fixture(
    params=[
        "local",
        "memory",
        "filesystem",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.rabbitmq),
    ]
)
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each of the brokers in turn; below the dialects, so that a folder can be asked the same."""
    if request.param == "redis":
        return brokers.demand(brokers.REDIS_URL)
    if request.param == "amqp":
        return brokers.demand(brokers.AMQP_URL)
    return "memory://" if request.param == "memory" else f"{request.param}://{tmp_path}/broker"


@pytest.fixture
def names(exchange: str) -> Names:
    """The native names under an exchange of this test's own."""
    return Names("native", exchange)


@contextmanager
def connected(url: str) -> Iterator[Broker]:
    """An open connection."""
    broker = Broker(parse_url(url))
    broker.open()
    try:
        yield broker
    finally:
        broker.close()


def parcel(address: Address, body: bytes) -> Parcel:
    """A message that carries ``body`` and nothing else of interest."""
    return Parcel(address, Envelope(NOTIFY), body)


def bodies(broker: Broker, count: int, *, settle: bool = True) -> list[bytes]:
    """The next ``count`` bodies delivered here, acknowledged unless told otherwise."""
    found: list[bytes] = []
    deadline = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < deadline:
        deliveries = broker.drain(0.2)
        found += [as_bytes(delivery.message.body) for delivery in deliveries]
        if settle:
            broker.settle(deliveries)
    return found


def as_bytes(body: bytes | str | memoryview) -> bytes:
    """A body as bytes, whichever way the transport hands it over."""
    return body.encode() if isinstance(body, str) else bytes(body)


def numbered(count: int) -> list[bytes]:
    """Bodies that can be told apart."""
    return [f'{{"n": {n}}}'.encode() for n in range(count)]


def test_large_bodies_are_taken_a_few_at_a_time(
    broker_url: str, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred of the largest would be 8 GB; the rest waits at the broker."""
    monkeypatch.setattr(room, "MOST_BYTES_AT_ONCE", 10_000)
    queue, address = names.inbox("a"), names.to_inbox("a")
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume([queue])
        writer.publish([parcel(address, bytes(4_000)) for _ in range(20)])
        lists: list[int] = []
        deadline = time.monotonic() + DEADLINE
        while sum(lists) < 20 and time.monotonic() < deadline:
            deliveries = reader.drain(0.2)
            lists.append(len(deliveries))
            reader.settle(deliveries)
        assert sum(lists) == 20
        assert max(lists) <= 3


def test_a_queue_keeps_the_order_of_what_was_published(broker_url: str, names: Names) -> None:
    """In lists and one by one, all published on one connection."""
    queue, address = names.inbox("a"), names.to_inbox("a")
    sent = numbered(300)
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume([queue])
        writer.publish([parcel(address, body) for body in sent[:100]])
        for body in sent[100:110]:
            writer.publish([parcel(address, body)])
        writer.publish([parcel(address, body) for body in sent[110:]])
        assert bodies(reader, 300) == sent


def test_what_is_published_before_there_is_a_reader_waits(broker_url: str, names: Names) -> None:
    """A topic's queue is declared by its publisher as well."""
    with connected(broker_url) as writer:
        writer.publish([parcel(names.to_topic("t"), b'"early"')])
    with connected(broker_url) as reader:
        reader.consume([names.topic("t")])
        assert bodies(reader, 1) == [b'"early"']


def test_what_is_published_to_a_queue_that_nobody_declared_is_dropped(
    broker_url: str, names: Names
) -> None:
    """Anybody can have an answer sent to a name that is nobody's: nothing must grow by that.

    On Redis a list is there once something is pushed, and ours expire; in a folder, a file.
    """
    if broker_url.startswith(("redis", "filesystem")):
        pytest.skip("there to publish to a queue is to make it")
    with connected(broker_url) as writer, connected(broker_url) as reader:
        writer.publish([parcel(names.to_inbox("nobody"), b'"before"')])
        reader.consume([names.inbox("nobody")])
        writer.publish([parcel(names.to_inbox("nobody"), b'"after"')])
        assert bodies(reader, 1) == [b'"after"']
        assert reader.drain(0.2) == []


def test_each_message_goes_to_one_of_several_consumers(broker_url: str, names: Names) -> None:
    """Three readers of one queue, on three connections in three threads: each message once."""
    queue, address = names.topic("shared"), names.to_topic("shared")
    sent = numbered(300)
    taken: list[list[bytes]] = [[], [], []]
    ready = threading.Barrier(4, timeout=DEADLINE)
    enough = threading.Event()
    lock = threading.Lock()

    def read(mine: list[bytes]) -> None:
        with connected(broker_url) as reader:
            reader.consume([queue])
            ready.wait()
            while not enough.is_set():
                deliveries = reader.drain(0.1)
                reader.settle(deliveries)
                with lock:
                    mine += [as_bytes(delivery.message.body) for delivery in deliveries]
                    if sum(map(len, taken)) >= len(sent):
                        enough.set()

    readers = [threading.Thread(target=read, args=(mine,)) for mine in taken]
    for thread in readers:
        thread.start()
    ready.wait()
    with connected(broker_url) as writer:
        for start in range(0, 300, 10):
            writer.publish([parcel(address, body) for body in sent[start : start + 10]])
    assert enough.wait(DEADLINE)
    for thread in readers:
        thread.join(DEADLINE)
    assert sorted(taken[0] + taken[1] + taken[2]) == sorted(sent)


def test_a_fan_out_reaches_every_queue_that_is_bound_to_it(broker_url: str, names: Names) -> None:
    """Each worker process hears a call on a queue of its own, and its inbox as well."""
    with (
        connected(broker_url) as one,
        connected(broker_url) as two,
        connected(broker_url) as writer,
    ):
        one.consume([names.inbox("one"), names.call_queue("one")])
        two.consume([names.inbox("two"), names.call_queue("two")])
        one.drain(0.3)  # Redis subscribes with the first drain
        two.drain(0.3)
        writer.publish(
            [
                parcel(names.to_everybody(names.call), b'"all"'),
                parcel(names.to_inbox("one"), b'"one"'),
                parcel(names.to_inbox("two"), b'"two"'),
            ]
        )
        assert sorted(bodies(one, 2)) == [b'"all"', b'"one"']
        assert sorted(bodies(two, 2)) == [b'"all"', b'"two"']


def test_one_connection_may_consume_several_queues(broker_url: str, names: Names) -> None:
    """As a worker of several topics does."""
    topics = ["t1", "t2", "t3"]
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume([names.topic(topic) for topic in topics])
        writer.publish([parcel(names.to_topic(topic), f'"{topic}"'.encode()) for topic in topics])
        assert sorted(bodies(reader, 3)) == [b'"t1"', b'"t2"', b'"t3"']


def test_bodies_of_a_megabyte_arrive_whole_from_several_publishers(
    broker_url: str, names: Names
) -> None:
    """Nothing is torn or mixed while three threads write on connections of their own."""
    sent = [b'"' + bytes([65 + n]) * 1_000_000 + b'"' for n in range(6)]

    def write(mine: list[bytes]) -> None:
        with connected(broker_url) as writer:
            for body in mine:
                writer.publish([parcel(names.to_inbox("big"), body)])

    with connected(broker_url) as reader:
        reader.consume([names.inbox("big")])
        writers = [threading.Thread(target=write, args=(sent[n::3],)) for n in range(3)]
        for thread in writers:
            thread.start()
        found = bodies(reader, 6)
        for thread in writers:
            thread.join(DEADLINE)
    assert sorted(found) == sent


def test_what_a_reader_did_not_acknowledge_comes_back_when_it_disconnects(
    broker_url: str, names: Names
) -> None:
    """A clean close gives back, in order, what was delivered and not settled."""
    queue, address = names.topic("held"), names.to_topic("held")
    sent = numbered(5)
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume([queue])
        writer.publish([parcel(address, body) for body in sent])
        assert bodies(reader, 5, settle=False) == sent
    with connected(broker_url) as successor:
        successor.consume([queue])
        assert bodies(successor, 5) == sent


_HOLDER = """
import sys
from bus.wire import Broker, parse_url
from protocol.topology import Names
broker = Broker(parse_url(sys.argv[1]))
broker.open()
broker.consume([Names("native", sys.argv[2]).topic("killed")])
held = 0
while held < 5:
    held += len(broker.drain(1.0))
print("holding", flush=True)
while True:
    broker.drain(1.0)
"""


def test_what_a_reader_held_comes_back_after_its_process_was_killed(
    broker_url: str, names: Names
) -> None:
    """kill -9 of a process that has taken five messages and acknowledged none.

    Redis gives them back when kombu's visibility timeout (ours: 10 s) has passed. What is in memory
    ends with its process, so there a killed reader leaves no successor.
    """
    if broker_url.startswith("memory:"):
        pytest.skip("memory:// lives in one process: killing the reader ends the broker with it")
    sent = numbered(5)
    with ExitStack() as stack:
        writer = stack.enter_context(connected(broker_url))
        writer.publish([parcel(names.to_topic("killed"), body) for body in sent])
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, broker_url, names.exchange],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"holding\n"
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait(DEADLINE)
            holder.stdout.close()
        reader = stack.enter_context(connected(broker_url))
        reader.consume([names.topic("killed")])
        found = bodies(reader, 5)
    # Redis: kombu gives one back at a time, which may change places.
    assert sorted(found) == sent if broker_url.startswith("redis") else found == sent


def test_taking_a_message_costs_the_same_whatever_waits_behind_it(
    broker_url: str, names: Names
) -> None:
    """CPU time of taking 200 with 200 queued and with 10,000: one that walks the queue is 50 times
    slower, and a factor of five is far beyond noise.
    """
    queue, address = names.inbox("deep"), names.to_inbox("deep")
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.declare(queue)

        def cost_of_taking(backlog: int) -> float:
            for start in range(0, backlog, 500):
                writer.publish([parcel(address, b"1")] * min(500, backlog - start))
            with connected(broker_url) as taker:
                taker.consume([queue])
                taken, spent = 0, []
                while taken < backlog:
                    began = time.thread_time()
                    deliveries = taker.drain(1.0)
                    taker.settle(deliveries)
                    if deliveries:
                        spent += [(time.thread_time() - began) / len(deliveries)] * len(deliveries)
                        taken += len(deliveries)
                return statistics.median(spent[:200])

        shallow = cost_of_taking(200)
        deep = cost_of_taking(2_000 if broker_url.startswith("redis") else 10_000)
    assert deep < 5 * shallow


def test_an_idle_reader_is_woken_by_a_message(broker_url: str, names: Names) -> None:
    """Asleep in a drain of a minute, it returns with the message as soon as there is one."""
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume([names.inbox("idle")])
        reader.drain(0.2)
        about_to_sleep = threading.Event()

        def publish() -> None:
            about_to_sleep.wait(DEADLINE)
            writer.publish([parcel(names.to_inbox("idle"), b'"wake"')])

        thread = threading.Thread(target=publish)
        thread.start()
        began = time.monotonic()
        about_to_sleep.set()
        deliveries = reader.drain(3 * DEADLINE)
        woken_after = time.monotonic() - began
        thread.join(DEADLINE)
        assert [as_bytes(delivery.message.body) for delivery in deliveries] == [b'"wake"']
        assert woken_after < DEADLINE


def test_a_drain_with_nothing_to_take_returns_at_its_deadline(
    broker_url: str, names: Names
) -> None:
    """Every wait has a deadline."""
    with connected(broker_url) as reader:
        reader.consume([names.inbox("empty")])
        began = time.monotonic()
        assert reader.drain(0.3) == []
        assert time.monotonic() - began < DEADLINE


def test_a_deleted_queue_loses_what_was_in_it_and_nothing_else(
    broker_url: str, names: Names
) -> None:
    """As a worker does with its inbox when it ends."""
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume([names.inbox("gone"), names.inbox("stays")])
        reader.delete(names.inbox("gone"))
        writer.publish([parcel(names.to_inbox("stays"), b'"kept"')])
    with connected(broker_url) as reader:
        reader.consume([names.inbox("gone"), names.inbox("stays")])
        assert bodies(reader, 1) == [b'"kept"']


# what somebody deletes ----------------------------------------------------------------------------


def refreshed(broker: Broker, *queues: Queue) -> None:
    """Do what a listener does every few seconds, until what is consumed is heard again."""
    try:
        broker.refresh()
        broker.drain(0.2)  # RabbitMQ's answer, if it has something to say against it
    except Exception:
        broker.open()
        broker.consume(queues)
        broker.drain(0.2)


def deleted(url: str, *things: Queue | Exchange) -> None:
    """Somebody deletes these, by hand."""
    with connected(url) as somebody:
        for thing in things:
            if isinstance(thing, Queue):
                somebody.delete(thing)
            else:
                somebody._entity(thing).delete()


def test_a_queue_that_somebody_deleted_is_heard_again(broker_url: str, names: Names) -> None:
    """As often as it happens; what was in it is lost, and said again by its sender."""
    queues = names.inbox("a"), names.call_queue("a")
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume(queues)
        for n in range(3):
            deleted(broker_url, *queues)
            refreshed(reader, *queues)
            writer.publish(
                [
                    parcel(names.to_inbox("a"), f'"one {n}"'.encode()),
                    parcel(names.to_everybody(names.call), f'"all {n}"'.encode()),
                ]
            )
            assert sorted(bodies(reader, 2)) == [f'"all {n}"'.encode(), f'"one {n}"'.encode()]


def publish(writer: Broker, address: Address, body: bytes) -> None:
    """As a publisher does: what is refused is sent again on another connection."""
    try:
        writer.publish([parcel(address, body)])
    except BrokerError:
        writer.open()
        writer.publish([parcel(address, body)])


def test_what_is_published_to_a_queue_that_somebody_deleted_is_there(
    broker_url: str, exchange: str
) -> None:
    """For what its publisher declares as well: a topic, and whatever is taskflow's."""
    native, flows = Names("native", exchange), Names("taskflow", exchange)
    addresses = native.to_topic("t"), flows.to_topic("t"), flows.to_replies("ex")
    queues = native.topic("t"), flows.topic("t"), flows.replies("ex")
    with connected(broker_url) as writer:
        for address in addresses:
            publish(writer, address, b'"before"')
        deleted(broker_url, *queues)  # and with its last queue, on AMQP, taskflow's exchange
        for address in addresses:
            publish(writer, address, b'"after"')
        with connected(broker_url) as reader:
            reader.consume(queues)
            assert bodies(reader, 3) == [b'"after"'] * 3


def test_what_is_published_to_an_exchange_that_somebody_deleted_is_there(
    broker_url: str, exchange: str
) -> None:
    """Its readers have bound themselves again, or its publisher has."""
    native, flows = Names("native", exchange), Names("taskflow", exchange)
    to_all, to_one = native.to_everybody(native.call), flows.to_topic("t")
    queues = native.call_queue("a"), flows.topic("t")
    with connected(broker_url) as reader, connected(broker_url) as writer:
        reader.consume(queues)
        reader.drain(0.2)
        for n in range(3):
            for address in (to_all, to_one):
                publish(writer, address, f"{n}".encode())
            assert bodies(reader, 2) == [f"{n}".encode()] * 2
            deleted(broker_url, native.call, flows.topic("t").exchange or native.call)
            refreshed(reader, *queues)
