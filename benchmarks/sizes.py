"""How long and how large plays are: for the record, for a first look, or to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Size:
    """Seconds are of measuring; a play's start, warming up and end come on top."""

    name: str
    rounds: int
    #: Of throughput, whatever the number open.
    seconds: float
    #: Before that begins, with workers that have just come; and with those that were busy already.
    warm_up: float
    rewarming: float
    #: Lone calls, and the seconds after which there are no more.
    calls: int
    call_seconds: float
    #: Seconds in which all that is to be open must have been submitted.
    fill: float
    #: Seconds for a whole cell; then it is ended, and says so.
    deadline: float


SIZES: Final = {
    size.name: size
    for size in (
        Size("full", 5, 1.2, 1.3, 0.3, 400, 1.0, 30.0, 60.0),
        Size("quick", 1, 1.0, 1.0, 0.3, 100, 1.0, 10.0, 30.0),
        # Long enough for thousands of looks; see benchmarks.account.
        Size("account", 1, 20.0, 2.0, 0.3, 100, 1.0, 10.0, 60.0),
    )
}
