"""Whether this process stood still for so long that what it has queued is somebody else's by now.

A process can be stopped, swapped out or suspended with its machine. It feels nothing of that; only
the time between two of its own turns is too long. What it had queued was given to others meanwhile,
and so may have been what still lies in its inbox. Nobody tells it: an executor sends a lost request
elsewhere, and leaves the silent one alone.

Decided here: that it was so, and until when what comes may still be of the time before. What is
done about it is the shift's. Pure; the shift's thread only.
"""

from __future__ import annotations

import math

from protocol.timing import CATCHING_UP, lease, pace


class Standstill:
    """Of one worker process. ``now`` is its clock, which counts the time a machine sleeps."""

    def __init__(self, beat: float) -> None:
        #: Seconds between two turns, at most, or it was one: our last words may be a pace older
        #: than our last turn, and the lease counts from them. What was handed to the pool so long
        #: ago and has not begun, the pool returns: it may wake up before we do.
        self.most = lease(beat) - pace(beat)
        self._last_turn = math.inf
        #: When we have caught up with what was sent before; infinity: there is nothing to catch up.
        self.until = math.inf

    @property
    def is_catching_up(self) -> bool:
        """Whether what comes now may be of the time before, and be somebody else's by now."""
        return self.until < math.inf

    def ends(self, now: float) -> bool:
        """Whether a standstill ends with this turn, of which there is at least one in each beat."""
        gap, self._last_turn = now - self._last_turn, now
        if gap <= self.most:
            return False
        self.until = now + CATCHING_UP
        return True

    def consumes(self, now: float) -> None:
        """The listener has begun to consume again: what lay in the inbox comes from now on."""
        if self.is_catching_up:
            self.until = now + CATCHING_UP

    def is_caught_up(self, now: float) -> bool:
        """Whether that is over. Said once."""
        if now < self.until:
            return False
        self.until = math.inf
        return True
