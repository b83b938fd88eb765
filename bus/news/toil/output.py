"""What is published on a bus, written to a file as Toil writes it, for Toil's own tools to read.

Decided here: what a write that failed leaves, which is nothing; so a line never runs into the next
one. The file has no stamps and no checksums, and is begun anew each time, as Toil's is: for
anything but Toil's tools a journal is the better file (``bus.news.record``).

The bus's owner's thread, but for what a finalizer does.
"""

from __future__ import annotations

import contextlib
import logging
import os
from io import FileIO
from types import TracebackType
from typing import Any, Final

from bus.news.events import Bus
from bus.news.toil.messages import topic_of
from bus.news.toil.text import lines_of, message_to_bytes, template_of
from bus.news.toil.translation import to_message
from protocol.history import Entry

logger = logging.getLogger("taskline.bus.news.toil.output")

#: What ``open`` takes: a name, or a descriptor, which is the file's from then on.
Place = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int

MOST: Final = 500  # messages that are held back, at the most


def connect_output_file(bus: Bus, path: Place, *, grouped: bool = False) -> OutputFile:
    """Write everything on the bus that Toil has a form for, until what is returned is closed.

    That is Toil's messages, our events about jobs, and any other named tuple. The file is emptied
    first. Each line is written before a subscriber gets its message, with one write of its own.
    ``grouped``: up to 500 are held back until the next ``check`` of the bus, or reading of an
    inbox; a process that is killed loses them.

    Raises ``OSError`` if the file cannot be opened. Lines that cannot be written are lost, and the
    log says so, once for each time it begins.
    """
    return OutputFile(bus, Output(path, MOST if grouped else 1))


class OutputFile:
    """Lasts until ``close``, or the end of a ``with``."""

    def __init__(self, bus: Bus, output: Output) -> None:
        self._tap = bus.tap(output.take, flush=output.write)
        self._output = output

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is held, and end. For the bus's owner to do (``BusError``); twice is fine."""
        self._tap.close()
        self._output.close()

    def abandon(self) -> None:
        """The same for a finalizer, on any thread and in the middle of anything."""
        # The bus forgets the tap later: to do that takes a lock, which somebody may hold here.
        self._tap.handler = self._tap.flush = None
        self._output.close()


class Output:
    """The file."""

    def __init__(self, path: Place, most: int) -> None:
        """``most``: so many messages are written together."""
        self._file = FileIO(path, "wb")
        self._most = most
        self._held: list[tuple[Any, ...]] = []
        #: What the lines of each class look like.
        self._templates: dict[type, str] = {}
        #: Where the last whole line ends.
        self._end = 0
        #: How many lines were lost since the last one that was not.
        self._lost = 0
        # A finalizer may close it in the middle of a write, which then does so itself.
        self._is_writing = False
        self._is_closing = False

    def take(self, entry: Entry) -> None:
        """A message of the bus."""
        message: Any = entry.event
        kind = type(message)
        if kind not in self._templates:
            if not hasattr(kind, "_fields"):
                message = to_message(message)
                if message is None:
                    return
                kind = type(message)
            if kind not in self._templates:
                self._templates[kind] = template_of(topic_of(kind), kind)
        self._held.append(message)
        if len(self._held) >= self._most:
            self.write()

    def write(self) -> None:
        """What is held."""
        if not self._held:
            return
        held, self._held = self._held, []
        self._is_writing = True
        try:
            if not self._is_closing:
                self._append(self._lines(held), len(held))
        finally:
            self._is_writing = False
            if self._is_closing:
                self._file.close()

    def close(self) -> None:
        """Write what is held, and end. Twice is fine."""
        if not self._is_writing:
            self.write()
        self._is_closing = True
        if not self._is_writing:
            self._file.close()

    def _lines(self, messages: list[tuple[Any, ...]]) -> bytes:
        if len(messages) > 1 and (lines := lines_of(messages, self._templates)) is not None:
            return lines
        each: list[bytes] = []
        for message in messages:
            try:
                fields = message_to_bytes(message)
            except RuntimeError as error:
                logger.error("a message is not written for Toil: %s", error)  # noqa: TRY400
            else:
                each.append(b"%b\t%b\n" % (topic_of(type(message)).encode(), fields))
        return b"".join(each)

    def _append(self, data: bytes, lines: int) -> None:
        try:
            rest = memoryview(data)
            while rest:
                written = self._file.write(rest)
                if written is None:
                    raise BlockingIOError("its reader takes no more just now")
                rest = rest[written:]
        except OSError as error:
            with contextlib.suppress(OSError):  # nothing to be cut off in a pipe
                self._file.truncate(self._end)
                self._file.seek(self._end)
            if not self._lost:
                logger.error("lines for Toil cannot be written: %s", error)  # noqa: TRY400
            self._lost += lines
            return
        self._end += len(data)
        if self._lost:
            logger.warning("lines for Toil are written again; %d are missing", self._lost)
            self._lost = 0
