"""How a sleeping consumer is woken: one FIFO per connection, and a look at the peers' FIFOs.

A publisher writes one byte to the FIFO of each subscriber after its commit; the consumer sleeps in
``poll`` on its own. The order that loses nothing: read the FIFO empty, look for messages, sleep.

``Bell`` belongs to the thread that drains (``ring_self`` excepted); ``Ringer`` may be used by any
thread. The bell also keeps the write ends of the peers' FIFOs in its poll set, asking for nothing:
the kernel reports POLLERR when the last reader is gone, which is a hint, 3 ms after a ``kill -9``,
that somebody died. Only a hint, as a forked child keeps the FIFO open: the lock byte is the truth.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterable

__all__ = ["Bell", "Ringer"]

_MAX_WATCHED = 64  # peers whose death is noticed at once; of others by the sweep
_MAX_RUNG = 256  # descriptors kept for ringing; beyond it the oldest is closed
_DRAINED = 65536  # bytes; the size of a pipe on Linux


def _open_for_ringing(path: str) -> int | None:
    """The write end; None where nobody listens (dead, not there yet) or descriptors ran out."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


class Ringer:
    """Wakes others by owner id. Any thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # guards the descriptors
        self._descriptors: dict[int, int] = {}

    def ring(self, owners: Iterable[int]) -> None:
        """One byte to each; whoever is awake or dead is none of our business."""
        with self._lock:
            for owner in owners:
                self._ring(owner)

    def _ring(self, owner: int) -> None:
        descriptor = self._descriptors.get(owner)
        if descriptor is None:
            descriptor = _open_for_ringing(os.path.join(self._folder, str(owner)))
            if descriptor is None:
                return
            self._forget_the_dead()
            self._descriptors[owner] = descriptor
            if len(self._descriptors) > _MAX_RUNG:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
        try:
            os.write(descriptor, b"\0")
        except BlockingIOError:
            pass  # full: it is awake, or will be
        except OSError:
            self._forget(owner)  # EPIPE: its reader died

    def _forget_the_dead(self) -> None:
        """Close what nobody listens to: else each who ever came would cost a descriptor.

        Who buries them tells his own ringer; a connection that only publishes buries nobody.
        """
        poll = select.poll()
        owners = {descriptor: owner for owner, descriptor in self._descriptors.items()}
        for descriptor in owners:
            poll.register(descriptor, 0)
        for descriptor, _ in poll.poll(0):
            self._forget(owners[descriptor])

    def _forget(self, owner: int) -> None:
        descriptor = self._descriptors.pop(owner, None)
        if descriptor is not None:
            os.close(descriptor)

    def forget(self, owners: Iterable[int]) -> None:
        """These are dead: close what is open to them."""
        with self._lock:
            for owner in owners:
                self._forget(owner)

    def close(self) -> None:
        """Close everything; twice is fine."""
        with self._lock:
            for owner in list(self._descriptors):
                self._forget(owner)


class Bell:
    """The FIFO one connection sleeps at. Drained by one thread."""

    def __init__(self, folder: str, owner: int) -> None:
        self._folder = folder
        self._path = os.path.join(folder, str(owner))
        try:
            os.mkfifo(self._path, 0o600)
        except FileExistsError:  # left by a process killed before its row was committed
            os.unlink(self._path)
            os.mkfifo(self._path, 0o600)
        # O_RDWR: there is always a writer, so that the FIFO never reports its end.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._watched: dict[int, int] = {}  # owner -> write end

    def ring_self(self) -> None:
        """Wake the thread that sleeps here. Any thread."""
        try:
            os.write(self._descriptor, b"\0")
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise

    def watch(self, peers: Iterable[int]) -> None:
        """Replace the set of peers whose death should end a wait."""
        wanted = set(peers)
        for owner in [owner for owner in self._watched if owner not in wanted]:
            self._unwatch(owner)
        for owner in sorted(wanted - self._watched.keys()):
            if len(self._watched) >= _MAX_WATCHED:
                break
            descriptor = _open_for_ringing(os.path.join(self._folder, str(owner)))
            if descriptor is not None:
                self._watched[owner] = descriptor
                self._poll.register(descriptor, 0)

    def _unwatch(self, owner: int) -> None:
        descriptor = self._watched.pop(owner)
        self._poll.unregister(descriptor)
        os.close(descriptor)

    def wait(self, seconds: float) -> bool:
        """Sleep until rung, or a watched peer seems dead (True), or so many seconds."""
        ready = dict(self._poll.poll(max(0, int(seconds * 1000 + 0.999))))
        if ready.pop(self._descriptor, 0):
            self._empty()
        if not ready:
            return False
        for owner in [owner for owner, each in self._watched.items() if each in ready]:
            self._unwatch(owner)
        return True

    def _empty(self) -> None:
        try:
            while len(os.read(self._descriptor, _DRAINED)) == _DRAINED:
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Remove the FIFO and close everything; once."""
        for owner in list(self._watched):
            self._unwatch(owner)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        os.close(self._descriptor)
