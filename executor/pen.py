"""The one way by which an executor's threads use its journal: never from inside itself.

A caller's thread writes when it submits or cancels, the keeper's with each of its turns. User code
can run in the middle of that, on the same thread: a signal handler, or a finalizer that the garbage
collector calls. What such code asks of the journal would wait for a lock that its own thread holds.
It is refused instead. Any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from protocol.errors import JournalError
from protocol.events import Event
from protocol.history import RequestStatus


class Paper(Protocol):
    """What is written on, and read: a journal."""

    def append(self, events: Sequence[Event], /) -> None:
        """Write them all, or raise ``JournalError`` and none."""

    def find(self, uuid: str, /) -> RequestStatus | None:
        """The request of this uuid, open or ended."""

    def find_key(self, key: str, /) -> str | None:
        """The uuid of the newest request of this key."""

    def keeps_all_of(self, incarnation: int, /) -> bool:
        """Whether every line that this incarnation has written is still here."""


class Pen:
    """Raises ``JournalError`` for what comes from inside of another use by the same thread."""

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        #: Threads that use the journal now, or wait for it.
        self._inside: set[int] = set()

    def append(self, events: Sequence[Event], /) -> None:
        """Write them all, or raise ``JournalError`` and none."""
        with self._alone():
            self._paper.append(events)

    def find(self, uuid: str, /) -> RequestStatus | None:
        """The request of this uuid, open or ended."""
        with self._alone():
            return self._paper.find(uuid)

    def find_key(self, key: str, /) -> str | None:
        """The uuid of the newest request of this key."""
        with self._alone():
            return self._paper.find_key(key)

    def keeps_all_of(self, incarnation: int, /) -> bool:
        """Whether every line that this incarnation has written is still here."""
        with self._alone():
            return self._paper.keeps_all_of(incarnation)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        me = threading.get_ident()
        if me in self._inside:
            raise JournalError(
                "the journal was asked for by a signal handler or a finalizer, in the middle of "
                "being written by the same thread: submit or cancel from ordinary code, to which "
                "these leave a note"
            )
        self._inside.add(me)
        try:
            yield
        finally:
            self._inside.discard(me)
