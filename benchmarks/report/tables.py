"""Tables in Markdown. A cell of one is a median and, where it says something, its spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.cells import Cell
from benchmarks.peers import PEERS, Peer
from benchmarks.programme import BACKLOG, BROKERS, OUTSTANDING, PAYLOADS, WORKERS
from benchmarks.report.book import Book
from benchmarks.statistics import Spread, rounded

_NOTHING: Final = "–"  # noqa: RUF001 - as in tables elsewhere
#: Spreads narrower than this share of the median are not told.
_NARROW: Final = 0.02

#: Parts of what a task costs, by the figures that have them.
_MICROSECONDS: Final = {
    "us_MainThread": "submitter: the thread that submits and waits",
    "us_keeper": "submitter: the keeper, which decides",
    "us_publisher": "submitter: the publisher, which sends",
    "us_listener": "submitter: the listener, which receives and checks",
    "us_deliverer": "submitter: the deliverer, which sets futures",
    "cpu_submitter": "submitter in all",
    "cpu_workers": "worker: its main process and its hosts",
    "cpu_broker": "broker",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a head; text to the left, the rest to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(spread: Spread | None) -> str:
    """``1,230 (1,100 to 1,400)``."""
    if spread is None:
        return _NOTHING
    middle = rounded(spread.median)
    if spread.high - spread.low <= _NARROW * abs(spread.median):
        return middle
    return f"{middle} ({rounded(spread.low)} to {rounded(spread.high)})"


def named(cell: Cell) -> str:
    """Whose row it is. Ours stand out; a ceiling is called one."""
    peer = PEERS[cell.peer]
    words = cell.peer if len(peer.settings[cell.broker]) == 1 else f"{cell.peer}, {cell.setting}"
    return {"ours": f"**{words}**", "ceiling": f"*{words}*", "peer": words}[peer.kind]


def main(book: Book, broker: str) -> str:
    """Throughput, cost and latency of everybody on a broker."""
    cells = [
        cell
        for cell in book.cells("throughput", broker)
        if cell == Cell("throughput", broker, cell.peer, cell.setting)
    ]
    ours = Cell("throughput", broker, "taskline", "default")
    rows = []
    for cell in cells:
        alone = dataclasses.replace(cell, measure="latency", outstanding=1)
        parts = [book.spread(cell, f"cpu_{part}") for part in ("submitter", "workers", "broker")]
        rows.append(
            [
                named(cell),
                _told(book, cell, ["per_second"]),
                "1" if cell == ours else shown(book.ratio(ours, cell, "per_second")),
                " + ".join(rounded(part.median) for part in parts if part) or _NOTHING,
                _told(book, alone, ["p50_ms"]),
                _told(book, alone, ["p99_ms"]),
            ]
        )
    head = ["", "tasks/s", "ours to it", "CPU s/1000", "lone call p50, ms", "p99, ms"]
    return table(head, rows)


def against(book: Book) -> str:
    """Ours as it comes, over the fastest setting of each peer, and over each of the ceilings."""
    rows = []
    for peer in PEERS.values():
        names = list(dict.fromkeys(s.name for of_it in peer.settings.values() for s in of_it))
        if peer.kind == "peer":
            rows.append([peer.name, *(_least(book, broker, peer, names) for broker in BROKERS)])
        elif peer.kind == "ceiling":
            for name in names:
                row = [_least(book, broker, peer, [name]) for broker in BROKERS]
                rows.append([f"*{peer.name}, {name}*", *row])
    return table(["ours to", *BROKERS], [row for row in rows if set(row[1:]) != {_NOTHING}])


def _least(book: Book, broker: str, peer: Peer, settings: Sequence[str]) -> str:
    """Ours over that setting beside which it is least."""
    ours = Cell("throughput", broker, "taskline", "default")
    ratios = [
        ratio
        for setting in settings
        for ratio in [
            book.ratio(ours, Cell("throughput", broker, peer.name, setting), "per_second")
        ]
        if ratio is not None
    ]
    return shown(min(ratios, key=lambda ratio: ratio.median) if ratios else None)


def open_at_once(book: Book, broker: str) -> list[Cell]:
    """The cells that differ in how many requests are open, and in nothing else."""
    kept = [
        cell
        for cell in book.cells("throughput", broker)
        if cell.workers == 1 and not cell.payload_bytes
    ]
    return [*kept, *book.cells("backlog", broker)]


def outstanding(book: Book, broker: str) -> str:
    """Throughput with each number open: tasks/s, and the CPU seconds of a thousand."""
    columns = {count: f"{count:,} open" for count in OUTSTANDING}
    sizes = [(cell, cell.outstanding) for cell in open_at_once(book, broker)]
    return _sized(book, sizes, columns, "per_second", "cpu")


def payloads(book: Book, broker: str) -> str:
    """Throughput with each size of argument and result, and the CPU seconds of a thousand."""
    columns = {size: _bytes(size) for size in PAYLOADS}
    cells = book.cells("throughput", broker)
    sizes = [(cell, cell.payload_bytes) for cell in cells]
    return _sized(book, sizes, columns, "per_second", "cpu")


def workers(book: Book, broker: str) -> str:
    """Throughput with each number of workers."""
    columns = {count: f"{count} worker{'s' * (count > 1)}" for count in WORKERS}
    cells = [
        cell
        for cell in book.cells("throughput", broker)
        if not cell.payload_bytes and cell.outstanding == OUTSTANDING[1]
    ]
    return _sized(book, [(cell, cell.workers) for cell in cells], columns, "per_second")


def start(book: Book) -> str:
    """Seconds to a first result."""
    return _by_broker(book, "start", "first_result_seconds")


def footprint(book: Book) -> str:
    """Bytes of a waiting request, in the submitter and in the broker, for each number of them."""
    parts = []
    for count in OUTSTANDING:
        if count < BACKLOG:
            continue
        made = _by_broker(book, "backlog", "submitter_bytes", "broker_bytes", outstanding=count)
        parts += [f"{count:,} of them:", made] if made else []
    return "\n\n".join(parts)


def microseconds(book: Book) -> str:
    """Of our default setting: CPU microseconds of a task, by the threads and processes."""
    cells = {broker: Cell("throughput", broker, "taskline", "default") for broker in BROKERS}
    cells = {broker: cell for broker, cell in cells.items() if book.spread(cell, "per_second")}
    rows = [
        [words, *(_micro(book, cell, figure) for cell in cells.values())]
        for figure, words in _MICROSECONDS.items()
    ]
    return table(["", *cells], rows) if cells else ""


def _micro(book: Book, cell: Cell, figure: str) -> str:
    """A thousand tasks' seconds are a task's milliseconds."""
    # There it is a part of the submitter, or of both sides.
    parts = {"memory": ("cpu_workers", "cpu_broker"), "local": ("cpu_broker",)}
    if figure in parts.get(cell.broker, ()):
        return _NOTHING
    spread = book.spread(cell, figure)
    if spread is None:
        return _NOTHING
    scale = 1000.0 if figure.startswith("cpu") else 1.0
    return rounded(spread.median * scale)


def settings() -> str:
    """What each was told, broker by broker where that differs."""
    rows = []
    for peer in PEERS.values():
        told: dict[tuple[str, str], list[str]] = {}
        for broker, of_it in peer.settings.items():
            for setting in of_it:
                told.setdefault((setting.name, setting.words), []).append(broker)
        rows += [
            [f"{peer.name}, {name}", ", ".join(brokers), words]
            for (name, words), brokers in told.items()
        ]
    lines = [["", "broker", "setting"], ["---"] * 3, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def unplayed(book: Book) -> str:
    """All plays that came to nothing, and why."""
    rows = [
        f"* `{result.cell.name}`, round {result.round}: "
        + " ".join((result.skipped or f"failed: {result.problem}").split())[:400]
        for result in book
        if not result.is_good
    ]
    return "\n".join(sorted(rows)) or "Nothing: every play ended, and every result was right."


def _sized(
    book: Book, sizes: Sequence[tuple[Cell, int]], columns: Mapping[int, str], *figures: str
) -> str:
    """A row for each peer and setting that was played in more than one size."""
    rows: dict[str, dict[int, str]] = {}
    for cell, size in sizes:
        if size in columns:
            rows.setdefault(named(cell), {})[size] = _told(book, cell, figures)
    lines = [
        [name, *(row.get(size, _NOTHING) for size in columns)]
        for name, row in rows.items()
        if len(row) > 1
    ]
    return table(["", *columns.values()], lines) if lines else ""


def _by_broker(book: Book, measure: str, *figures: str, outstanding: int = 1) -> str:
    """A row for each peer and setting, a column for each broker that is a process of its own."""
    found = {
        broker: [cell for cell in book.cells(measure, broker) if cell.outstanding == outstanding]
        for broker in BROKERS
        if measure == "start" or broker != "memory"
    }
    brokers = [broker for broker, cells in found.items() if cells]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for broker in brokers:
        for cell in found[broker]:
            told = _told(book, cell, figures)
            rows.setdefault((cell.peer, cell.setting), {})[broker] = told
    order = list(PEERS)
    lines = [
        [f"{peer}, {setting}", *(rows[peer, setting].get(broker, _NOTHING) for broker in brokers)]
        for peer, setting in sorted(rows, key=lambda whose: order.index(whose[0]))
    ]
    return table(["", *brokers], lines) if lines else ""


def _told(book: Book, cell: Cell, figures: Sequence[str]) -> str:
    spreads = [book.spread(cell, figure) for figure in figures]
    if spreads[0] is None:
        return book.absence(cell) or _NOTHING
    first = shown(spreads[0])
    others = [rounded(spread.median) for spread in spreads[1:] if spread]
    return "; ".join([first, *others])


def _bytes(size: int) -> str:
    for unit, name in ((1_000_000, "MB"), (1000, "KB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"
