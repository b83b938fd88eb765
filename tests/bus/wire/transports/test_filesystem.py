"""A folder as a broker, shared with kombu's own transport, with what goes wrong there.

What every broker must do is in ``tests/conformance``; taskflow's engines and workers in a folder
are in ``tests/interop``.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from kombu.transport import filesystem as stock

from bus.wire import Broker, Dispatcher, parse_url
from bus.wire.outgoing import Undeliverable
from bus.wire.transports.filesystem import post
from executor import Executor
from protocol.envelope import NOTIFY, Envelope
from protocol.errors import BrokerError, BrokerUnavailable, ConfigurationError
from protocol.parcel import Parcel, Received, Refused
from protocol.topology import Address, Names
from worker import Worker

DEADLINE = 20.0  # seconds for whatever a test waits for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The PATH of the URL; not there yet."""
    return tmp_path / "shared"


@pytest.fixture
def connect(folder: Path) -> Iterator[Callable[[], Broker]]:
    """Open connections of ours; closed after the test."""
    opened: list[Broker] = []

    def connect() -> Broker:
        opened.append(Broker(parse_url(f"filesystem://{folder}")))
        opened[-1].open()
        return opened[-1]

    yield connect
    for broker in opened:
        broker.close()


@pytest.fixture
def theirs(folder: Path, connect: Callable[[], Broker]) -> Iterator[Callable[[], Any]]:
    """Open channels of kombu's own, in the same folder; they remember nothing of other tests."""
    connect()  # which makes the folders
    options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.01,
    }
    opened: list[kombu.Connection] = []

    def theirs() -> Any:
        opened.append(kombu.Connection(transport="filesystem", transport_options=options))
        return opened[-1].channel()

    yield theirs
    for connection in opened:
        connection.release()
    stock.Transport.global_state.clear()


def bodies(broker: Broker, count: int) -> list[Any]:
    """The next ``count`` bodies, acknowledged."""
    found: list[Any] = []
    until = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < until:
        deliveries = broker.drain(0.1)
        found += [json.loads(delivery.message.body) for delivery in deliveries]
        broker.settle(deliveries)
    return found


def parcel(queue: str, body: object) -> Parcel:
    return Parcel(Address("", queue), Envelope(NOTIFY), json.dumps(body).encode())


def envelope(body: object) -> bytes:
    """A message as kombu writes it into a file."""
    properties = {"delivery_tag": "1", "delivery_info": {}, "body_encoding": None}
    return json.dumps(
        {"body": json.dumps(body), "content-type": "application/json", "properties": properties}
    ).encode()


NAMES = Names("native", "ex")
INBOX = NAMES.inbox("a")


# with kombu's own transport ----------------------------------------------------------------------


def test_what_kombu_writes_while_we_read_arrives_whole(
    connect: Callable[[], Broker], theirs: Callable[[], Any]
) -> None:
    """It opens a file under its name and fills it then; its own readers end by that."""
    reader = connect()
    reader.consume([INBOX])

    def write() -> None:
        producer = kombu.Producer(theirs())
        for n in range(200):
            producer.publish([n, "x" * (n * 300)], routing_key=INBOX.name)

    thread = threading.Thread(target=write)
    thread.start()
    found = bodies(reader, 200)
    thread.join(DEADLINE)
    assert sorted(n for n, _ in found) == list(range(200))
    assert all(len(text) == n * 300 for n, text in found)


def test_kombu_reads_what_we_write_in_the_order_of_writing(
    connect: Callable[[], Broker], theirs: Callable[[], Any]
) -> None:
    """Far more than one in a millisecond, of two connections by turns: also between those."""
    writers = connect(), connect()
    for n in range(150):
        writers[n % 2].publish([parcel("q", n)])
    channel = theirs()
    assert [json.loads(channel.basic_get("q", no_ack=True).body) for _ in range(150)] == list(
        range(150)
    )


def test_readers_of_ours_and_of_kombus_share_a_queue(
    connect: Callable[[], Broker], theirs: Callable[[], Any]
) -> None:
    writer, reader, channel = connect(), connect(), theirs()
    reader.consume([INBOX])
    writer.publish([parcel(INBOX.name, n) for n in range(100)])
    found: list[int] = []
    while len(found) < 100:
        message = channel.basic_get(INBOX.name, no_ack=True)
        found += [json.loads(message.body)] if message else []
        deliveries = reader.drain(0.0001)[:500]
        found += [json.loads(delivery.message.body) for delivery in deliveries]
        reader.settle(deliveries)
    assert sorted(found) == list(range(100))


def test_what_a_live_peer_of_kombus_has_bound_and_somebody_wiped_is_bound_again_by_its_reader(
    connect: Callable[[], Broker], theirs: Callable[[], Any], folder: Path
) -> None:
    """It remembers that it has bound a topic, and would drop every message from then on."""
    topic = Names("taskflow", "flows").topic("t")
    reader = connect()
    reader.consume([topic])
    assert topic.exchange is not None
    exchange = kombu.Exchange("flows", "direct", durable=False, auto_delete=True)
    queue = kombu.Queue(topic.name, exchange, "t", durable=False, auto_delete=True)
    producer = kombu.Producer(theirs())
    for wiped in (False, True):
        if wiped:
            (folder / "control" / "flows.exchange").unlink()
            reader.refresh()
        producer.publish([wiped], exchange=exchange, routing_key="t", declare=[queue])
        assert bodies(reader, 1) == [[wiped]]


# what is no message, or not yet ------------------------------------------------------------------


def test_a_message_that_is_still_being_written_is_waited_for_and_keeps_its_place(
    connect: Callable[[], Broker], folder: Path
) -> None:
    reader = connect()
    reader.consume([INBOX])
    with (folder / "messages" / f"1_a.{INBOX.name}.msg").open("wb", buffering=0) as slow:
        (folder / "messages" / f"2_b.{INBOX.name}.msg").write_bytes(envelope("second"))
        assert reader.drain(0.1) == []
        whole = envelope("first")
        slow.write(whole[:10])
        assert reader.drain(0.1) == []
        slow.write(whole[10:])
    assert bodies(reader, 2) == ["first", "second"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        envelope("cut")[:-1],
        b"null",
        b'"text"',
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"properties": []}',
        b'{"properties": {"body_encoding": "rot13"}, "body": "x"}',
        b'{"properties": {"body_encoding": "base64"}, "body": "\\u2603"}',
        b'{"properties": {"delivery_info": [1]}, "body": {}}',
        b'{"properties": {}, "headers": [], "body": 5}',
    ],
)
def test_what_is_no_message_is_refused_and_costs_nothing_else(
    connect: Callable[[], Broker], folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """Cut by a full disk, or anything that somebody put there."""
    monkeypatch.setattr(post, "GRACE", 0.05)
    reader = connect()
    reader.consume([INBOX])
    (folder / "messages" / f"1_a.{INBOX.name}.msg").write_bytes(content)
    connect().publish([parcel(INBOX.name, {})])
    dispatcher = Dispatcher(at_worker=False)
    found: list[Received | Refused] = []
    until = time.monotonic() + DEADLINE
    while len(found) < 2 and time.monotonic() < until:
        deliveries = reader.drain(0.1)
        found += dispatcher.sort(deliveries)
        reader.settle(deliveries)
    assert [type(each) for each in found] == [Refused, Refused]  # ours is no hello
    assert found[0].kind is None  # type: ignore[union-attr]
    assert found[1].kind == NOTIFY  # type: ignore[union-attr]
    assert list((folder / "messages").iterdir()) == []


def test_a_file_that_is_too_large_is_not_read(
    connect: Callable[[], Broker], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "LARGEST", 1000)
    reader = connect()
    reader.consume([INBOX])
    (folder / "messages" / f"1_a.{INBOX.name}.msg").write_bytes(envelope("x" * 2000))
    (delivery,) = reader.drain(DEADLINE)
    assert not delivery.message.body
    with pytest.raises(Undeliverable, match="1000 is the most"):
        connect().publish([parcel("q", "x" * 2000)])


def test_links_pipes_and_folders_are_left_alone(
    connect: Callable[[], Broker], folder: Path, tmp_path: Path
) -> None:
    reader = connect()
    reader.consume([INBOX])
    messages = folder / "messages"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(envelope("stolen"))
    (messages / f"1_a.{INBOX.name}.msg").symlink_to(elsewhere)
    os.mkfifo(messages / f"2_b.{INBOX.name}.msg")
    (messages / f"3_c.{INBOX.name}.msg").mkdir()
    connect().publish([parcel(INBOX.name, "good")])
    assert bodies(reader, 1) == ["good"]
    assert len(list(messages.iterdir())) == 3


@pytest.mark.parametrize("other", ["x.ex.native_a", "ex.native_ab", "ex.native_a.msg", "a", "_a"])
def test_a_queue_takes_nothing_of_one_whose_name_is_alike(
    connect: Callable[[], Broker], other: str
) -> None:
    reader, writer = connect(), connect()
    reader.consume([INBOX])
    writer.publish([parcel(other, "not ours"), parcel(INBOX.name, "ours")])
    assert bodies(reader, 1) == ["ours"]
    assert reader.drain(0.05) == []


def test_a_reply_cannot_be_written_elsewhere(connect: Callable[[], Broker], folder: Path) -> None:
    with pytest.raises(Undeliverable, match="cannot be a file's name"):
        connect().publish([parcel("../../elsewhere", "x")])
    assert {path.name for path in folder.parent.iterdir()} == {"shared"}


# whose it is --------------------------------------------------------------------------------------


def test_what_is_given_back_is_where_it_was(connect: Callable[[], Broker]) -> None:
    first, writer = connect(), connect()
    first.consume([INBOX])
    writer.publish([parcel(INBOX.name, n) for n in range(5)])
    held = []
    while len(held) < 5:
        held += first.drain(0.1)
    writer.publish([parcel(INBOX.name, 5)])
    first.close()
    second = connect()
    second.consume([INBOX])
    assert bodies(second, 6) == list(range(6))


def test_a_forked_child_keeps_nothing_of_a_reader_that_died(
    connect: Callable[[], Broker], folder: Path
) -> None:
    """It inherits the lock by which its parent counts as alive, and lets go of it."""
    connect().publish([parcel(INBOX.name, "held")])
    holds, told = os.pipe()
    until_the_end, end = os.pipe()
    reader = os.fork()
    if reader == 0:  # it takes the message, leaves a child behind and dies
        try:
            broker = Broker(parse_url(f"filesystem://{folder}"))
            broker.open()
            broker.consume([INBOX])
            while not broker.drain(0.1):
                pass
            if os.fork() == 0:
                os.close(end)
                os.read(until_the_end, 1)
            else:
                os.write(told, b"x")
        finally:
            os._exit(0)
    try:
        assert os.read(holds, 1) == b"x"
        os.waitpid(reader, 0)
        successor = connect()
        successor.consume([INBOX])
        assert bodies(successor, 1) == ["held"]
    finally:
        for descriptor in (holds, told, until_the_end, end):
            os.close(descriptor)


def test_a_connection_leaves_nothing_of_its_own(folder: Path) -> None:
    broker = Broker(parse_url(f"filesystem://{folder}"))
    broker.open()
    broker.consume([INBOX])
    assert len(list((folder / "taskline").iterdir())) == 2  # a desk, and its lock
    broker.close()
    broker.close()
    assert list((folder / "taskline").iterdir()) == []


def test_what_we_wrote_and_nobody_reads_goes_after_a_day_and_nothing_else(
    connect: Callable[[], Broker], folder: Path
) -> None:
    """Answers to engines that are gone. What a peer of kombu's left is not ours to remove."""
    connect().publish([parcel("gone", "old"), parcel("gone", "new")])
    old, _ = sorted((folder / "messages").iterdir())
    foreign = folder / "messages" / "1_a.gone.msg"
    foreign.write_bytes(envelope("theirs"))
    before = time.time() - post.KEPT - 60
    for path in (old, foreign):
        os.utime(path, (before, before))
    reader = connect()
    reader.consume([INBOX])
    reader.drain(0.01)
    assert not old.exists()
    assert len(list((folder / "messages").iterdir())) == 2


# what the system does ----------------------------------------------------------------------------


def test_on_a_full_disk_nothing_is_left_and_reading_goes_on(small_disk: str) -> None:
    """kombu leaves a cut file behind, by which its readers end."""
    folder = Path(small_disk) / "shared"
    broker = Broker(parse_url(f"filesystem://{folder}"))
    broker.open()
    broker.consume([INBOX])
    sent = 0
    with pytest.raises(BrokerError, match="nothing was stored: free space"):
        for sent in range(1000):
            broker.publish([parcel(INBOX.name, [sent, "x" * 900_000])])
    assert [n for n, _ in bodies(broker, sent)] == list(range(sent))
    assert list((folder / "messages").iterdir()) == []
    broker.publish([parcel(INBOX.name, [0, "there is room again"])])
    assert bodies(broker, 1) == [[0, "there is room again"]]
    broker.close()


def test_a_folder_that_was_removed_behind_our_back_is_made_again(
    connect: Callable[[], Broker], folder: Path
) -> None:
    reader, writer = connect(), connect()
    reader.consume([INBOX])
    folder.rename(folder.with_name("away"))
    with pytest.raises(BrokerError, match="this user may write"):
        writer.publish([parcel(INBOX.name, 1)])
    with pytest.raises(Exception, match="this user may write"):
        for _ in range(100):
            reader.drain(0.1)
    reader.open()
    reader.consume([INBOX])
    writer.open()
    writer.publish([parcel(INBOX.name, 2)])
    assert bodies(reader, 1) == [2]


def test_a_path_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerUnavailable, match="it must be a folder") as caught:
        Broker(parse_url(f"filesystem://{tmp_path}/file")).open()
    assert "is it running" not in str(caught.value)


# who may be there --------------------------------------------------------------------------------


def test_our_own_dialect_is_refused_there_with_the_way_out(folder: Path) -> None:
    """A folder forgets no queue, and would fill for every worker that was ever killed."""
    url = f"filesystem://{folder}"
    for refused in (
        lambda: Worker(["json"], url=url),
        lambda: Executor(url),
        lambda: Executor(url, workers=2),
        lambda: Executor(url, dialects=["native", "taskflow"]),
    ):
        with pytest.raises(ConfigurationError, match="local://"):
            refused()
    assert not folder.exists()
