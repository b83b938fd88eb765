"""The bytes of one file, as they come → its lines, and what is damaged between them. Pure.

Decided here: what counts as a line, and that what is damaged costs nothing but itself:

* a text whose checksum does not fit (garbage, a flipped byte, a block of NULs) is passed over,
  neighbours as one damage. Where a line end itself was hit, the lines on both sides are found;
* a text longer than ``line.MAX_LINE`` is passed over, and never held in memory;
* a number that was there before is passed over; one that is too high tells what is missing;
* a last text without a line end is *torn*: its writer was cut off, or has not finished.

Whoever reads a file feeds a scanner: the journal when it is opened, and every reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from zlib import crc32

from bus.news.line import (
    CHECK_LENGTH,
    HEADER_START,
    MAJOR,
    MAX_LINE,
    PREFIX,
    Header,
    is_whole,
    salvage,
    to_header,
)
from protocol.errors import JournalError

#: What a damage is: bytes that are no line; a torn end; numbers that are missing, or were there
#: before; lines that were to be taken over and are not there; an event or field not known here.
Reason = Literal["bytes", "torn", "gap", "again", "copied", "word", "field"]

SHOWN: Final = 60  # bytes of what is damaged, in a report
SHOWN_TORN: Final = 1000  # the same of a torn end, which is going to be cut off


@dataclass(frozen=True, slots=True)
class Damage:
    """What was found and passed over. As a string: a sentence that begins with its place."""

    path: str
    #: Of its first byte in that file.
    offset: int
    #: In bytes; 0 for what is missing.
    length: int
    reason: Reason
    what: str
    #: How many lines are lost by it, at the most.
    lines: int = 0

    def __str__(self) -> str:
        return f"{self.path}, byte {self.offset}: {self.what}"


class Line(NamedTuple):
    """A whole line."""

    path: str
    number: int
    #: Of its first byte in the file.
    offset: int
    #: Without its end.
    raw: bytes
    #: What ``line.PREFIX`` found in it.
    match: re.Match[bytes]


Found = Line | Damage


class Scanner:
    """One file, from its first byte on."""

    def __init__(self, path: str) -> None:
        #: For reports.
        self.path = path
        #: None: nothing was read yet, or it is damaged.
        self.header: Header | None = None
        #: Of the first byte that belongs to no text with an end yet.
        self.offset = 0
        #: The number of the last line; 0: there was none.
        self.last = 0
        #: After ``finish``: the last line has no line end.
        self.lacks_end = False
        self._head = b""
        self._rest = _Rest()
        #: What the next line's number must be to need no second look; -1: it needs one.
        self._next = -1
        #: How many of the lines that were taken over have come.
        self._copied = 0
        self._pending: _Pending | None = None
        self._was_damaged = False

    @property
    def is_journal(self) -> bool:
        """Whether anything so far shows that this is a journal's file. An empty one may become one.

        A header that is damaged counts, if its beginning is not, and so does any whole line.
        """
        return bool(self.header or self.last or HEADER_START.startswith(self._head))

    @property
    def reached(self) -> int:
        """The highest number that was given so far: a line's, or one in a file before this."""
        return max(self.last, self.header.first - 1 if self.header else 0)

    @property
    def read(self) -> int:
        """How many bytes it was fed."""
        return self.offset + self._rest.length

    def feed(self, data: bytes) -> list[Found]:
        """More of its bytes.

        Raises ``JournalError`` if the header says that it cannot be read here.
        """
        found: list[Found] = []
        if len(self._head) < len(HEADER_START):
            self._head = (self._head + data)[: len(HEADER_START)]
        if b"\n" not in data:
            self._rest.add(data)
            return found
        texts = data.split(b"\n")
        rest, texts[0] = self._rest.length, self._rest.take(texts[0])
        self._rest.add(texts.pop())
        offset = self.offset
        if rest > MAX_LINE:
            self._bad("bytes", offset, rest + len(texts[0]) + 1, b"", found)
            offset += rest
        else:
            self._text(texts[0], offset, found)
        offset += len(texts[0]) + 1
        for raw in texts[1:]:
            match = PREFIX.match(raw)
            if (
                match is not None
                and int(match[1]) == self._next
                and raw[-CHECK_LENGTH:] == b',"c":"%08x"}' % crc32(raw[:-CHECK_LENGTH])
            ):  # what _text would say, for the usual line
                self.last = self._next
                self._next += 1
                found.append(Line(self.path, self.last, offset, raw, match))
            else:
                self._text(raw, offset, found)
            offset += len(raw) + 1
        self.offset = offset
        return found

    def flush(self) -> list[Found]:
        """The damage that was held back because it might go on."""
        found: list[Found] = []
        self._tell(found)
        return found

    def finish(self) -> list[Found]:
        """The file has no more bytes: what has not been told yet.

        A whole line that lacks nothing but its end is a line. From now on ``offset`` is where the
        next line may be written.
        """
        found: list[Found] = []
        length, rest = self._rest.length, self._rest.take(b"")
        if 0 < length <= MAX_LINE:
            for start, end in salvage(rest, is_torn=True):
                self._piece(rest[start:end], self.offset, found)
                self.offset += end
                self.lacks_end = True
                rest, length = rest[end:], length - end
        self._tell(found)
        if length:
            self._was_damaged = True
            what = f"the last {length} bytes are no whole line: {_shown(rest, SHOWN_TORN)}"
            found.append(Damage(self.path, self.offset, length, "torn", what, 1))
        self._tell_copied(found)
        return found

    def _text(self, raw: bytes, offset: int, found: list[Found]) -> None:
        """One text, whatever it is."""
        at = 0
        for start, end in [(0, len(raw))] if is_whole(raw) else salvage(raw):
            if start > at:
                self._bad("bytes", offset + at, start - at, raw[at:start], found)
            self._piece(raw[start:end], offset + start, found)
            at = end
        if at < len(raw) or not raw:
            self._bad("bytes", offset + at, len(raw) - at + 1, raw[at:], found)

    def _piece(self, raw: bytes, offset: int, found: list[Found]) -> None:
        """Something whole: a line, or a header."""
        match = PREFIX.match(raw)
        header = to_header(raw) if match is None else None
        if match is not None:
            self._take(Line(self.path, int(match[1]), offset, raw, match), found)
        elif header is not None and offset == 0:
            if header.major > MAJOR:
                raise JournalError(
                    f"{self.path} is a journal of version {header.version}, and this Taskline "
                    f"reads version {MAJOR}: use the newer one that wrote it, or name another file"
                )
            self.header = header
        else:
            self._bad("bytes", offset, len(raw) + 1, raw, found)

    def _take(self, line: Line, found: list[Found]) -> None:
        """A whole line, whose number may not be the one that comes next."""
        number, header = line.number, self.header
        if number <= self.last:
            self._bad("again", line.offset, len(line.raw) + 1, line.raw, found)
            return
        if header is not None and number < header.first:
            if self.last >= header.first:
                self._bad("again", line.offset, len(line.raw) + 1, line.raw, found)
                return
            self._copied += 1
            self._tell(found)
        else:
            before = max(self.last, header.first - 1) if header is not None else number - 1
            if header is not None and self.last < header.first:
                self._tell_copied(found)
            missing = number - 1 - before
            if not self._tell(found, before + 1 if header else 0, missing) and missing:
                self._was_damaged = True
                what = f"{_numbers(before + 1, missing)} missing"
                found.append(Damage(self.path, line.offset, 0, "gap", what, missing))
            self._next = number + 1 if header is not None else -1
        self.last = number
        found.append(line)

    # -- damage: neighbours are one, which is told when something else comes

    def _bad(self, reason: Reason, at: int, length: int, raw: bytes, found: list[Found]) -> None:
        self._next = -1
        self._was_damaged = True
        pending = self._pending
        if pending and pending.reason == reason and pending.offset + pending.length == at:
            pending.length += length
            pending.texts += 1
        else:
            self._tell(found)
            self._pending = _Pending(reason, at, length, 1, raw[:SHOWN])

    def _tell(self, found: list[Found], first: int = 0, missing: int = 0) -> bool:
        """Tell what is pending, if anything; ``first``: from where on the numbers are missing."""
        pending, self._pending = self._pending, None
        if pending is None:
            return False
        if pending.reason == "again":
            what = f"{pending.texts} lines with numbers that were there before were passed over"
            lines = 0
        else:
            lines = missing if first else pending.texts
            lost = f" ({_numbers(first, missing)} lost)" if missing else ""
            what = f"{pending.length} damaged bytes were passed over{lost}: {_shown(pending.begin)}"
        found.append(Damage(self.path, pending.offset, pending.length, pending.reason, what, lines))
        return True

    def _tell_copied(self, found: list[Found]) -> None:
        header = self.header
        if header is None or self._was_damaged or self._copied >= header.copied:
            return
        self._was_damaged = True
        missing = header.copied - self._copied
        what = f"of {header.copied} lines taken over from the file before, {missing} are missing"
        found.append(Damage(self.path, self.offset, 0, "copied", what, missing))


@dataclass(slots=True)
class _Pending:
    reason: Reason
    offset: int
    length: int
    texts: int
    begin: bytes


class _Rest:
    """The bytes since the last line end; of more than ``MAX_LINE`` only the number."""

    __slots__ = ("_parts", "length")

    def __init__(self) -> None:
        self.length = 0
        self._parts: list[bytes] = []

    def add(self, data: bytes) -> None:
        self.length += len(data)
        if self.length > MAX_LINE:
            self._parts.clear()
        elif data:
            self._parts.append(data)

    def take(self, data: bytes) -> bytes:
        """All of it and ``data``, which ends it; ``data`` alone if it was too long."""
        text = b"".join((*self._parts, data)) if self._parts else data
        self._parts.clear()
        self.length = 0
        return text


def _numbers(first: int, count: int) -> str:
    return f"line {first} is" if count == 1 else f"lines {first} to {first + count - 1} are"


def _shown(raw: bytes, most: int = SHOWN) -> str:
    return f"{raw[:most]!r}{'…' if len(raw) > most else ''}"
