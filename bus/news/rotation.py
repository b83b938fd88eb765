"""From one file to the next, so that ``kill -9`` at any instruction loses nothing that is open.

The next file is made whole beside the present one, as ``FILE.new``, and is on the disk before it
gets a name that counts: its header, then the lines of what is open, byte for byte and with their
own numbers. Then names move up, ``FILE.3`` → ``FILE.4`` first, which is how the oldest goes; the
present file gets a second name, ``FILE.1``; and ``FILE.new`` takes its first name, atomically. So
there is a whole ``FILE`` at every instant, and an age that is free after a death is filled by the
next rotation. Where a file cannot have two names it is without one for an instant, and
:func:`tidy` puts that right.

Called by the journal, with its lock held; nobody writes to the present file meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bus.news import files
from bus.news.line import HEADER_START, PREFIX, Header, header_bytes
from protocol.errors import JournalError

_AT_ONCE: Final = 1024 * 1024  # bytes written at once
_ONE_NAME: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
)


def make(path: Path, header: Header, lines: Iterable[bytes]) -> None:
    """Make the next file of ``path``. Raises ``OSError``, and then there is none."""
    name = files.newer(path)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # the umask may have taken even our own rights
        waiting, length = [header_bytes(header)], 0
        for line in lines:
            waiting.append(line)
            length += len(line)
            if length >= _AT_ONCE:
                write(descriptor, b"".join(waiting))
                waiting, length = [], 0
        write(descriptor, b"".join(waiting))
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            name.unlink()
        raise
    finally:
        os.close(descriptor)


def establish(path: Path) -> None:
    """Let the next file be ``path``, which is not there yet."""
    files.newer(path).rename(path)
    sync_folder(path)


def shift(path: Path) -> None:
    """Let the next file be ``path``, and what was ``path`` the one before it."""
    ages = range(1, files.KEPT + 1)
    free = next((age for age in ages if not files.older(path, age).exists()), files.KEPT)
    for age in range(free - 1, 0, -1):
        files.older(path, age).rename(files.older(path, age + 1))
    before = files.older(path, 1)
    try:
        before.hardlink_to(path)
    except OSError as error:
        if error.errno not in _ONE_NAME:
            raise
        path.rename(before)
    try:
        files.newer(path).rename(path)
    except OSError:
        if not path.exists():
            before.rename(path)
        raise
    sync_folder(path)


def tidy(path: Path) -> None:
    """Put right what a death in the middle left. Raises ``JournalError`` if others are in the way.

    A next file that has not taken its place holds nothing that the present one does not.
    """
    before, new = files.older(path, 1), files.newer(path)
    try:
        kept = [files.older(path, age) for age in range(1, files.KEPT + 1)]
        kept = [each for each in kept if _demand_ours(each)]
        if kept and not path.exists():
            kept[0].rename(path)
        if before.exists() and path.exists() and before.samefile(path):
            before.unlink()
        if _demand_ours(new):
            new.unlink()
    except OSError as error:
        raise files.failure("opened", path, error) from error


def write(descriptor: int, data: bytes) -> None:
    """All of it, however little the system takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(path: Path) -> None:
    """Names survive a power loss from now on, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _demand_ours(path: Path) -> bool:
    """Whether it is there; it may be moved or removed only if it is a journal's file."""
    if not path.exists() and not path.is_symlink():
        return False
    descriptor = files.open_file(path, os.O_RDONLY, "opened")
    try:
        begun = os.pread(descriptor, 4096, 0)
    finally:
        os.close(descriptor)
    head = begun[: len(HEADER_START)]
    if not HEADER_START.startswith(head) and not any(map(PREFIX.match, begun.split(b"\n"))):
        raise JournalError(
            f"{path} is in the way: the journal would rotate over it, and it is no journal's; "
            "move it, or name the journal otherwise"
        )
    return True
