"""A desk: the folder of one connection, where it writes messages and keeps what it has taken.

Its owner lives as long as it holds an ``flock`` on the file beside it, ``<desk>.lock``: the
kernel lets go of that with the process, also after ``kill -9``. Whoever finds a desk without an
owner moves the messages on it back to where they were, each under its name, and so in its place.

A forked child closes what it has inherited of the lock; else it would live on with a child that
knows nothing of it. Called by ``post``, on its thread; errors of the system's come out as they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import weakref
from pathlib import Path
from typing import Final

from bus.wire.transports.filesystem.layout import SUFFIX, Folders

_LOCK: Final = ".lock"


class Desk:
    """One's own. ``close`` gives back what is on it; twice is fine."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        while True:
            #: What the files that are written from here have in their names.
            self.name = secrets.token_hex(8)
            lock = folders.desks / f"{self.name}{_LOCK}"
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(lock, descriptor):  # nobody took it for a dead one's in between
                break
            os.close(descriptor)
        self._descriptor: int | None = descriptor
        self.folder = folders.desks / self.name
        self.folder.mkdir()
        _open.add(self)

    @property
    def is_there(self) -> bool:
        """Whether nobody has removed it."""
        return self.folder.is_dir()

    def close(self) -> None:
        """Give back what is held, and be gone."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            clear(self._folders, self.name)
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: it is its parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def sweep(folders: Folders) -> None:
    """Clear the desks of the dead."""
    for lock in folders.desks.glob(f"*{_LOCK}"):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(lock, descriptor):
                    clear(folders, lock.name.removesuffix(_LOCK))
            except BlockingIOError:
                pass  # it is alive
            finally:
                os.close(descriptor)


def clear(folders: Folders, name: str) -> None:
    """Give back what is on a desk, and remove it. For who holds its lock."""
    desk = folders.desks / name
    if desk.is_dir():
        for taken in sorted(desk.iterdir()):
            if taken.suffix == SUFFIX:
                folders.messages.mkdir(exist_ok=True)
                taken.rename(folders.messages / taken.name)
            else:
                taken.unlink()  # it was being written
        desk.rmdir()
    (folders.desks / f"{name}{_LOCK}").unlink(missing_ok=True)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


_open: weakref.WeakSet[Desk] = weakref.WeakSet()


def _forget_all() -> None:
    for desk in list(_open):
        desk.forget()


os.register_at_fork(after_in_child=_forget_all)
