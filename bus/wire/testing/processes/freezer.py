"""``Freezer``: a process that stands still for a while, as on a suspended machine.

SIGSTOP and SIGCONT, for one process or for all of its tree. A frozen process runs nothing, answers
nothing and keeps its connections, which is what a network sees of a virtual machine that was
suspended or swapped out. Its clocks go on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Final

from bus.wire.testing.living import Living
from bus.wire.testing.processes.guard import Guard
from bus.wire.testing.processes.tree import descendants, state_of

_LOOK: Final = 0.005  # seconds between two looks at whether it stands
DEADLINE: Final = 10.0  # seconds for a process to stand still


class Freezer(Living):
    """``with Freezer(pid): …`` freezes for the length of the block. May be used again and again.

    ``tree``: with its children and theirs, as they are at that moment. If the test process is
    killed meanwhile, they are thawed all the same.
    """

    def __init__(self, pid: int, *, tree: bool = True) -> None:
        self._pid = pid
        self._tree = tree
        self._guard = Guard()
        self._frozen: list[int] = []

    def __repr__(self) -> str:
        return f"<Freezer of process {self._pid}, {len(self._frozen)} frozen>"

    @property
    def frozen(self) -> tuple[int, ...]:
        """The processes that stand still by our hand, parents first."""
        return tuple(self._frozen)

    def start(self) -> None:
        """Freeze; returns when all stand still.

        Raises ``ProcessLookupError`` if there is no such process, ``TimeoutError`` if it does not
        stand still in time (it is thawed then).
        """
        if self._frozen:
            return
        try:
            self._freeze(self._pid)
            # Parents first: one that stands still starts no more children. Again, for those that
            # were started between our look and the signal.
            while self._tree:
                below = [pid for pid in descendants(self._pid) if pid not in self._frozen]
                if not below:
                    return
                for pid in below:
                    with contextlib.suppress(ProcessLookupError):
                        self._freeze(pid)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Thaw what was frozen, children first. Nothing if nothing is."""
        frozen, self._frozen = self._frozen, []
        for pid in reversed(frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._guard.stop()

    def _freeze(self, pid: int) -> None:
        self._guard.thaw_at_our_end(pid)
        os.kill(pid, signal.SIGSTOP)
        self._frozen.append(pid)
        until = time.monotonic() + DEADLINE
        pause = threading.Event()
        while state_of(pid) not in ("T", "t", "Z", "X", ""):
            if time.monotonic() > until:
                raise TimeoutError(f"process {pid} did not stand still within {DEADLINE} s")
            pause.wait(_LOOK)
