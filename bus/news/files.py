"""The files of one journal: what they are called, whose they are, and how they are opened.

``FILE`` is written to; ``FILE.1`` … ``FILE.4`` came before it, the highest is the oldest;
``FILE.new`` is the next one while it is made; ``FILE.lock`` says who writes. Nothing that is not a
journal's is ever overwritten or removed.

They are readable and writable by their owner alone: arguments and results are in them. A file of
ours that others may read or write is mended when it is opened for writing; somebody else's is
refused.

Called by whoever opens a journal, on its thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bus.news.index import Place, spot
from bus.news.scan import Found, Scanner
from protocol.errors import JournalError

KEPT: Final = 4  # files that came before the one that is written to

_CHUNK: Final = 1024 * 1024  # bytes read at once
#: Bytes without a single whole line after which a file is none of ours.
_ENOUGH: Final = 16 * 1024 * 1024


def real(path: Path | str) -> Path:
    """The absolute path without links, under which a journal is one and the same for everybody."""
    try:
        found = Path(path).resolve()
        in_a_ring = found.is_symlink()  # since Python 3.13; before it raises
    except (OSError, RuntimeError, ValueError) as error:  # among others, a NUL in the name
        raise JournalError(f"no journal can be called {str(path)!r}: {error}") from error
    if in_a_ring:
        raise JournalError(f"no journal can be called {str(path)!r}: links lead in a ring")
    return found


def older(path: Path, age: int) -> Path:
    """The name of the file that came ``age`` rotations before; 0: the one that is written to."""
    return path.with_name(f"{path.name}.{age}") if age else path


def newer(path: Path) -> Path:
    """The name of the next file while it is made."""
    return path.with_name(f"{path.name}.new")


def lock(path: Path) -> Path:
    """The name of the file that says who writes."""
    return path.with_name(f"{path.name}.lock")


def failure(doing: str, path: Path | str, error: OSError) -> JournalError:
    """Our error for one of the system's."""
    advice = _ADVICE.get(error.errno or 0, "nothing was changed")
    return JournalError(f"the journal {path} cannot be {doing}: {error.strerror}; {advice}")


_ADVICE: Final = {
    errno.ENOENT: "is that its name?",
    errno.EACCES: "it belongs to somebody else, or its folder does: name another",
    errno.EPERM: "it belongs to somebody else, or its folder does: name another",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "name a file in a folder",
    errno.ENOSPC: "make room on that disk, and what is asked for then will be written",
    errno.EFBIG: "the system allows this process no larger files (ulimit -f)",
    errno.EDQUOT: "make room on that disk, and what is asked for then will be written",
    errno.EROFS: "name a file on a disk that can be written to",
    errno.EIO: "the disk may be failing: look at the system's log",
}


def open_file(path: Path, flags: int, doing: str) -> int:
    """A descriptor of a regular file. ``path`` has no links left in it; none is followed."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for whoever is at its other end.
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise failure(doing, path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise JournalError(f"the journal {path} cannot be {doing}: that is no file; name one")
    return descriptor


def make_folder(path: Path) -> None:
    """The folder of ``path``, with mode 0700 if it has to be made."""
    folder = path.parent
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
    except OSError as error:
        raise failure("made", path, error) from error


def make_private(descriptor: int, path: Path) -> int:
    """Nobody but us may read or write it from now on; returns the mode it had.

    Raises ``JournalError`` if it is not ours.
    """
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise JournalError(
            f"the journal {path} belongs to user {found.st_uid}, and this process is user "
            f"{os.geteuid()}: what it says cannot be relied on; name a file of your own"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode != 0o600:
        os.fchmod(descriptor, 0o600)
    return mode


def scan(descriptor: int, scanner: Scanner) -> Iterator[Found]:
    """All of a file through a scanner, from where that is, to the end there is now.

    Raises ``JournalError`` for what is no journal.
    """
    at = scanner.read
    while data := read_at(descriptor, _CHUNK, at, scanner.path):
        at += len(data)
        yield from scanner.feed(data)
        if at >= _ENOUGH and not scanner.is_journal:
            raise not_a_journal(scanner.path)


def not_a_journal(path: Path | str) -> JournalError:
    """Our error for somebody else's file."""
    return JournalError(f"{path} is no journal, and was left as it is: name another file")


def read_lines(descriptor: int, places: Sequence[Place], path: Path | str) -> Iterator[bytes]:
    """The lines at these places, with their ends. ``places``: sorted, not too far apart."""
    begin = 0
    while begin < len(places):
        first, _ = spot(places[begin])
        end, last = begin, first
        while end < len(places):
            offset, length = spot(places[end])
            if end > begin and offset + length - first > _CHUNK:
                break
            end, last = end + 1, offset + length
        data = read_at(descriptor, last - first, first, path)
        for where in places[begin:end]:
            offset, length = spot(where)
            yield data[offset - first : offset - first + length]
        begin = end


def read_at(descriptor: int, length: int, offset: int, path: Path | str) -> bytes:
    """So many bytes, fewer only at the end of the file."""
    parts = []
    try:
        while length > 0 and (data := os.pread(descriptor, length, offset)):
            parts.append(data)
            length -= len(data)
            offset += len(data)
    except OSError as error:
        raise failure("read", path, error) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)
