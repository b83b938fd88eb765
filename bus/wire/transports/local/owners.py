"""Who is alive, and whose turn it is to write: the lock bytes of the file ``owners``.

The file is empty; only its bytes' POSIX record locks matter. Byte 0 is the turn to write, byte N
is held by the connection with owner id N for as long as its process lives. The kernel drops them
with the process, also after ``kill -9``, and unlike ``flock`` a forked child does not keep them.

The price of that kind of lock: closing *any* descriptor of the file drops all locks of the process.
So there is one descriptor per file and process, kept in the registry for as long as anybody uses
it; and a process cannot see its own locks, so the ids that are its own are remembered and never
probed.

The turn is ours and not SQLite's busy handler, because that one sleeps and retries: measured with
four writers, 22-32 ms at the worst against 67-534 ms.

A fork while a connection is open poisons that folder for the child: SQLite keeps its own record
locks in the memory of the process, and a connection opened in the child would believe it holds
locks that only the parent has (checked with /proc/locks: the child holds none).
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bus.wire.transports.local.faults import BrokerGone, ForkedConnection

__all__ = ["Owners", "owners_of"]

_TURN = 0  # the byte of the turn; owner ids begin at 1
_DEADLOCK_PAUSE = 0.001  # seconds


class Turn:
    """The turn to write, for ``with``; blocks for it. Never call user code inside, never nest.

    A class and not a generator: it is taken for every message.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        #: Serialises this process's threads: record locks do not tell threads apart.
        self._mutex = threading.Lock()

    def __enter__(self) -> None:
        self._mutex.acquire()
        try:
            self._lock()
        except BaseException:
            self._mutex.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _TURN)
        finally:
            self._mutex.release()

    def _lock(self) -> None:
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, _TURN)
            except OSError as error:
                # The kernel looks for rings of waiting *processes*; two brokers used by the threads
                # of two processes look like one. It is not: whoever has a turn waits for nothing.
                if error.errno != errno.EDEADLK:
                    raise
                time.sleep(_DEADLOCK_PAUSE)
            else:
                return


class Owners:
    """The lock file of one folder, in this process. Any thread."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        #: ``with owners.turn:`` around every write to the broker's file.
        self.turn = Turn(descriptor)
        #: Owner ids of this process; changed inside the turn, read without it.
        self.own: set[int] = set()
        #: How many were given this by ``owners_of`` and have not let go of it. The registry's.
        self.users = 0

    def live(self, owner: int) -> None:
        """Take the byte of a new owner of this process; before its row can be seen by anybody."""
        if not self._take(owner):
            raise BrokerGone(f"owner {owner} of {self._path} is already locked by another process")
        self.own.add(owner)

    def leave(self, owner: int) -> None:
        """Give the byte back; after the owner's row is gone. Twice is fine."""
        if owner in self.own:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, owner)
            self.own.discard(owner)

    def let_go(self) -> None:
        """Who was given this uses it no more. The last one closes it: no lock is held by then."""
        with _registry.lock:
            self.users -= 1
            if not self.users and not self.own:
                _registry.files = {k: o for k, o in _registry.files.items() if o is not self}
                os.close(self._descriptor)

    @contextmanager
    def dead(self, owners: Iterable[int]) -> Iterator[list[int]]:
        """Of these owners the dead ones, whose bytes are ours until the block is left."""
        taken = [owner for owner in owners if owner not in self.own and self._take(owner)]
        try:
            yield taken
        finally:
            for owner in taken:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, owner)

    def _take(self, owner: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True


class _Registry:
    """What this process has open. ``lock`` guards both tables."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: By (device, inode): a folder that was removed and made again is another broker.
        self.files: dict[tuple[int, int], Owners] = {}
        #: Files that were in use by our parent when it forked us, and the parent's pid.
        self.poisoned: dict[tuple[int, int], int] = {}

    def after_fork_in_child(self) -> None:
        """The lock, and the mutexes in the table, may have been held by threads we do not have."""
        self.lock = threading.Lock()
        parent = os.getppid()
        self.poisoned.update({key: parent for key, owners in self.files.items() if owners.own})
        self.files = {}  # their descriptors stay open on purpose


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.after_fork_in_child)


def owners_of(folder: str) -> Owners:
    """The lock file of a broker's folder, made if it is missing; one object per process.

    Whoever has it lets go of it at the end.
    """
    path = os.path.join(folder, "owners")
    with _registry.lock:
        key = _key(path)
        parent = _registry.poisoned.get(key) if key else None
        if parent is not None:
            raise ForkedConnection(
                f"the local broker {folder} cannot be opened in process {os.getpid()}, forked from "
                f"process {parent} while that had it open: SQLite cannot be used on both sides of "
                "a fork; start processes with 'spawn' or 'forkserver', or fork before connecting"
            )
        if key is None or key not in _registry.files:
            # If it is in use here, and was not there a moment ago, this one stays open for good.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            status = os.fstat(descriptor)
            key = (status.st_dev, status.st_ino)
            _registry.files.setdefault(key, Owners(path, descriptor))
        owners = _registry.files[key]
        owners.users += 1
        return owners


def _key(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
