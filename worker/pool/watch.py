"""What the pool's thread waits for: notes, what hosts say, and the ends of their processes.

A host that has something to tell rings a bell. Its pipe is watched for reading only while it runs
something long, when nobody looks there otherwise, and for writing while there is something to be
written. The end of a process is told by a descriptor of it (pidfd); where the system has none, it
is for the caller to look from time to time.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Iterator
from typing import Final, Literal

from worker.pool.seat import Seat

#: What happened: there are notes; a host rings, or has written; a pipe can be written; a process
#: has ended.
Happening = Literal["notes", "rings", "readable", "writable", "ended"]

_Source = tuple[Literal["notes", "bell", "pipe", "process"], Seat | None]
_LONGEST_WAIT: Final = 3600.0  # seconds; a selector refuses more than some weeks


class Watch:
    """A selector over all that. The pool's thread only."""

    def __init__(self, wake: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake, selectors.EVENT_READ, ("notes", None))
        self._processes: dict[Seat, int] = {}
        #: For what a pipe is watched, if it is.
        self._events: dict[Seat, int] = {}

    def wait(self, timeout: float) -> Iterator[tuple[Happening, Seat | None]]:
        """What happens within so many seconds; what seats are about is theirs, of notes nobody's.

        A seat may be dropped, and added again, while this goes on.
        """
        for key, events in self._selector.select(min(timeout, _LONGEST_WAIT)):
            source: _Source = key.data
            kind, seat = source
            if kind == "notes":
                yield "notes", None
            elif self._selector.get_map().get(key.fd) is not key:
                continue  # dropped since
            elif kind == "process":
                yield "ended", seat
            elif kind == "bell":
                yield "rings", seat
            else:
                if events & selectors.EVENT_READ:
                    yield "readable", seat
                if events & selectors.EVENT_WRITE:
                    yield "writable", seat

    def add(self, seat: Seat) -> None:
        """Watch a host that has just been started."""
        assert seat.process is not None
        self._selector.register(seat.bell, selectors.EVENT_READ, ("bell", seat))
        self.see_to(seat)
        # Not on macOS, nor where a sandbox forbids it.
        with contextlib.suppress(AttributeError, OSError):
            self._processes[seat] = os.pidfd_open(seat.process)
            self._selector.register(self._processes[seat], selectors.EVENT_READ, ("process", seat))

    def tells_end_of(self, seat: Seat) -> bool:
        """Whether the end of this host's process is told, so that nobody need look."""
        return seat in self._processes

    def see_to(self, seat: Seat) -> None:
        """Watch its pipe for room if there is more to be written, and for what comes if nobody
        looks, and only then.
        """
        if seat.is_deaf:
            return
        events = selectors.EVENT_WRITE if seat.has_outgoing else 0
        if seat.is_unwatched:
            events |= selectors.EVENT_READ
        before = self._events.get(seat, 0)
        if events == before:
            return
        self._events[seat] = events
        if not before:
            self._selector.register(seat.pipe, events, ("pipe", seat))
        elif events:
            self._selector.modify(seat.pipe, events, ("pipe", seat))
        else:
            self._selector.unregister(seat.pipe)

    def drop_pipe(self, seat: Seat) -> None:
        """Its host has closed it: only its end is still to come."""
        seat.is_deaf = True
        if self._events.pop(seat, 0):
            self._selector.unregister(seat.pipe)
        with contextlib.suppress(KeyError):
            self._selector.unregister(seat.bell)

    def drop(self, seat: Seat) -> None:
        """Let go of a host that is dead, before its pipe is closed here."""
        self.drop_pipe(seat)
        fd = self._processes.pop(seat, None)
        if fd is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
            os.close(fd)

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()
