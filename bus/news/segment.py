"""One file of a journal as its writer has it: opened, with the index of what is in it.

Decided here: what is mended when it is opened, and what a write that failed leaves, which is
nothing. A last line without an end was being written when its writer died: it counts if it is whole
but for its end, and else it is cut off, so that the next line begins as one.

The journal calls it, one thread at a time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from bus.news import files, rotation
from bus.news.index import Index, Place
from bus.news.line import Header, header_bytes, is_whole, to_entries
from bus.news.scan import Damage, Line, Scanner
from protocol.events import Submitted
from protocol.history import Entry, History, RequestStatus

logger = logging.getLogger("taskline.bus.news.segment")

_TOGETHER: Final = 500  # lines that are parsed at once

#: What writes a file's bytes to the disk.
sync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)


class Segment:
    """One file, opened."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """``descriptor``: the segment's from now on."""
        self.path = path
        self.index = Index()
        self.header: Header | None = None
        #: The number that the next line was to have when this was loaded.
        self.next = 1
        #: Where the next line goes.
        self.end = 0
        self.is_loaded = False
        #: Whether something in it could not be read when it was loaded.
        self.is_damaged = False
        self._descriptor = descriptor
        self._lacks_end = False
        #: Something of a write that failed is still behind the end.
        self._has_waste = False

    @classmethod
    def open(cls, path: Path, flags: int) -> Segment:
        """Open a file, which nobody else may read or write afterwards. Raises ``JournalError``."""
        descriptor = files.open_file(path, flags, "opened")
        try:
            mode = files.make_private(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        if mode & 0o077:
            logger.warning("%s could be used by others (mode %04o); now it is 0600", path, mode)
        return cls(path, descriptor)

    def load(self) -> list[Damage]:
        """Read it all into the index; returns what is damaged.

        Raises ``JournalError`` if it cannot be read, or is no journal's.
        """
        scanner = Scanner(str(self.path))
        damage = []
        add = self.index.add
        for found in chain(files.scan(self._descriptor, scanner), _rest(scanner)):
            if isinstance(found, Line):
                add(found)
            else:
                damage.append(found)
        if not scanner.is_journal:
            raise files.not_a_journal(self.path)
        if scanner.header is not None:
            self.index.outcomes.update(scanner.header.ended)
        self.header, self.next, self.end = scanner.header, scanner.reached + 1, scanner.offset
        self._lacks_end = scanner.lacks_end
        self.is_loaded = True
        self.is_damaged = bool(damage)
        return damage

    def mend(self, header: Header) -> None:
        """Let it end where a line ends, and begin with this header if it is empty."""
        try:
            os.ftruncate(self._descriptor, self.end)
            missing = b"\n" if self._lacks_end else b""
            if self.end == 0:
                missing = header_bytes(header)
                self.header = header
            rotation.write(self._descriptor, missing)
        except OSError as error:
            raise files.failure("mended", self.path, error) from error
        self.end += len(missing)
        self._lacks_end = False

    def append(self, data: bytes, *, synced: bool) -> None:
        """All of it or, with a ``JournalError``, nothing."""
        doing = "mended after a write that failed"
        try:
            if self._has_waste:
                os.ftruncate(self._descriptor, self.end)
                self._has_waste = False
            doing = "written"
            self._has_waste = True
            rotation.write(self._descriptor, data)
            if synced:
                sync(self._descriptor)
            self._has_waste = False
        except OSError as error:
            self._cut()
            raise files.failure(doing, self.path, error) from error
        self.end += len(data)

    def request(self, uuid: str, complain: Callable[[str], None]) -> RequestStatus | None:
        """What the lines about a request come to; None if there are none."""
        history = History()
        for entry in self.entries(self.index.find(uuid), complain):
            history.apply(entry)
        return history.requests.get(uuid)

    def key(self, key: str, complain: Callable[[str], None]) -> str | None:
        """The uuid of the newest request with this key; None if there is none."""
        for entry in self.entries(self.index.find_key(key), complain):
            if isinstance(entry.event, Submitted) and entry.event.key == key:
                return entry.event.uuid
        return None

    def entries(self, places: Sequence[Place], complain: Callable[[str], None]) -> Iterator[Entry]:
        """The lines at these places; ``complain`` is told of one that makes no sense."""
        lines = self.lines(places, complain)
        while some := [raw[:-1] for raw in islice(lines, _TOGETHER)]:
            for entry in to_entries(some):
                if isinstance(entry, Entry):
                    yield entry
                else:
                    complain(f"{self.path}: {entry.detail}")

    def lines(self, places: Sequence[Place], complain: Callable[[str], None]) -> Iterator[bytes]:
        """The same as bytes; ``complain`` is told of one that is not any more what it was."""
        for raw in files.read_lines(self._descriptor, places, self.path):
            if is_whole(raw[:-1]):
                yield raw
            else:
                complain(f"{self.path}: a line cannot be read back, it has changed on the disk")

    def close(self) -> None:
        """Twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_closed(self) -> bool:
        """Whether it cannot be read any more."""
        return self._descriptor < 0

    def _cut(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.end)
        except OSError:
            return  # the next append begins with it
        self._has_waste = False


def _rest(scanner: Scanner) -> Iterator[Line | Damage]:
    yield from scanner.finish()
