"""Who notices that a thread hangs in a library: whichever thread of ours comes round.

The threads that talk to a broker can hang where no deadline of ours reaches: in a resolver, in a
handshake, in a system call. Whoever waits at a mailbox, the keeper above all, which touches no
network, looks round every few seconds (``look``), so no thread is needed for it. What hangs is
left to itself, with its connection, and a fresh thread takes its place: how, is the business of who
is watched, the ``listener``. (A publisher's calls all end by deadlines that it sets itself.)

A thread that hangs is one whose count of turns stood still over several looks. Not one that was
silent by the clock: after a process was stopped, or a machine slept, all of them were.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

from bus.wire import deadlines


class Life:
    """What is known of one thread, from its start until it ends or is left to itself."""

    def __init__(self) -> None:
        #: Counted up by the thread itself, whenever it comes round.
        self.turns = 0
        #: Set by another thread, for good: what this one still does counts for nothing.
        self.is_abandoned = False
        self._seen = -1
        self._looks_in_vain = 0

    @property
    def is_late(self) -> bool:
        """Whether it has not come round between the last two looks."""
        return self._looks_in_vain > 0

    def look(self) -> bool:
        """Whether it hangs. Called by one thread at a time."""
        if self.turns != self._seen:
            self._seen = self.turns
            self._looks_in_vain = 0
        else:
            self._looks_in_vain += 1
        return self._looks_in_vain >= deadlines.LOOKS_IN_VAIN


class Watched(Protocol):
    """Who has a thread that may hang."""

    def look_after(self) -> None:
        """Replace the thread if it hangs. Any thread, one at a time; quick."""


class Watch:
    """All that is watched in this process. Any thread."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._next = 0.0
        self._looking = threading.Lock()  # one looks at a time; nobody waits for another's look

    def add(self, watched: Watched) -> None:
        """Look after it from now on."""
        self._watched.add(watched)

    def discard(self, watched: Watched) -> None:
        """No more."""
        self._watched.discard(watched)

    def look(self) -> None:
        """Look after all of them, if the last look is ``LOOK`` seconds ago."""
        now = time.monotonic()
        if now < self._next or not self._looking.acquire(blocking=False):
            return
        try:
            self._next = now + deadlines.LOOK
            for each in self._watched.copy():
                each.look_after()
        finally:
            self._looking.release()

    def forget(self) -> None:
        """In a forked child: the threads are its parent's."""
        self.__init__()  # type: ignore[misc]


WATCH = Watch()
os.register_at_fork(after_in_child=WATCH.forget)
