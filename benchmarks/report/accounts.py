"""The tables of where a task's CPU goes, room by room, and of what nobody does without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.account.files import Account
from benchmarks.account.stacks import SIDES
from benchmarks.cells import Cell
from benchmarks.programme import BROKERS
from benchmarks.report.book import Book
from benchmarks.report.tables import table
from benchmarks.statistics import rounded

#: Microseconds of one side, from which on a room has a row of its own.
_WORTH: Final = 3.0
_REST: Final = "all others"


def by_room(accounts: Sequence[Account]) -> str:
    """Microseconds of a task, by broker and side; empty if there are none."""
    if not accounts:
        return ""
    found = {
        (account.broker, side, room): spent
        for account in accounts
        for (side, room), spent in account.microseconds().items()
    }
    columns = [(account.broker, side) for account in accounts for side in SIDES]
    rooms = sorted({room for (_, _, room), spent in found.items() if spent >= _WORTH})
    rooms.sort(key=lambda room: -sum(spent for (_, _, of), spent in found.items() if of == room))
    rows = [[room, *(_shown(found.get((*at, room), 0.0)) for at in columns)] for room in rooms]
    others = [
        sum(spent for (*at, room), spent in found.items() if (*at,) == where and room not in rooms)
        for where in columns
    ]
    rows.append([_REST, *map(_shown, others)])
    sums = [sum(spent for (*at, _), spent in found.items() if (*at,) == where) for where in columns]
    rows.append(["**together**", *map(_shown, sums)])
    return table(["", *(f"{broker}: {side}" for broker, side in columns)], rows)


def limit(book: Book) -> str:
    """The bare sketch's microseconds of a task beside ours, both sides together, and the broker."""
    rows = []
    for broker in BROKERS:
        ours = Cell("throughput", broker, "taskline", "default")
        bare = Cell("throughput", broker, "sketch", "default")
        spreads = [
            book.spread(cell, part) for cell in (ours, bare) for part in ("cpu", "cpu_broker")
        ]
        if None not in spreads:
            shown = [rounded(spread.median * 1000) for spread in spreads if spread is not None]
            rows.append([broker, *shown])
    head = ["", "ours", "its broker", "the bare sketch", "its broker"]
    return table(head, rows) if rows else ""


def _shown(microseconds: float) -> str:
    return f"{microseconds:.0f}" if microseconds >= 0.5 else ""
