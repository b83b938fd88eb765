"""How long and how large plays are: for the record, or for a first look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Size:
    """Seconds are of measuring; a play's start, warming up and end come on top."""

    name: str
    rounds: int
    #: Of throughput and of repeated bursts.
    seconds: float
    #: Before those begin.
    warm_up: float
    #: Lone calls, and the seconds after which there are no more.
    calls: int
    call_seconds: float
    #: Requests that are open when their memory is measured.
    memory_requests: int
    #: Seconds for a whole play; then it is ended, and says so.
    deadline: float


SIZES: Final = {
    size.name: size
    for size in (
        Size("full", 5, 4.0, 1.5, 500, 10.0, 20_000, 150.0),
        Size("quick", 1, 1.0, 0.5, 100, 1.5, 2_000, 40.0),
    )
}
