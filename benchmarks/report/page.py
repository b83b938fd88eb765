"""The page: a template beside this, whose words are written by hand, filled from the results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.account.files import Account
from benchmarks.account.files import read_all as read_accounts
from benchmarks.ground import ROOT
from benchmarks.measures import MEASURES
from benchmarks.programme import BROKERS
from benchmarks.report import accounts, fleets, tables, targets
from benchmarks.report.book import Book
from benchmarks.result import read_all
from benchmarks.simulation import files
from benchmarks.simulation.files import Found

PAGE: Final = ROOT / "docs" / "performance.md"
TEMPLATE: Final = Path(__file__).with_name("performance.template.md")

#: Circumstances that have a line of their own; the rest are versions.
_APART: Final = ("machine", "commit", "date", "load")
_NO_FIGURES: Final = "Not measured yet."


def write(folder: Path, page: Path = PAGE) -> None:
    """Write it, of what is in that folder, and its plots into the folder of its name beside it."""
    # Here, because it wants the library of the plots, which nothing else does.
    from benchmarks.report import plots  # noqa: PLC0415

    book = Book(read_all(folder))
    simulated = {name: files.read(folder, name) for name in ("fleets", "check")}
    pictures = [picture.name for picture in plots.draw(book, page.with_suffix(""))]
    seen = read_accounts(folder)
    page.write_text(fill(TEMPLATE.read_text(), book, pictures, page, simulated, seen))


def fill(
    template: str,
    book: Book,
    pictures: Iterable[str],
    page: Path = PAGE,
    simulated: Mapping[str, Found | None] = MappingProxyType({}),
    seen: Sequence[Account] = (),
) -> str:
    """``{{words}}`` of the template, replaced. Raises ``KeyError`` for words that mean nothing."""
    found, checked = simulated.get("fleets"), simulated.get("check")
    drawn = {Path(name).stem: f"![]({page.stem}/{name})" for name in pictures}
    values: dict[str, Callable[[], str]] = {
        "of": lambda: _of(book),
        "versions": lambda: _versions(book),
        "against": lambda: tables.against(book),
        "main": lambda: _each_broker(tables.main, book, drawn, "throughput"),
        "outstanding": lambda: _each_broker(tables.outstanding, book, drawn, "outstanding"),
        "payloads": lambda: _each_broker(tables.payloads, book, drawn, "payloads"),
        "workers": lambda: _each_broker(tables.workers, book, drawn, "workers"),
        "start": lambda: tables.start(book),
        "footprint": lambda: tables.footprint(book),
        "microseconds": lambda: tables.microseconds(book),
        "account": lambda: accounts.by_room(seen),
        "limit": lambda: accounts.limit(book),
        "targets": lambda: targets.judged(book),
        "fleets": lambda: fleets.fleets(found),
        "whole": lambda: fleets.whole(found),
        "check": lambda: fleets.check(checked),
        "costs": lambda: fleets.costs(found),
        "measures": lambda: "\n".join(f"* **{k}**: {m.words}" for k, m in MEASURES.items()),
        "settings": tables.settings,
        "unplayed": lambda: tables.unplayed(book),
    }
    return re.sub(r"{{(\w+)}}", lambda found: values[found[1]]() or _NO_FIGURES, template)


def _each_broker(
    make: Callable[[Book, str], str], book: Book, drawn: dict[str, str], picture: str
) -> str:
    parts = []
    for broker in BROKERS:
        made = make(book, broker)
        if made.count("\n") > 1:  # more than its head
            parts += [f"### {broker}", made]
            parts += [drawn[name] for name in [f"{picture}-{broker}"] if name in drawn]
    return "\n\n".join(parts)


def _of(book: Book) -> str:
    rounds = max((result.round for result in book), default=0)
    loads = [float(load) for load in book.of("load")]
    parts = [
        f"commit {', '.join(book.of('commit'))}",
        ", ".join(book.of("date")),
        f"on {'; '.join(book.of('machine'))}",
        f"{rounds} round{'s' * (rounds != 1)}",
    ]
    if book.size == "quick":
        parts.append("**a first look, with small sizes**")
    if loads:
        parts.append(f"load average before plays {min(loads):g} to {max(loads):g}")
    return "; ".join(parts)


def _versions(book: Book) -> str:
    keys = sorted({key for result in book for key in result.of} - set(_APART), key=str.lower)
    return ", ".join(f"{key} {' and '.join(book.of(key))}" for key in keys)
