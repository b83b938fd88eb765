"""Who may write a journal: one process at a time, by a lock on the file ``FILE.lock`` beside it.

The lock is the kernel's (``flock``) and goes with its process, also after ``kill -9``. It belongs
to the opened file, so a second writer in the same process is refused as well. The file says who
holds it, for people; what is in it decides nothing, and it is never removed, because a lock on a
removed file keeps nobody out.

A forked child would go on holding it after its parent's end: so it is closed on exec, and by
:func:`os.register_at_fork` in the child, which leaves the parent's hold as it is.

Any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bus.news import files
from protocol.errors import JournalLocked

_PATIENCE: Final = (
    0.2  # seconds; somebody who only looks whether it is held holds it for an instant
)
_PAUSE: Final = 0.01  # seconds
_MOST: Final = 4096  # bytes of what a holder says of itself


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes a journal, as it says itself; empty and 0 where that cannot be read."""

    executor: str = ""
    host: str = ""
    pid: int = 0
    #: Since when, in seconds since 1970.
    since: float = 0.0

    def __str__(self) -> str:
        if not self.pid:
            return "a process that has not said who it is"
        return f"executor {self.executor} in process {self.pid} on {self.host}"


class Lock:
    """Held from the beginning until ``release``."""

    def __init__(self, path: Path, executor: str) -> None:
        """``path``: the journal's.

        Raises ``JournalLocked`` if somebody has it, ``JournalError`` if there can be no such file.
        """
        self._name = files.lock(path)
        self._is_taken = False
        with _held.opening:  # no fork comes between the file's opening and our knowing of it
            self._descriptor = files.open_file(self._name, os.O_RDWR | os.O_CREAT, "locked")
            _held.locks[self._descriptor] = self
        try:
            files.make_private(self._descriptor, self._name)
            self._take(path)
            myself = Holder(executor, socket.gethostname(), os.getpid(), round(time.time(), 3))
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(asdict(myself)).encode(), 0)
        except BaseException as error:
            self.release()
            if isinstance(error, OSError):
                raise files.failure("locked", self._name, error) from error
            raise

    def release(self) -> None:
        """Let go of it. Twice is fine, and so is a forked child, where there is nothing to do."""
        with _held.opening:
            if _held.locks.get(self._descriptor) is not self:
                return
            del _held.locks[self._descriptor]
            if self._is_taken:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)

    def _take(self, path: Path) -> None:
        until = time.monotonic() + _PATIENCE
        while not _lock(self._descriptor, fcntl.LOCK_EX):
            if time.monotonic() > until:
                found = _read(self._descriptor)
                here = " (this very one)" if found.pid == os.getpid() else ""
                raise JournalLocked(
                    f"the journal {path} is being written by {found}{here}: end that one first, "
                    "or name another file",
                    holder=str(found),
                )
            time.sleep(_PAUSE)
        self._is_taken = True


def holder(path: Path | str) -> Holder | None:
    """Who writes this journal now, if anybody does. Any process, any thread."""
    name = files.lock(files.real(path))
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = _read(descriptor)
        if found.host == socket.gethostname() and not _is_alive(found.pid):
            return None
        # Held for an instant, if nobody holds it: whoever wants it just then tries again.
        return None if _lock(descriptor, fcntl.LOCK_SH) else found
    except OSError:
        return None
    finally:
        os.close(descriptor)


class _Held:
    """What this process has open. ``opening`` guards the table, and keeps forks out meanwhile."""

    def __init__(self) -> None:
        self.opening = threading.RLock()
        #: By descriptor.
        self.locks: dict[int, Lock] = {}

    def before_fork(self) -> None:
        self.opening.acquire()

    def after_fork_in_parent(self) -> None:
        self.opening.release()

    def after_fork_in_child(self) -> None:
        """Closing them leaves the parent's lock alone; unlocking would take it away."""
        for descriptor in self.locks:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.locks = {}
        self.opening = threading.RLock()


_held = _Held()
os.register_at_fork(
    before=_held.before_fork,
    after_in_parent=_held.after_fork_in_parent,
    after_in_child=_held.after_fork_in_child,
)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Holder:
    try:
        written = json.loads(os.pread(descriptor, _MOST, 0))
        return Holder(
            str(written["executor"]),
            str(written["host"]),
            int(written["pid"]),
            float(written["since"]),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return Holder()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # somebody else's
    return True
