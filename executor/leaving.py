"""Executors whose process ends without a shutdown of theirs, or forks.

Decided here: how long the end of an interpreter may take because of us, and what a forked child
finds. The standard library's pools are waited for until all they were given has ended, however long
that takes. Ours runs in other processes, perhaps for days, perhaps never: what an executor that is
being shut down still has open is waited for ``EXIT_WAIT`` seconds, what was submitted to one that
is not is only sent; and then the program ends, within ``EXIT_TIMEOUT`` seconds of all this.

A forked child has none of the threads. Its copy of each executor is marked, so that every use is
refused, and kept for ever, so that no destructor says goodbye to a broker in the parent's name.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from typing import Final, Protocol

EXIT_WAIT: Final = 7.0  # seconds for what is open in executors that are being shut down
EXIT_TIMEOUT: Final = 10.0  # seconds for all of it


class Leaver(Protocol):
    """What has to know of it: an engine."""

    def wind_up(self, until: float) -> None:
        """Wait for what is open, if it is being shut down; until then at most."""

    def leave(self, until: float) -> None:
        """End, whatever is open; until then at most, on the monotonic clock."""

    def forked(self) -> None:
        """In the forked child: none of it works here."""


#: Engines that have not ended.
_LEAVERS: Final[weakref.WeakSet[Leaver]] = weakref.WeakSet()
#: In a forked child: those of its parent.
_PARENTS: Final[list[Leaver]] = []


def watch(leaver: Leaver) -> None:
    """Tell it when the interpreter ends, or forks."""
    _LEAVERS.add(leaver)


def forget(leaver: Leaver) -> None:
    """It has ended in order."""
    _LEAVERS.discard(leaver)


@atexit.register
def _leave_all() -> None:
    began = time.monotonic()
    leavers = list(_LEAVERS)
    for leaver in leavers:
        leaver.wind_up(began + EXIT_WAIT)
    for leaver in leavers:
        leaver.leave(began + EXIT_TIMEOUT)


def _forked() -> None:
    for leaver in list(_LEAVERS):
        _PARENTS.append(leaver)
        leaver.forked()
    _LEAVERS.clear()


os.register_at_fork(after_in_child=_forked)
