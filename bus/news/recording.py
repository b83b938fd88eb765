"""What is published on a bus, written to a journal.

Decided here: when a line is written, and what becomes of one that cannot be. What is no event of
``protocol.events`` has no line, and is passed over. An executor writes its journal by itself,
before it publishes: to record its bus in the same file would say everything twice.

The bus's owner's thread; ``record`` itself on any.
"""

from __future__ import annotations

import logging
from typing import Final

from bus.news.events import Bus, Subscription
from bus.news.journal import Journal
from protocol.errors import JournalError, ValueRefused
from protocol.events import EVENTS
from protocol.history import Entry

logger = logging.getLogger("taskline.bus.news.recording")

MOST: Final = 500  # lines that are held back, at the most


def record(bus: Bus, journal: Journal, *, grouped: bool = False) -> Subscription:
    """Write every event on the bus to the journal, until what is returned is closed.

    Each with the time at which it was published, and in the journal before a subscriber gets it.
    ``grouped``: up to 500 are held back until the next ``check`` of the bus, or reading of an
    inbox, and written in one piece, which is several times quicker; a process that is killed loses
    them.
    Closing it, which is for the bus's owner to do, writes what is held.

    A line that cannot be written is lost, and the log says so, once for each time it begins.
    """
    recorder = _Recorder(journal, MOST if grouped else 1)
    return bus.tap(recorder.take, flush=recorder.write)


class _Recorder:
    def __init__(self, journal: Journal, most: int) -> None:
        self._journal = journal
        self._most = most
        self._held: list[Entry] = []
        #: How many lines were lost since the last one that was not.
        self._lost = 0

    def take(self, entry: Entry) -> None:
        if type(entry.event) in _KINDS:
            self._held.append(entry)
            if len(self._held) >= self._most:
                self.write()

    def write(self) -> None:
        held, self._held = self._held, []
        try:
            self._append(held)
        except ValueRefused:  # one of them is no JSON, and costs no other
            for each in held:
                try:
                    self._append([each])
                except ValueRefused as error:
                    self._lose(1, error)

    def _append(self, held: list[Entry]) -> None:
        try:
            self._journal.append([each.event for each in held], [each.stamp for each in held])
        except JournalError as error:
            self._lose(len(held), error)
        else:
            if self._lost and held:
                logger.warning("%d events are missing in %s", self._lost, self._journal.path)
                self._lost = 0

    def _lose(self, count: int, error: Exception) -> None:
        if not self._lost:
            logger.error("what is published is not in the journal: %s", error)
        self._lost += count


_KINDS: Final = frozenset(EVENTS.values())
