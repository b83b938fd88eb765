"""``Fleet``: what is asked of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.timing import BEAT

#: Groups of fleets that are looked at together.
ONE: Final = "one executor"
PARTED: Final = "several executors, each with an exchange of its own"
BEATS: Final = "the same with `--beat 60`"
FREE: Final = "one executor, if no step of it went over all workers"
LARGE: Final = "the whole, with deaths"
CHECK: Final = "check"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Executors, each with its own exchange and so with its own part of the workers; one broker."""

    workers: int
    #: Tasks a worker runs at once.
    slots: int = 1
    executors: int = 1
    #: Seconds that a worker promises to be heard from within (``--beat``).
    beat: float = BEAT
    #: Seconds that a task runs, on average; exponential.
    task: float = 10.0
    #: All requests.
    requests: int = 10_000
    #: How many are submitted in a second, at all executors together; None: ``outstanding`` are kept
    #: open at each.
    rate: float | None = None
    outstanding: int = 0
    #: Seconds after which it is enough, whatever has not ended.
    seconds: float = float("inf")
    #: Seconds between two deaths of one worker, on average; infinity: none dies.
    life: float = float("inf")
    #: Seconds until another process takes the place of one that died.
    rebirth: float = 30.0
    #: Workers that die all at once, halfway through.
    at_once: int = 0
    seed: int = 0

    @property
    def capacity(self) -> float:
        """Tasks a second that the slots could run."""
        return self.workers * self.slots / self.task
