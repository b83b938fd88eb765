"""Whether a task has come to cost too many calls, and the words that say which. Pure."""

from __future__ import annotations

from typing import Final

from benchmarks.calls.baseline import FILE, Known
from benchmarks.calls.counter import Calls

#: The share of calls more than are known at which it is too much.
ALLOWED: Final = 0.25

_TOLD: Final = 10  # functions
_RENEW: Final = "python -m benchmarks.calls --renew"


def has_grown(known: float, found: float) -> bool:
    """By more than is allowed."""
    return found > known * (1 + ALLOWED)


def words(part: str, known: Known | None, found: Calls) -> str:
    """What is wrong with a part, for who has changed it; empty if nothing is."""
    where = f"benchmarks/{FILE.relative_to(FILE.parents[1])}"
    if known is None:
        return f"{part}: nothing is known of it in {where}; write it down: {_RENEW}"
    if known.messages and has_grown(known.messages, found.messages):
        return (
            f"{part}: a task takes {found.messages:.3f} broker messages, and {known.messages:.3f} "
            f"according to {where}; up to {ALLOWED:.0%} more are allowed. What is said to one peer "
            "at one moment should travel as one message (protocol.batch, bus.wire.load). If more "
            f"are needed, write that down, and say why in the commit: {_RENEW}"
        )
    if not has_grown(known.total, found.total):
        return ""
    more = found.total / known.total - 1
    head = (
        f"{part}: a task makes {found.total:,.0f} function calls, {more:.0%} more than the "
        f"{known.total:,.0f} of {where}; up to {ALLOWED:.0%} more are allowed. Mostly:"
    )
    what_to_do = (
        "Have it do less for each task (python -m benchmarks.calls --functions 40 shows what it "
        "does). If it is worth its price, write the new counts down, and say why in the commit: "
        f"{_RENEW}"
    )
    return "\n".join([head, *(f"  {line}" for line in growth(known, found)), what_to_do])


def growth(known: Known, found: Calls) -> list[str]:
    """The functions that have grown most, a line each: by how much, which, from what to what."""
    grown = []
    for (room, what), now in found.places.items():
        before = known.places.get((room, what))
        since = min(now, known.least) if before is None else before
        at_most = "at most " if before is None else ""
        if now - since > 0.5:
            grown.append((now - since, f"{room}  {what}: {at_most}{since:,.1f} before, {now:,.1f}"))
    grown.sort(key=lambda one: (-one[0], one[1]))
    return [f"{by:+8.1f}  {line}" for by, line in grown[:_TOLD]] or [
        "many functions, a little each"
    ]
