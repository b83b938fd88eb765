"""Plots, as SVG. The same results give the same file, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.cells import Cell
from benchmarks.peers import PEERS
from benchmarks.programme import BROKERS
from benchmarks.report import tables
from benchmarks.report.book import Book

_WIDTH: Final = 8.0  # inches
_COLOURS: Final = {"ours": "#c44e00", "peer": "#4c72b0", "ceiling": "#999999"}
_LINES: Final = {"ours": "-", "peer": "--", "ceiling": ":"}
#: So that elements are named alike each time.
_SALT: Final = "taskline"


def draw(book: Book, folder: Path) -> list[Path]:
    """Those for which there are figures."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none"}):
        for broker in BROKERS:
            cells = {
                "throughput": [
                    cell
                    for cell in book.cells("throughput", broker)
                    if cell == Cell("throughput", broker, cell.peer, cell.setting)
                ],
                "outstanding": tables.open_at_once(book, broker),
                "payloads": [c for c in book.cells("throughput", broker) if c.payload_bytes],
            }
            for name, figure in (
                ("throughput", _dots(book, cells["throughput"])),
                ("outstanding", _lines(book, cells["outstanding"], "open", _outstanding)),
                ("payloads", _lines(book, cells["payloads"], "bytes", _payload)),
            ):
                if figure is not None:
                    file = folder / f"{name}-{broker}.svg"
                    figure.savefig(file, format="svg", metadata={"Date": None})
                    drawn.append(file)
    return drawn


def _outstanding(cell: Cell) -> int:
    return cell.outstanding


def _payload(cell: Cell) -> int:
    return cell.payload_bytes


def _dots(book: Book, cells: list[Cell]) -> Any:
    """Tasks per second, a row for each peer and setting, its spread as a whisker.

    Dots, because the scale is logarithmic: the length of a bar would mean nothing.
    """
    found = [(cell, book.spread(cell, "per_second")) for cell in reversed(cells)]
    rows = [(cell, spread) for cell, spread in found if spread is not None]
    if not rows:
        return None
    figure = Figure(figsize=(_WIDTH, 0.8 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (cell, spread) in enumerate(rows):
        axes.errorbar(
            [spread.median],
            [place],
            xerr=[[spread.median - spread.low], [spread.high - spread.median]],
            fmt="o",
            color=_COLOURS[PEERS[cell.peer].kind],
            capsize=3,
        )
    axes.set_yticks(range(len(rows)), [f"{cell.peer}, {cell.setting}" for cell, _ in rows])
    axes.set_xscale("log")
    axes.set_xlabel("tasks/s")
    axes.grid(alpha=0.3)
    return figure


def _lines(book: Book, cells: list[Cell], label: str, size: Callable[[Cell], int]) -> Any:
    """Tasks per second by a size, a line for each peer and setting."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for cell in cells:
        spread = book.spread(cell, "per_second")
        if spread is not None:
            lines.setdefault((cell.peer, cell.setting), []).append((size(cell), spread.median))
    if not any(len(points) > 1 for points in lines.values()):
        return None
    figure = Figure(figsize=(_WIDTH, 4.5), layout="constrained")
    axes = figure.subplots()
    for (peer, setting), points in lines.items():
        kind = PEERS[peer].kind
        axes.plot(
            *zip(*sorted(points), strict=True),
            label=f"{peer}, {setting}",
            marker="o",
            linestyle=_LINES[kind],
            **({"color": _COLOURS[kind]} if kind == "ours" and setting == "default" else {}),
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("tasks/s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
