"""Reading a journal without writing it: once through, or on and on. Needs no lock.

Works on a journal that is being written and on one that is damaged. A line is read once, however
often it was taken over into a newer file. What cannot be read comes as :class:`Damage`, in its
place among the entries; a last line that is not whole comes so too, because nobody can tell from
outside whether its writer is just writing it.

Any thread; each reading is by itself.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bus.news import files
from bus.news.line import to_entries
from bus.news.scan import Damage, Found, Line, Scanner
from protocol.errors import JournalError, MessageRefused
from protocol.history import Entry


class Reading(Iterator[Entry | Damage]):
    """Once through."""

    def __init__(self, parts: list[_Part]) -> None:
        #: Of the oldest file that is read, which counts what ended before it; None: damaged.
        self.header = parts[0].scanner.header
        self._found = _decoded(_through(parts))

    def __next__(self) -> Entry | Damage:
        return next(self._found)


def read(path: Path | str, *, older: bool = True) -> Reading:
    """All that is kept, oldest first; without ``older`` only the file that is written to.

    That one is enough to know everything that is open. Raises ``JournalError`` if there is no
    journal, or it cannot be read.
    """
    parts = _parts(files.real(path))
    return Reading(parts if older else parts[-1:])


def tail(path: Path | str, count: int) -> list[Entry | Damage]:
    """The last so many lines; each damage between them is one more."""
    return list(_decoded(_last(_parts(files.real(path)), count)))


def follow(
    path: Path | str, pause: Callable[[], bool], *, last: int = 0
) -> Iterator[Entry | Damage]:
    """The last so many lines, and then whatever is written, from one file to the next, in order.

    ``pause`` is called whenever there is nothing more; it waits, and returns False to end it. What
    is still being written is waited for. What was rotated away before it was read is told as a gap.
    """
    following = _Following(files.real(path), last)
    while True:
        yield from _decoded(following.step())
        if not pause():
            return


_HEAD: Final = 64 * 1024  # bytes in which the header's line ends
_TOGETHER: Final = 500  # lines that are parsed at once


class _Part:
    """One file, opened; its header is known, if there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Closed with the last reference to this.
        self._descriptor = files.open_file(path, os.O_RDONLY, "read")
        self.scanner = Scanner(str(path))
        status = os.fstat(self._descriptor)
        #: Which file it is, whatever it is called.
        self.key = (status.st_dev, status.st_ino)
        #: What was found while looking for the header.
        self._first = self.scanner.feed(self._read(_HEAD))

    def __del__(self) -> None:
        descriptor: int = getattr(self, "_descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def size(self) -> int:
        """Bytes, now."""
        return os.fstat(self._descriptor).st_size

    def more(self) -> Iterator[Found]:
        """To the end there is now."""
        first, self._first = self._first, []
        yield from first
        yield from files.scan(self._descriptor, self.scanner)

    def rest(self) -> Iterator[Found]:
        """To the end, which there is."""
        yield from self.more()
        yield from self.scanner.finish()
        if not self.scanner.is_journal:
            raise files.not_a_journal(self.path)

    def _read(self, length: int) -> bytes:
        return files.read_at(self._descriptor, length, 0, self.path)


class _Course:
    """From one file to the next: which line comes next."""

    def __init__(self) -> None:
        #: The number of the last line.
        self.last = 0

    def begin(self, part: _Part) -> Iterator[Found]:
        """A newer file: what is missing before it."""
        header = part.scanner.header
        if header is None or self.last == 0:
            return
        if header.first == 1:  # no file came before it: another journal, under the same name
            self.last = 0
        elif header.first > self.last + 1:
            count = header.first - self.last - 1
            what = f"{count} lines are missing before it, from {self.last + 1} on"
            yield Damage(str(part.path), 0, 0, "gap", what, count)

    def take(self, part: _Part, some: Iterator[Found]) -> Iterator[Found]:
        """Of these, which are the part's, what was not there before."""
        for found in some:
            if isinstance(found, Line):
                if found.number <= self.last:
                    continue
                self.last = found.number
            yield found
        self.last = max(self.last, part.scanner.reached)


class _Following:
    """On and on."""

    def __init__(self, path: Path, last: int) -> None:
        self._path = path
        parts = _parts(path)
        self._part = parts[-1]
        self._waiting = _last(parts, last, is_live=True)
        self._course = _Course()
        self._course.last = self._part.scanner.reached
        if not self._part.scanner.is_journal:
            raise files.not_a_journal(path)

    def step(self) -> Iterator[Found]:
        """What has come since."""
        waiting, self._waiting = self._waiting, []
        yield from waiting
        while True:
            part = self._part
            if part.size < part.scanner.read:
                self._look_again()
            yield from self._course.take(part, part.more())
            yield from part.scanner.flush()
            newer = self._newer()
            if not newer:
                return
            yield from self._course.take(part, part.rest())  # its writer has left it by now
            for each in newer:
                yield from self._course.begin(each)
                if each is not newer[-1]:
                    yield from self._course.take(each, each.rest())
            self._part = newer[-1]

    def _look_again(self) -> None:
        """An append that failed was cut off after we had read it: its numbers come again."""
        scanner = self._part.scanner = Scanner(str(self._path))
        for _ in self._part.more():
            pass
        self._course.last = scanner.reached

    def _newer(self) -> list[_Part]:
        """The files that came after ours, if it is not the one that is written to any more."""
        try:
            status = self._path.stat()
            if (status.st_dev, status.st_ino) == self._part.key:
                return []
            parts = _parts(self._path)
        except (OSError, JournalError):
            return []  # just being moved, or removed: look again later
        keys = [part.key for part in parts]
        return parts[keys.index(self._part.key) + 1 :] if self._part.key in keys else parts


def _parts(path: Path) -> list[_Part]:
    """All files that are there, oldest first.

    Opened from the newest on: a file that moves meanwhile is met twice, and none is missed. Should
    several have come meanwhile, their headers say in which order.
    """
    parts: list[_Part] = []
    for age in range(files.KEPT + 1):
        name = files.older(path, age)
        try:
            part = _Part(name) if name.exists() else None
        except JournalError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            continue  # it has just moved
        if part is not None and all(part.key != other.key for other in parts):
            parts.append(part)
    if not parts:
        raise JournalError(f"there is no journal {path}: is that its name?")
    parts.reverse()
    firsts = [part.scanner.header.first for part in parts if part.scanner.header]
    if len(firsts) == len(parts) and firsts != sorted(firsts):
        parts.sort(key=lambda part: part.scanner.header.first if part.scanner.header else 0)
    return parts


def _through(parts: list[_Part]) -> Iterator[Found]:
    course = _Course()
    for part in parts:
        yield from course.begin(part)
        yield from course.take(part, part.rest())


def _last(parts: list[_Part], count: int, *, is_live: bool = False) -> list[Found]:
    """Backwards from file to file, of each only what it was the first to say.

    ``is_live``: the newest may be read on.
    """
    found: list[Found] = []
    for part in reversed(parts):
        header = part.scanner.header
        first = header.first if header else 0
        some = part.more() if is_live and part is parts[-1] else part.rest()
        own = (each for each in some if not isinstance(each, Line) or each.number >= first)
        found[:0] = deque(own, maxlen=max(count - len(found), 0))
        if len(found) >= count:
            break
    return found


def _decoded(some: Iterator[Found] | list[Found]) -> Iterator[Entry | Damage]:
    lines: list[Line] = []
    for found in some:
        if isinstance(found, Line):
            lines.append(found)
            if len(lines) < _TOGETHER:
                continue
        yield from _entries(lines)
        lines.clear()
        if isinstance(found, Damage):
            yield found
    yield from _entries(lines)


def _entries(lines: list[Line]) -> Iterator[Entry | Damage]:
    for line, entry in zip(lines, to_entries([line.raw for line in lines]), strict=True):
        yield entry if isinstance(entry, Entry) else _refused(line, entry)


def _refused(line: Line, refusal: MessageRefused) -> Damage:
    length = len(line.raw) + 1
    if refusal.reason == "event_word":
        what = f"line {line.number}: {refusal.detail}; a newer Taskline may have written it"
        return Damage(line.path, line.offset, length, "word", what)
    what = f"line {line.number} makes no sense: {refusal.detail}"
    return Damage(line.path, line.offset, length, "field", what, 1)
