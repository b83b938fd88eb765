"""Raises ``SoftTimeLimitExceeded`` in the task that runs, once its time is over.

The pool knows when that is and has the host *nudged*: a signal, because only a signal interrupts a
task that waits. The nudge says no more than "look at the clock": whether there is anything to
raise, and where, is decided here, on the host's main thread, where Python runs its handlers. So a
nudge that comes late, or from elsewhere, hits nobody: not the next task, and none of our own code.
The clock is the monotonic one, which all processes of a machine share.

The signal is SIGURG: tasks have no use for it, and where nobody handles it nothing happens. SIGALRM
and all others are theirs. It is sent again every ``NUDGE_PERIOD`` as long as the task runs. A limit
is raised once in a run, into whatever code of the task runs then, in its event loop as ``awaiting``
has it; again only if it came up where Python drops exceptions (in a ``__del__``). What must not be
cut in two, such as writing to the pipe, holds it up (:meth:`SoftLimit.hold`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from protocol.errors import SoftTimeLimitExceeded

NUDGE: Final = signal.SIGURG
NUDGE_PERIOD: Final = 0.5  # seconds

#: Raises what is due, or sees to it that it is raised where it should be. Takes the frame that was
#: interrupted; None: one of the task's own, which has just spoken.
Strike = Callable[["FrameType | None"], None]


class SoftLimit:
    """The soft limit of one host. Main thread only."""

    def __init__(self) -> None:
        #: When it is to be raised, on the monotonic clock; None: nothing runs that has one.
        self._due: float | None = None
        #: What to say of it.
        self.text = ""
        #: What was raised in this run.
        self._raised: BaseException | None = None
        self._held = 0
        self._strike: Strike | None = None

    def install(self) -> None:
        """Listen for nudges, from now on."""
        signal.signal(NUDGE, self._nudged)
        told_before = sys.unraisablehook

        def hook(told: Any) -> None:
            if told.exc_value is not None and told.exc_value is self._raised:
                self._raised = None  # it was dropped: the next nudge raises it again
            else:
                told_before(told)

        sys.unraisablehook = hook

    # -- a run

    def begin(self, task: str, seconds: float, due: float) -> None:
        """From here to :meth:`finish`, raise when ``due`` has passed; at once if it has."""
        self.finish()
        if signal.getsignal(NUDGE) != self._nudged:  # a task before has taken it
            signal.signal(NUDGE, self._nudged)
        self.text = (
            f"{task} has run for its soft_time_limit of {seconds:g} s: let it catch "
            "SoftTimeLimitExceeded and end in good order, give it less to do, or a longer limit"
        )
        self._due = due
        self.look()

    def finish(self) -> None:
        """Raise nothing from here on. What is raised just before, leaves from here."""
        self._due = self._raised = self._strike = None

    def forget(self) -> None:
        """In a forked child: the limit is its parent's."""
        self.finish()
        self._held = 0
        signal.signal(NUDGE, signal.SIG_DFL)

    def hold(self) -> None:
        """Raise nothing until :meth:`let_go`."""
        self._held += 1

    def let_go(self) -> None:
        """Raise again, and now if it was due in between."""
        self._held -= 1
        self.look()

    def steer(self, strike: Strike | None) -> None:
        """Have it raised by somebody who knows better where, or by this room again."""
        self._strike = strike

    # -- its end

    @property
    def is_over(self) -> bool:
        """Whether something is to be raised."""
        return self._due is not None and self._raised is None and time.monotonic() >= self._due

    def look(self, frame: FrameType | None = None) -> None:
        """Raise what is to be raised."""
        if self._held or not self.is_over:
            return
        if self._strike is not None:
            self._strike(frame)
        else:
            raise self.taken(SoftTimeLimitExceeded(self.text))

    def taken(self, error: BaseException) -> BaseException:
        """Raise nothing more in this run: this is raised."""
        self._raised = error
        return error

    def _nudged(self, _signal: int, frame: FrameType | None) -> None:
        self.look(frame)
