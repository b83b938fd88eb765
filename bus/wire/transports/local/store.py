"""One connection to a broker's file: every transaction, and the life of an owner.

A ``Store`` is one *owner*: an id never used again, a lock byte that says it is alive, a FIFO to be
woken at, and the messages it holds. Any thread may call it, except ``sweep`` and ``wait``, which
belong to the thread that drains. After a fork the child gets ForkedConnection from everything but
``close``, which does nothing there.

Every write is: our lock -> the process's mutex and the turn (``owners``) -> ``BEGIN IMMEDIATE`` ...
``COMMIT``. Nothing of a user's runs inside. Errors are those of ``faults``.

Why no message falls between a publisher and a consumer that is about to sleep: a consumer writes
its subscription before its first look, and a publisher reads the subscriptions in the transaction
that adds the message. So either the look sees the message, or the publisher sees the subscription.
"""

from __future__ import annotations

import heapq
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from bus.wire.transports.local import layout, pages, place, topology
from bus.wire.transports.local.faults import (
    BrokerGone,
    DiskFull,
    ForkedConnection,
    Unroutable,
    translated,
    translation,
)
from bus.wire.transports.local.owners import Owners, owners_of
from bus.wire.transports.local.reserve import Reserve
from bus.wire.transports.local.wake import Bell, Ringer

__all__ = ["Claimed", "Outgoing", "Store"]

logger = logging.getLogger("taskline.bus.wire.transports.local.store")

SWEEP_INTERVAL = 0.25  # seconds between looks for the dead
CLAIM_BYTES = 16 * 1024 * 1024  # a claim stops here, so that a window of large messages is no flood
_VACUUM_FROM = 256  # free pages (of 4 KiB) from which an idle consumer shrinks the file
_WORTH_IT = 1024  # free pages for which a publisher may borrow the reserve
_SLICES_AT_A_TIME = 8  # by an idle consumer, each in a turn of its own

T = TypeVar("T")
#: Both must be answered from the index ``ready`` alone (a test asks SQLite for its plan).
LOOK_READY = "SELECT 1 FROM msg WHERE queue = ? AND owner = 0 LIMIT 1"
FIND_READY = "SELECT id, queue FROM msg WHERE queue = ? AND owner = 0 ORDER BY id LIMIT ?"
_RETURN = "UPDATE msg SET owner = 0, redelivered = redelivered | ? WHERE id = ? AND owner = ?"


def _nothing() -> None:
    """There is nothing to undo."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way in."""

    exchange: str
    routing_key: str
    #: JSON: everything but the body.
    meta: str
    body: bytes
    #: Raise Unroutable if no queue gets it.
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours until it is settled or given back."""

    id: int
    queue: int
    redelivered: bool
    meta: str
    body: bytes


class Store:
    """An open connection. ``Store(path, sync)`` opens it; ``close`` gives back what it holds."""

    def __init__(self, path: str, sync: str) -> None:
        self._pid = os.getpid()
        self._closed = False
        #: Our id; ids are never used again, except one that was rolled back.
        self.owner = 0
        self._bell: Bell | None = None
        #: Guards the database handle (one statement at a time) and ``_closed``.
        self._lock = threading.RLock()
        with translated("opening", path):
            self.path = place.prepare(path)
            self._owners: Owners = owners_of(self.path)
        try:
            with translated("opening", path):
                self._reserve = Reserve(self.path)
                os.makedirs(os.path.join(self.path, "wake"), 0o700, exist_ok=True)
                self._ringer = Ringer(os.path.join(self.path, "wake"))
                self._db = self._connect(sync)
            try:
                self._write("registering", self._register, relief=True, undo=self._unregister)
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._owners.let_go()
            raise
        self._next_sweep = 0.0
        self._claimed_since_sweep = True
        self.sweep()

    def _connect(self, sync: str) -> sqlite3.Connection:
        with self._owners.turn:
            try:
                with translated("opening", self.path):
                    return layout.connect(self.path, sync)
            except DiskFull:  # perhaps we come to empty a queue
                self._reserve.release()
                return layout.connect(self.path, sync)

    def _register(self, db: sqlite3.Connection) -> None:
        row = db.execute("INSERT INTO owner (pid) VALUES (?)", (self._pid,))
        self.owner = row.lastrowid or 0
        self._owners.live(self.owner)  # before the commit: nobody sees an owner that seems dead
        self._bell = Bell(os.path.join(self.path, "wake"), self.owner)

    def _unregister(self) -> None:
        """Inside the turn: what is rolled back may be the next one's owner id."""
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        self._owners.leave(self.owner)

    @property
    def _own_bell(self) -> Bell:
        assert self._bell is not None, "registered in __init__"
        return self._bell

    @property
    def is_usable(self) -> bool:
        """Open, and in the process that opened it."""
        return not self._closed and os.getpid() == self._pid

    # transactions ---------------------------------------------------------------------------------

    def _ensure_ours(self, doing: str) -> None:
        if os.getpid() != self._pid:
            raise ForkedConnection(
                f"{doing} in process {os.getpid()} on a connection of process {self._pid} to the "
                f"local broker {self.path}: connections do not survive a fork, open a new one in a "
                "process started with 'spawn' or 'forkserver'"
            )

    def _ensure_open(self, doing: str) -> None:
        """Inside our lock."""
        if self._closed:
            raise BrokerGone(f"{doing}: the connection to {self.path} is closed")

    @contextmanager
    def _usable(self, doing: str) -> Iterator[sqlite3.Connection]:
        """The database handle, alone and with errors translated."""
        self._ensure_ours(doing)
        with self._lock:
            self._ensure_open(doing)
            with translated(doing, self.path):
                yield self._db

    def _in_transaction(
        self, doing: str, work: Callable[[sqlite3.Connection], T], undo: Callable[[], None]
    ) -> T:
        # Once or twice for every message: no generators here.
        self._ensure_ours(doing)
        with self._lock:
            self._ensure_open(doing)
            db = self._db
            try:
                with self._owners.turn:
                    db.execute("BEGIN IMMEDIATE")
                    try:
                        result = work(db)
                        db.execute("COMMIT")
                    except BaseException:
                        if db.in_transaction:  # a full disk makes SQLite roll back by itself
                            db.execute("ROLLBACK")
                        undo()
                        raise
                    return result
            except (sqlite3.Error, OSError) as error:
                raise translation(error, doing, self.path) from error

    def _write(
        self,
        doing: str,
        work: Callable[[sqlite3.Connection], T],
        *,
        relief: bool,
        undo: Callable[[], None] = _nothing,
    ) -> T:
        """Run ``work`` in one transaction. ``relief``: it may use the reserve of a full disk.

        ``undo`` runs after a rollback, still inside the turn.
        """
        try:
            return self._in_transaction(doing, work, undo)
        except DiskFull:
            if not relief:
                raise
        with self._usable(doing) as db, self._owners.turn:
            self._reserve.release()
            pages.checkpoint(db)
        return self._in_transaction(doing, work, undo)

    # publishing -----------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Store all of these or none, in order, and wake who subscribes to their queues.

        Raises DiskFull, NotFound (an exchange), Unroutable (a mandatory one), BrokerGone.
        """
        if not self._reserve.stands():
            self._restore_reserve()
        try:
            readers = self._write("publishing", lambda db: self._insert(db, messages), relief=False)
        except DiskFull:
            with self._usable("publishing") as db, self._owners.turn:
                self._make_room(db)
            readers = self._write("publishing", lambda db: self._insert(db, messages), relief=False)
        self._ringer.ring(readers)

    def _insert(self, db: sqlite3.Connection, messages: Sequence[Outgoing]) -> set[int]:
        routes: dict[tuple[str, str], list[int]] = {}
        for message in messages:
            address = message.exchange, message.routing_key
            queues = routes.get(address)
            if queues is None:
                queues = routes[address] = topology.route(db, *address)
            if message.mandatory and not queues:
                raise Unroutable(
                    f"no queue would get a message for {message.routing_key!r} through exchange "
                    f"{message.exchange!r}; nothing of its batch was published"
                )
            for queue in queues:
                self._insert_one(db, queue, message)
        readers: set[int] = set()
        for queue in {queue for queues in routes.values() for queue in queues}:
            readers.update(_subscribers(db, queue))
        return readers

    @staticmethod
    def _insert_one(db: sqlite3.Connection, queue: int, message: Outgoing) -> None:
        body = message.body
        if len(body) <= layout.INLINE_BYTES:
            db.execute(
                "INSERT INTO msg (queue, meta, body) VALUES (?, ?, ?)", (queue, message.meta, body)
            )
            return
        row = db.execute("INSERT INTO msg (queue, meta) VALUES (?, ?)", (queue, message.meta))
        db.execute("INSERT INTO big VALUES (?, ?)", (row.lastrowid, body))

    def _restore_reserve(self) -> None:
        """Publishers work behind a full reserve only; make room for it once, or raise DiskFull."""
        with self._usable("publishing") as db, self._owners.turn:
            try:
                self._reserve.restore()
            except OSError:
                self._make_room(db)
                self._reserve.restore()

    def _make_room(self, db: sqlite3.Connection) -> None:
        """For a publisher on a full disk: give back what the file does not need; inside the turn.

        That itself writes to the log, perhaps with no byte left for it. Then, and only if the file
        will give back more than it takes, the reserve lends its space and is restored at once.
        """
        try:
            pages.shrink(db)
        except sqlite3.OperationalError:
            if pages.free_pages(db) < _WORTH_IT:
                raise
            self._reserve.release()
            pages.shrink(db)
            self._reserve.restore()

    # consuming ------------------------------------------------------------------------------------

    def subscribe(self, name: str) -> int:
        """Be woken for this queue from now on; its id. Raises NotFound."""

        def work(db: sqlite3.Connection) -> int:
            queue = topology.queue_id(db, name)
            db.execute("INSERT OR IGNORE INTO sub VALUES (?, ?)", (queue, self.owner))
            return queue

        return self._write(f"consuming from {name!r}", work, relief=True)

    def has_ready(self, queues: Iterable[int]) -> bool:
        """Whether one of these has a message for the taking; a cheap look without the turn."""
        with self._usable("looking for messages") as db:
            return any(db.execute(LOOK_READY, (queue,)).fetchone() for queue in queues)

    def claim(self, queues: Sequence[int], limit: int, done: Sequence[int]) -> list[Claimed]:
        """Delete ``done``, and take up to ``limit`` messages, the oldest of these queues first.

        It stops at ``CLAIM_BYTES`` too, but takes at least one if there is one.
        """

        def work(db: sqlite3.Connection) -> list[Claimed]:
            self._delete(db, done)
            return self._take(db, queues, limit)

        claimed = self._write("taking messages", work, relief=True)
        self._claimed_since_sweep = self._claimed_since_sweep or bool(claimed)
        return claimed

    def _take(self, db: sqlite3.Connection, queues: Sequence[int], limit: int) -> list[Claimed]:
        # A query per queue: each reads only what it returns, however long the queues are.
        found = [db.execute(FIND_READY, (queue, limit)).fetchall() for queue in queues]
        claimed: list[Claimed] = []
        size = 0
        for identity, queue in heapq.merge(*found):
            if len(claimed) >= limit or size >= CLAIM_BYTES:
                break
            claimed.append(_read(db, identity, queue))
            size += len(claimed[-1].body)
        db.executemany(
            "UPDATE msg SET owner = ? WHERE id = ?", [(self.owner, each.id) for each in claimed]
        )
        return claimed

    def get(self, name: str) -> Claimed | None:
        """Take the oldest message of a queue, if there is one. Raises NotFound."""

        def work(db: sqlite3.Connection) -> list[Claimed]:
            queue = topology.queue_id(db, name)
            topology.touch(db, [queue])
            return self._take(db, [queue], 1)

        found = self._write(f"reading {name!r}", work, relief=True)
        return found[0] if found else None

    def settle(
        self,
        *,
        done: Sequence[int] = (),
        delivered: Sequence[int] = (),
        unseen: Sequence[int] = (),
        left: Sequence[int] = (),
    ) -> None:
        """Settle many things in one transaction, then wake who may take what was returned.

        ``done`` is deleted, ``delivered`` given back and marked, ``unseen`` given back as it was,
        the subscriptions to ``left`` end. What is given back stands where it stood: its id stays.
        """

        def work(db: sqlite3.Connection) -> set[int]:
            self._delete(db, done)
            readers = self._readers_of(db, (*delivered, *unseen))
            db.executemany(_RETURN, [(1, each, self.owner) for each in delivered])
            db.executemany(_RETURN, [(0, each, self.owner) for each in unseen])
            db.executemany(
                "DELETE FROM sub WHERE queue = ? AND owner = ?",
                [(queue, self.owner) for queue in left],
            )
            if left:
                topology.drop_unread(db, left)
            return readers

        if done or delivered or unseen or left:
            self._ringer.ring(self._write("settling messages", work, relief=True))

    def _delete(self, db: sqlite3.Connection, done: Sequence[int]) -> None:
        db.executemany(
            "DELETE FROM msg WHERE id = ? AND owner = ?", [(each, self.owner) for each in done]
        )

    @staticmethod
    def _readers_of(db: sqlite3.Connection, messages: Iterable[int]) -> set[int]:
        queues: set[int] = set()
        for message in messages:
            row = db.execute("SELECT queue FROM msg WHERE id = ?", (message,)).fetchone()
            if row is not None:
                queues.add(row[0])
        return {reader for queue in queues for reader in _subscribers(db, queue)}

    # topology -------------------------------------------------------------------------------------

    def change(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function of ``topology`` in a transaction of its own."""
        return self._write(doing, work, relief=True)

    def look(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a reading function, without the turn."""
        with self._usable(doing) as db:
            return work(db)

    # the dead, and sleeping -----------------------------------------------------------------------

    def sweep(self) -> None:
        """Bury dead owners, drop outlived queues, shrink the file if idle. The draining thread."""
        self._next_sweep = time.monotonic() + SWEEP_INTERVAL
        with self._usable("sweeping") as db:
            peers = [row[0] for row in db.execute("SELECT id FROM owner")]
            outlived = topology.has_idle(db)
        with self._owners.dead(peers) as dead:
            if dead or outlived:  # a transaction only where there is something to do
                readers = self._write("burying", lambda db: self._bury(db, dead), relief=True)
                if dead:
                    logger.info("owners %s of %s died; what they held is back", dead, self.path)
                self._ringer.forget(dead)
                self._ringer.ring(readers)
        self._own_bell.watch(
            peer for peer in peers if peer not in dead and peer not in self._owners.own
        )
        if not self._claimed_since_sweep:
            try:
                self._shrink()
            except DiskFull:  # it is a favour, and can wait
                logger.debug("no space to shrink the file of %s", self.path)
        self._claimed_since_sweep = False

    def _bury(self, db: sqlite3.Connection, dead: Sequence[int]) -> set[int]:
        readers: set[int] = set()
        for owner in dead:
            held = db.execute(
                "SELECT DISTINCT queue FROM msg WHERE owner = ? AND owner <> 0", (owner,)
            ).fetchall()
            for (queue,) in held:
                readers.update(_subscribers(db, queue))
            db.execute(
                "UPDATE msg SET owner = 0, redelivered = 1 WHERE owner = ? AND owner <> 0", (owner,)
            )
            left = db.execute("SELECT queue FROM sub WHERE owner = ?", (owner,)).fetchall()
            db.execute("DELETE FROM sub WHERE owner = ?", (owner,))
            topology.drop_unread(db, [row[0] for row in left])
            db.execute("DELETE FROM owner WHERE id = ?", (owner,))
            try:
                os.unlink(os.path.join(self.path, "wake", str(owner)))
            except FileNotFoundError:
                pass
        topology.drop_idle(db)
        return readers.difference(dead)

    def _shrink(self) -> None:
        """Give free pages back to the disk, some slices at a time."""
        with self._usable("shrinking the file") as db:
            if pages.free_pages(db) < _VACUUM_FROM:
                return
            for _ in range(_SLICES_AT_A_TIME):
                with self._owners.turn:
                    pages.vacuum_slice(db)
            if pages.free_pages(db) < _VACUUM_FROM:
                with self._owners.turn:
                    pages.checkpoint(db)

    def wait(self, seconds: float) -> None:
        """Sleep until something may be there to take, at most so long. The draining thread."""
        now = time.monotonic()
        if now >= self._next_sweep or self._own_bell.wait(min(seconds, self._next_sweep - now)):
            self.sweep()

    def sweep_if_due(self) -> None:
        """For a consumer that never sleeps. The draining thread."""
        if time.monotonic() >= self._next_sweep:
            self.sweep()

    def nudge(self) -> None:
        """Wake the thread in ``wait``. Any thread."""
        if self.is_usable:
            self._own_bell.ring_self()

    def close(self) -> None:
        """Give back what is held, take the owner out, release everything. Twice is fine.

        In a forked child it does nothing: what the parent holds is the parent's.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            try:
                readers = self._write("closing", self._sign_off, relief=True)
                self._ringer.ring(readers)
            finally:
                self._closed = True
                self._own_bell.close()
                self._ringer.close()
                with translated("closing", self.path), self._owners.turn:
                    self._db.close()
                    self._owners.leave(self.owner)
                self._owners.let_go()

    def _sign_off(self, db: sqlite3.Connection) -> set[int]:
        return self._bury(db, [self.owner])


def _subscribers(db: sqlite3.Connection, queue: int) -> list[int]:
    return [row[0] for row in db.execute("SELECT owner FROM sub WHERE queue = ?", (queue,))]


def _read(db: sqlite3.Connection, identity: int, queue: int) -> Claimed:
    # As bytes: whatever else was written there is a message all the same, for others to refuse.
    redelivered, meta, body = db.execute(
        "SELECT redelivered, CAST(meta AS BLOB), CAST(body AS BLOB) FROM msg WHERE id = ?",
        (identity,),
    ).fetchone()
    if body is None:
        row = db.execute("SELECT CAST(body AS BLOB) FROM big WHERE id = ?", (identity,)).fetchone()
        body = row[0] if row is not None else b""
    return Claimed(identity, queue, bool(redelivered), meta.decode(errors="replace"), body)
