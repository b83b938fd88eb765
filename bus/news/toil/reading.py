"""Reading a file that Toil wrote, or that was written as Toil does it. Needs nothing of Toil.

A line that cannot be read costs itself alone, and comes as :class:`~bus.news.scan.Damage` in its
place. Where a writer was cut off in the middle of a line and another one went on in it, what the
second one wrote is found, and not mixed with the other. A last line without an end is *torn*,
however whole it looks, because the next digit may be missing.

An entry's number is that of its line in the file; there are no stamps, so that is ``nan``. Lines of
other topics, and empty ones, are passed over.

Any thread; each reading is by itself.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from bus.news import files
from bus.news.scan import Damage
from bus.news.toil.messages import MESSAGES, topic_of
from bus.news.toil.text import bytes_to_message, form_of
from bus.news.toil.translation import to_event
from protocol.errors import JournalError, MessageRefused
from protocol.history import Entry

_HEAD: Final = 64 * 1024  # bytes that are looked at to know the format
_CHUNK: Final = 256 * 1024  # bytes that are read at once
_SHOWN: Final = 100  # bytes of a line that cannot be read, in a report
_TOPIC: Final = re.compile(rb"^[^\W\d]\w*(?:\.[^\W\d]\w*)+\t", re.MULTILINE)
_BEGINNING: Final = b"toil.bus."
_OF_TOIL: Final = frozenset(map(topic_of, MESSAGES))


class Unreadable(NamedTuple):
    """A line that cannot be read."""

    #: Its bytes, or the first of them.
    raw: bytes
    why: str


class Topic(NamedTuple):
    """What lines of a topic hold."""

    message_type: Any
    #: Fields and the topic itself.
    parts: int
    #: What reads the fields that are no text, by their place in the line.
    readers: tuple[tuple[int, Callable[[str], Any]], ...]


def by_topic(types: Iterable[type]) -> dict[str, Topic]:
    """What :func:`scan_line` is told: the types it is to find. ``RuntimeError``: one that it cannot
    read.
    """
    found = {}
    for each in types:
        form = form_of(each)
        readers = tuple((place + 1, read) for place, read in form.readers)
        found[topic_of(each)] = Topic(each, form.length + 1, readers)
    return found


def scan_line(line: bytes, topics: Mapping[str, Topic]) -> Any:
    """The message of a line without its end, or :class:`Unreadable`, or None: of another topic."""
    if b"\\" not in line and line.isascii() and line.rfind(_BEGINNING) <= 0:
        parts: list[Any] = line.decode("ascii").split("\t")
        topic = topics.get(parts[0])
        if topic is not None and topic.parts == len(parts):
            try:
                for place, read in topic.readers:
                    parts[place] = read(parts[place])
            except ValueError:
                pass  # its words are wanted
            else:
                return tuple.__new__(topic.message_type, parts[1:])
    return _look_closely(line, topics)


def _look_closely(line: bytes, topics: Mapping[str, Topic]) -> Any:
    second = _second_half(line, topics) if line.rfind(_BEGINNING) > 0 else None
    if second is not None:
        return second
    raw, tab, data = line.partition(b"\t")
    topic = topics.get(raw.decode("utf-8", "replace"))
    if topic is None:
        is_other = not line or (tab and _TOPIC.match(line))
        return None if is_other else Unreadable(line[:_SHOWN], "no message of Toil's")
    try:
        if not tab:
            raise ValueError("no tab")
        return bytes_to_message(topic.message_type, data)
    except (ValueError, RuntimeError, TypeError) as error:
        return Unreadable(line[:_SHOWN], str(error))


def _second_half(line: bytes, topics: Mapping[str, Topic]) -> Any:
    """The message of a writer that went on in a line that another one had not ended.

    Its topic stands in the middle, with a tab behind it: a text that ends like that is taken for
    one, because the two together may well look whole.
    """
    begins: list[tuple[int, str]] = []
    for name in topics:
        begin = line.rfind(name.encode() + b"\t", 1)
        if begin > 0:
            begins.append((begin, name))
    for begin, name in sorted(begins):
        data = line[begin + len(name.encode()) + 1 :]
        try:
            return bytes_to_message(topics[name].message_type, data)
        except (ValueError, RuntimeError, TypeError):
            continue
    return None


def scan(stream: IO[bytes], types: Iterable[type]) -> Iterator[Any]:
    """The messages of these types in a file that is open, and each line that is unreadable.

    In the order of the lines. The stream is read ahead, by what it has to give at once.
    """
    topics = by_topic(types)
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    rest: list[bytes] = []
    while data := read(_CHUNK):
        end = data.rfind(b"\n") + 1
        if end:
            yield from _scan_lines(b"".join([*rest, data[:end]]), topics)
            rest.clear()
        rest.append(data[end:])  # what is left at the end is torn


def _scan_lines(data: bytes, topics: Mapping[str, Topic]) -> Iterator[Any]:
    """The same of many whole lines, several times quicker than one by one."""
    begun = data.startswith(_BEGINNING) + data.count(b"\n" + _BEGINNING)
    if not data.isascii() or data.count(_BEGINNING) != begun:
        for line in data.split(b"\n"):
            if (found := scan_line(line, topics)) is not None:
                yield found
        return
    for text in data.decode("ascii").split("\n"):
        parts: list[Any] = text.split("\t")
        topic = topics.get(parts[0])
        if topic is None and parts[0] in _OF_TOIL:
            continue
        if topic is not None and topic.parts == len(parts) and "\\" not in text:
            try:
                for place, number in topic.readers:
                    parts[place] = number(parts[place])
            except ValueError:
                pass  # its words are wanted
            else:
                yield tuple.__new__(topic.message_type, parts[1:])
                continue
        if (found := scan_line(text.encode("ascii"), topics)) is not None:
            yield found


# -- as entries


def is_toil(path: Path | str) -> bool:
    """Whether this is a file of Toil's, by its first lines. Raises ``JournalError``."""
    descriptor = files.open_file(files.real(path), os.O_RDONLY, "read")
    try:
        head = files.read_at(descriptor, _HEAD, 0, path)
    finally:
        os.close(descriptor)
    return head.startswith(_BEGINNING) or _TOPIC.search(head) is not None


def read(path: Path | str) -> Iterator[Entry | Damage]:
    """All that is in it. Raises ``JournalError`` if it cannot be read."""
    reading = _Reading(files.real(path))
    yield from reading.more()
    yield from reading.torn()


def tail(path: Path | str, count: int) -> list[Entry | Damage]:
    """The last so many lines that can be read; each damage between them is one more."""
    return list(deque(read(path), maxlen=count))


def follow(
    path: Path | str, pause: Callable[[], bool], *, last: int = 0
) -> Iterator[Entry | Damage]:
    """The last so many lines, and then whatever is written. What is being written is waited for.

    ``pause`` is called whenever there is nothing more; it waits, and returns False to end it. A
    file that is emptied or replaced, as a leader that is started again does, is read from its
    beginning.
    """
    real = files.real(path)
    reading = _Reading(real)
    found = deque(reading.more(), maxlen=last)
    while True:
        yield from found
        found.clear()
        if not pause():
            return
        if reading.is_over(real):
            try:
                reading = _Reading(real)
            except JournalError:
                continue  # just being replaced
        found = deque(reading.more())


class _Reading:
    def __init__(self, path: Path) -> None:
        self._path = path
        #: Closed with the last reference to this.
        self._file = os.fdopen(files.open_file(path, os.O_RDONLY, "read"), "rb")
        self._offset = 0
        self._number = 0
        self._rest = b""

    def is_over(self, path: Path) -> bool:
        """Whether the file was emptied, or another one is there."""
        mine = os.fstat(self._file.fileno())
        try:
            there = path.stat()
        except OSError:
            return False  # perhaps it is just being replaced
        return mine.st_size < self._file.tell() or mine.st_ino != there.st_ino

    def more(self) -> Iterator[Entry | Damage]:
        """Every line that has an end."""
        for piece in self._file:
            if not piece.endswith(b"\n"):
                self._rest += piece
                return
            line, self._rest = self._rest + piece, b""
            offset, self._offset = self._offset, self._offset + len(line)
            self._number += 1
            found = self._found(line[:-1], offset)
            if found is not None:
                yield found

    def torn(self) -> Iterator[Damage]:
        """A last line without an end."""
        if self._rest:
            what = f"the last {len(self._rest)} bytes are no whole line: {self._rest[:_SHOWN]!r}"
            yield Damage(str(self._path), self._offset, len(self._rest), "torn", what, 1)

    def _found(self, line: bytes, offset: int) -> Entry | Damage | None:
        message = scan_line(line, _TOPICS)
        if message is None:
            return None
        if isinstance(message, Unreadable):
            what = f"line {self._number} cannot be read, {message.why}: {message.raw!r}"
            return Damage(str(self._path), offset, len(line) + 1, "bytes", what, 1)
        try:
            event = to_event(message)
        except MessageRefused as refusal:
            what = f"line {self._number} makes no sense: {refusal.detail}"
            return Damage(str(self._path), offset, len(line) + 1, "field", what, 1)
        return None if event is None else Entry(self._number, math.nan, event)


_TOPICS: Final = by_topic(MESSAGES)
