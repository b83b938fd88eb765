"""What the shift wants done: small frozen values, performed in order by the keeper. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.parcel import Parcel
from worker.work import Work


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a message."""

    parcel: Parcel
    #: It is said again later in any case: a beat, or what has been said before. While the broker is
    #: away such messages would pile up, and are left out.
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Hand a work to the pool."""

    work: Work


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Ask the pool for this run, which may not have begun."""

    key: int


@dataclass(frozen=True, slots=True)
class End:
    """End the process of this run, if the pool can."""

    key: int


@dataclass(frozen=True, slots=True)
class Done:
    """The shift is over: nothing is held, nothing more will be taken."""


Effect = Send | Run | TakeBack | End | Done
