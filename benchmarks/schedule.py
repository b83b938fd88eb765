"""In which order cells are played, and which are not because they could not end in time. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.cells import Cell
from benchmarks.result import Result


def rounds(cells: Sequence[Cell], count: int, seed: int = 0) -> Iterator[tuple[int, Cell]]:
    """``(round, cell)``: all of them, as often as ``count``; rivals directly after each other.

    What is compared is never more than a few plays apart, and none is always the first: in each
    round the rivals' order is another one. The same seed gives the same orders.
    """
    for number in range(1, count + 1):
        chance = random.Random(f"{seed} {number}")
        for _, group in itertools.groupby(cells, key=lambda cell: cell.rivals):
            rivals = list(group)
            chance.shuffle(rivals)
            for cell in rivals:
                yield number, cell


def hopeless(cell: Cell, results: Iterable[Result], deadline: float) -> str:
    """Why a burst cannot end within ``deadline`` seconds, by what smaller ones took.

    Empty if it can, or if nothing is known.
    """
    if cell.measure != "burst":
        return ""
    smaller = [
        result
        for result in results
        if (result.cell.measure, result.cell.peer, result.cell.setting, result.cell.broker)
        == (cell.measure, cell.peer, cell.setting, cell.broker)
        and result.cell.outstanding < cell.outstanding
    ]
    if not smaller:
        return ""
    nearest = max(smaller, key=lambda result: (result.cell.outstanding, result.round))
    if not nearest.is_good:
        return f"{nearest.cell.outstanding:,} at once did not go well before"
    rate = nearest.figures["per_second"]
    seconds = cell.outstanding / rate
    if seconds < deadline:
        return ""
    return (
        f"at the {rate:,.0f} tasks/s of {nearest.cell.outstanding:,} at once it would take "
        f"{seconds:,.0f} s, and a play has {deadline:g} s"
    )
