"""The lock of a worker's name: whoever holds it knows that its predecessor is dead.

A worker that was killed is missed only when its lease runs out. A successor of the same name can
say so at once (``replaces``, native dialect, section 1), but only if it is certain: what runs at
most once would run twice. So a worker with a name of its own holds an exclusive lock on a file for
as long as its process lives, and the file says which boot holds it. Whoever gets the lock reads the
boot before it there, whose process has ended, and then writes its own. Whoever does not get it says
nothing; nobody is refused. An answer is for one machine and one user, so the host is in the name of
the file, and a folder on the network or open to others is not used.

The kernel drops the lock with the last process that has the file open. No host inherits it (it is
closed on exec); a child forked by the user's own program does, and keeps the lock, which is the
safe side: nothing is said then.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import socket
import time
from pathlib import Path
from typing import Final

from bus.wire.transports.local.place import prepare
from protocol.errors import ConfigurationError

logger = logging.getLogger("taskline.worker.name_lock")

#: Seconds after which the file of a name that nobody holds is removed by whoever comes along: its
#: boot has been missed long since.
STALE: Final = 86_400.0
_BOOT: Final = re.compile(rb"[0-9a-f]{16}")
_TRIES: Final = 3  # of a file that is removed between opening and locking it


def default_folder() -> Path:
    """Where the locks live: ``$XDG_RUNTIME_DIR``, else ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises RuntimeError where the user has no home.
    """
    place = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME")
    root = Path(place) if place else Path.home() / ".cache"
    return root / "taskline" / "workers"


class NameLock:
    """The lock of one (exchange, name). ``take`` and ``release`` by whoever runs the worker."""

    def __init__(self, exchange: str, name: str, boot: str, folder: Path | None = None) -> None:
        host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:64]
        self._file = f"{exchange}@{name}@{host}"  # none of the three has an @ in it
        self._boot = boot
        self._folder = folder
        self._descriptor: int | None = None

    def take(self) -> str | None:
        """Lock the name for this boot; the boot before it, which is dead, if that is known.

        Never raises, never waits: without the lock nothing is known.
        """
        if self._descriptor is not None:
            return None
        try:
            chosen = str(self._folder or default_folder())
            folder = Path(prepare(chosen))
            self._descriptor = _lock(folder / self._file)
            if self._descriptor is None:
                logger.info("another worker holds the name: %s", self._file)
                return None
            earlier = self._exchange_boots(self._descriptor)
            _sweep(folder)
        except ConfigurationError:
            logger.info("the name is not locked: %s is no folder of ours on a local disk", chosen)
            return None
        except (OSError, RuntimeError) as error:
            logger.info("the name is not locked: %s", error)
            return None
        return earlier

    def release(self) -> None:
        """Give it back. Twice is fine. The boot stays in the file, for the next one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _exchange_boots(self, descriptor: int) -> str | None:
        """Read who was here, then write that we are: never nothing, whenever we are killed."""
        earlier = os.pread(descriptor, 64, 0)
        os.pwrite(descriptor, self._boot.encode("ascii"), 0)
        os.ftruncate(descriptor, len(self._boot))
        return earlier.decode("ascii") if _BOOT.fullmatch(earlier) else None


def _lock(path: Path) -> int | None:
    """A descriptor of this file, locked; None if another process has it."""
    for _ in range(_TRIES):
        # Not inherited: Python opens everything close-on-exec.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file of this name is the one that was opened."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sweep(folder: Path) -> None:
    """Remove the files of names that nobody has held for long: private workers' are used once."""
    before = time.time() - STALE
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            descriptor = _lock(path) if path.lstat().st_mtime < before else None
            if descriptor is not None:
                try:
                    path.unlink()
                finally:
                    os.close(descriptor)
