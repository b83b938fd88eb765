"""What we set out to reach, each judged by what was measured: reached or missed, and by how much.

A target is a number that was written down before the measuring. Our default setting is judged, with
all of its guarantees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.cells import Cell
from benchmarks.peers import PEERS
from benchmarks.programme import BROKERS, OUTSTANDING
from benchmarks.report.book import Book
from benchmarks.report.tables import shown, table
from benchmarks.statistics import Spread, ratios, rounded

#: ``{broker: {peer: how many times its tasks/s}}``; of a peer its fastest setting counts.
TIMES: Final = {
    "redis": {"huey": 4.0, "celery": 12.0, "taskflow": 50.0, "sketch": 1 / 3},
    "amqp": {"dramatiq": 5.0, "celery": 12.0, "taskflow": 50.0, "sketch": 1 / 3},
    "memory": {"taskflow": 50.0},
}
#: The embedded local broker is to be as fast as huey is on redis.
LOCAL_TO_HUEY: Final = 1.0
CALL_MS: Final = {"redis": 2.0, "amqp": 1.0, "memory": 0.5, "local": 5.0}  # p50, at most
CPU: Final = 0.15  # seconds for a thousand tasks, submitter and workers, at most
FLAT: Final = 0.10  # that the same may differ from one number open to another
BYTES: Final = 2048.0  # for a request that waits, at most
FIRST_RESULT: Final = 0.3  # seconds, at most

_HEAD: Final = ("target", "wanted", "measured", "")


def judged(book: Book) -> str:
    """A row for each; empty if nothing of them was measured."""
    rows = [row for part in _PARTS for row in part(book)]
    return table(_HEAD, rows) if rows else ""


def _throughputs(book: Book) -> Iterator[list[str]]:
    for broker, wanted in TIMES.items():
        for peer, times in wanted.items():
            found = [
                ratio
                for setting in PEERS[peer].settings.get(broker, ())
                if peer != "sketch" or setting.name == "default"
                for ratio in [
                    book.ratio(_ours(broker), _cell(broker, peer, setting.name), "per_second")
                ]
                if ratio is not None
            ]
            if found:
                least = min(found, key=lambda ratio: ratio.median)
                bare = "the bare sketch" if peer == "sketch" else peer
                yield _row(f"{broker}: tasks/s over those of {bare}", times, least, most=False)
    local = book.by_round(_ours("local"), "per_second")
    fastest = [
        ratio
        for setting in PEERS["huey"].settings["redis"]
        for ratio in [
            ratios(local, book.by_round(_cell("redis", "huey", setting.name), "per_second"))
        ]
        if ratio is not None
    ]
    if fastest:
        least = min(fastest, key=lambda ratio: ratio.median)
        what = "local: tasks/s over those of huey on redis"
        yield _row(what, LOCAL_TO_HUEY, least, most=False)


def _calls(book: Book) -> Iterator[list[str]]:
    for broker, wanted in CALL_MS.items():
        alone = dataclasses.replace(_ours(broker), measure="latency", outstanding=1)
        spread = book.spread(alone, "p50_ms")
        if spread is not None:
            yield _row(f"{broker}: a lone call, p50, ms", wanted, spread, most=True)


def _costs(book: Book) -> Iterator[list[str]]:
    for broker in BROKERS:
        spread = book.spread(_ours(broker), "cpu")
        if spread is not None:
            what = f"{broker}: CPU s/1000, submitter and worker"
            yield _row(what, CPU, spread, most=True)


def _flatness(book: Book) -> Iterator[list[str]]:
    for broker in BROKERS:
        for count in OUTSTANDING[1:]:
            few = dataclasses.replace(_ours(broker), outstanding=OUTSTANDING[0])
            many = dataclasses.replace(few, outstanding=count)
            spread = book.ratio(many, few, "cpu") or book.ratio(
                dataclasses.replace(many, measure="backlog"), few, "cpu"
            )
            if spread is not None:
                what = f"{broker}: the same with {count:,} open, over that with {OUTSTANDING[0]}"
                yield _row(what, 1 + FLAT, spread, most=True)


def _memory(book: Book) -> Iterator[list[str]]:
    for broker in BROKERS[:-1]:
        for count in OUTSTANDING:
            cell = dataclasses.replace(_ours(broker), measure="backlog", outstanding=count)
            spread = book.spread(cell, "submitter_bytes")
            if spread is not None:
                what = f"{broker}: bytes of a request that waits, of {count:,}"
                yield _row(what, BYTES, spread, most=True)


def _starts(book: Book) -> Iterator[list[str]]:
    for broker in BROKERS:
        cell = dataclasses.replace(_ours(broker), measure="start", outstanding=1)
        spread = book.spread(cell, "first_result_seconds")
        if spread is not None:
            yield _row(f"{broker}: a first result, s", FIRST_RESULT, spread, most=True)


_PARTS: Final[tuple[Callable[[Book], Iterator[list[str]]], ...]] = (
    *(_throughputs, _calls, _costs, _flatness, _memory, _starts),
)


def _row(what: str, wanted: float, found: Spread, *, most: bool) -> list[str]:
    """``most``: the number wanted is the most it may be; else it is the least."""
    is_reached = found.median <= wanted if most else found.median >= wanted
    word = "reached" if is_reached else "**missed**"
    sign = "≤" if most else "≥"
    by = found.median / wanted
    return [what, f"{sign} {rounded(wanted)}", shown(found), f"{word} ({rounded(by)} of it)"]


def _ours(broker: str) -> Cell:
    return _cell(broker, "taskline", "default")


def _cell(broker: str, peer: str, setting: str) -> Cell:
    return Cell("throughput", broker, peer, setting)
