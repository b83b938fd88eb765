"""In which order sittings are played, and what is not because it could not end in time. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.cells import Cell, Sitting
from benchmarks.result import NOT_ENDED, Result


def rounds(sittings: Sequence[Sitting], count: int, seed: int = 0) -> Iterator[tuple[int, Sitting]]:
    """``(round, sitting)``: all of them, as often as ``count``; rivals directly after each other.

    What is compared is never more than a few sittings apart, and none is always the first: in each
    round the rivals' order is another one. The same seed gives the same orders.
    """
    for number in range(1, count + 1):
        chance = random.Random(f"{seed} {number}")
        for _, group in itertools.groupby(sittings, key=lambda sitting: sitting.rivals):
            rivals = list(group)
            chance.shuffle(rivals)
            for sitting in rivals:
                yield number, sitting


def hopeless(cell: Cell, results: Iterable[Result], fill: float) -> str:
    """Why this cell would come to nothing, by what was seen before; empty if it may well not.

    It had not ended in an earlier round; or it is about more requests than can be submitted within
    ``fill`` seconds.
    """
    results = list(results)
    for result in results:
        if result.cell == cell and result.problem.startswith(NOT_ENDED):
            return f"in round {result.round} {result.problem}"
    if cell.measure != "backlog":
        return ""
    known = [
        result
        for result in results
        if (result.cell.measure, result.cell.peer, result.cell.setting, result.cell.broker)
        == (cell.measure, cell.peer, cell.setting, cell.broker)
        and result.cell.outstanding <= cell.outstanding
    ]
    for result in known:
        if result.cell == cell and result.skipped:
            return result.skipped
    smaller = [result for result in known if result.cell.outstanding < cell.outstanding]
    if not smaller:
        return ""
    nearest = max(smaller, key=lambda result: (result.cell.outstanding, result.round))
    if not nearest.is_good:
        return f"{nearest.cell.outstanding:,} at once did not go well before"
    rate = nearest.figures["submitted_per_second"]
    seconds = cell.outstanding / rate
    if seconds < fill:
        return ""
    return (
        f"submitting them at the {rate:,.0f} a second of {nearest.cell.outstanding:,} would take "
        f"{seconds:,.0f} s, and that may take {fill:g} s"
    )
