"""The file of the local broker: its layout, what a claim costs, the full disk, the idle file."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from bus.wire.transports.local import topology
from bus.wire.transports.local.faults import BrokerGone, DiskFull
from bus.wire.transports.local.reserve import RESERVE_BYTES
from bus.wire.transports.local.store import FIND_READY, LOOK_READY, Outgoing, Store


def _declare(store: Store, name: str) -> int:
    store.change(
        "declaring", lambda db: topology.declare_queue(db, name, False, False, False, None)
    )
    return store.subscribe(name)


def _message(number: int = 0, size: int = 10, queue: str = "q") -> Outgoing:
    return Outgoing("", queue, json.dumps(number), bytes(size))


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    """An open store."""
    store = Store(path, "normal")
    yield store
    store.close()


def _reading(path: str) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{path}/broker.db?mode=ro", uri=True))


def test_everything_is_private_to_the_user(store: Store, path: str) -> None:
    """Who can write here can make workers run requests."""
    _declare(store, "q")
    store.publish([_message()])
    modes = {
        str(each.relative_to(path)): stat.S_IMODE(each.stat().st_mode)
        for each in [Path(path), *Path(path).rglob("*")]
    }
    assert modes.pop(".") == 0o700
    assert modes.pop("wake") == 0o700
    assert set(modes.values()) == {0o600}, modes


def test_the_file_can_shrink_and_survives_a_crash(store: Store, path: str) -> None:
    """auto_vacuum=INCREMENTAL is silently off when set too late; WAL lets readers look."""
    with _reading(path) as db:
        assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_taking_messages_reads_only_the_index(store: Store, path: str) -> None:
    """SQLite's own plan, with nothing else in it: no scan, no sorting."""
    with _reading(path) as db:
        for query, values in ((LOOK_READY, (1,)), (FIND_READY, (1, 10))):
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
            assert plan == ["SEARCH msg USING INDEX ready (queue=?)"]


def test_a_claim_costs_the_same_behind_a_backlog_of_20_000(store: Store) -> None:
    """Counted in steps of SQLite's virtual machine, not in time."""
    queue = _declare(store, "q")

    def steps_of_a_claim() -> int:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        store._db.set_progress_handler(count, 1)
        claimed = store.claim([queue], 1, ())
        store._db.set_progress_handler(None, 1)
        store.settle(done=[each.id for each in claimed])
        return steps

    store.publish([_message()] * 200)
    shallow = steps_of_a_claim()
    store.publish([_message()] * 20_000)
    assert 0 < steps_of_a_claim() <= shallow + 5


def test_several_queues_are_emptied_in_the_order_of_publishing(store: Store) -> None:
    """The oldest first, whichever queue it is in."""
    queues = [_declare(store, name) for name in "ab"]
    names = "abbaab"
    store.publish([_message(n, queue=name) for n, name in enumerate(names)])
    assert [json.loads(each.meta) for each in store.claim(queues, 4, ())] == [0, 1, 2, 3]
    assert [json.loads(each.meta) for each in store.claim(queues, 4, ())] == [4, 5]


def test_a_claim_of_large_messages_stops_early(store: Store) -> None:
    """A window of 500 is no licence for gigabytes."""
    queue = _declare(store, "q")
    store.publish([_message(size=6_000_000) for _ in range(5)])
    assert len(store.claim([queue], 500, ())) == 3


def test_acknowledging_what_another_owner_has_now_does_nothing(store: Store, path: str) -> None:
    """An owner deletes only what it holds."""
    queue = _declare(store, "q")
    store.publish([_message()])
    (claimed,) = store.claim([queue], 1, ())
    other = Store(path, "normal")
    other.settle(done=[claimed.id])
    other.settle(delivered=[claimed.id])
    assert other.claim([queue], 1, ()) == []
    other.close()
    store.settle(delivered=[claimed.id])
    assert store.claim([queue], 1, ())[0].redelivered


def test_large_bodies_leave_with_their_messages(store: Store, path: str) -> None:
    """By whichever way a message goes."""
    queue = _declare(store, "q")
    store.publish([_message(size=100_000) for _ in range(3)])
    store.settle(done=[store.claim([queue], 1, ())[0].id])
    store.change("purging", lambda db: topology.purge(db, "q"))
    store.publish([_message(size=100_000)])
    store.change("deleting", lambda db: topology.delete_queue(db, "q", False, False))
    with _reading(path) as db:
        assert db.execute("SELECT count(*) FROM big").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM msg").fetchone() == (0,)


def test_an_idle_consumer_shrinks_the_file(store: Store, path: str) -> None:
    """What a backlog took goes back to the disk once it is gone."""
    queue = _declare(store, "q")
    store.publish([_message(size=4000) for _ in range(5000)])
    while claimed := store.claim([queue], 500, ()):
        store.settle(done=[each.id for each in claimed])
    database = Path(path) / "broker.db"
    store.sweep()  # not idle: it has claimed since the last one
    for _ in range(20):
        store.sweep()
    assert database.stat().st_size < 2_000_000


def test_closing_takes_the_owner_out(path: str) -> None:
    """No row, no FIFO, and what it held is free; twice is fine."""
    first = Store(path, "normal")
    queue = _declare(first, "q")
    first.publish([_message()])
    first.claim([queue], 1, ())
    first.close()
    first.close()
    with _reading(path) as db:
        for table in ("owner", "sub"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        assert db.execute("SELECT owner, redelivered FROM msg").fetchone() == (0, 1)
    assert list((Path(path) / "wake").iterdir()) == []
    with pytest.raises(BrokerGone):
        first.publish([_message()])


@pytest.mark.parametrize("size", [300, 50_000, 3_000_000])
def test_a_full_disk_stops_publishers_and_not_consumers(small_disk: str, size: int) -> None:
    """The last space belongs to those who empty the queues; then publishing works again."""
    publisher = Store(f"{small_disk}/broker", "normal")
    _declare(publisher, "q")
    published = 0
    with pytest.raises(DiskFull, match="nothing was stored"):
        while True:
            publisher.publish([_message(published + n, size) for n in range(1 + 100_000 // size)])
            published += 1 + 100_000 // size
    with pytest.raises(DiskFull):
        publisher.publish([_message(size=size)])
    # Somebody else takes what is left of the disk, too.
    ballast = os.open(f"{small_disk}/ballast", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(ballast, bytes(4096))
    os.close(ballast)
    consumer = Store(f"{small_disk}/broker", "normal")
    queue = consumer.subscribe("q")
    numbers: list[int] = []
    done: list[int] = []
    while claimed := consumer.claim([queue], 100, done):
        done = [each.id for each in claimed]
        numbers += [json.loads(each.meta) for each in claimed]
    assert numbers == list(range(published))
    publisher.publish([_message(size=size)])
    assert len(consumer.claim([queue], 1, done)) == 1
    assert (Path(small_disk) / "broker" / "reserve").stat().st_size == RESERVE_BYTES
    publisher.close()
    consumer.close()


def test_messages_of_many_threads_are_all_there(path: str) -> None:
    """Several connections of a process, and several threads on one of them."""
    stores = [Store(path, "normal") for _ in range(3)]
    queue = _declare(stores[0], "q")
    generator = random.Random(1)
    sizes = [generator.choice([10, 5000]) for _ in range(300)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: stores[n % 2].publish([_message(n, sizes[n])]), range(len(sizes))))
    claimed = stores[2].claim([queue], 500, ())
    assert sorted(json.loads(each.meta) for each in claimed) == list(range(300))
    assert all(len(each.body) == sizes[json.loads(each.meta)] for each in claimed)
    for store in stores:
        store.close()
