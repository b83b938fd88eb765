"""Tasks per second, and what each costs, while a fixed number is open."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from benchmarks.measures.steady import part_of, steady

if TYPE_CHECKING:
    from benchmarks.play import Play


def measure(play: Play) -> dict[str, float]:
    """As ``steady`` has it."""
    play.bring_up()
    part = part_of(play.cell.outstanding)
    batches = deque(play.submit(part) for _ in range(play.cell.outstanding // part))
    figures = steady(play, batches)
    if not play.is_last:  # otherwise who would wait for them
        while batches:
            play.gather(batches.popleft())
    return figures
