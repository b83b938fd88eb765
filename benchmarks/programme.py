"""All there is to play, and what of it a first look takes.

Every peer meets the central measures in every setting. The others, of which each has several sizes,
take the setting that is best known for the peer, the first of its list; of ours that is the one in
which nothing was said. Several workers are no question for a ceiling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from benchmarks.cells import Cell, Sitting
from benchmarks.peers import PEERS
from benchmarks.peers.peer import Peer

BROKERS: Final = ("redis", "amqp", "local", "memory")
OUTSTANDING: Final = (100, 1_000, 10_000, 100_000)
WORKERS: Final = (1, 2, 4)
PAYLOADS: Final = (100, 10_000, 1_000_000)  # bytes
#: Requests open at once from which on they are submitted before there is a worker: otherwise many
#: would have ended by the time the last is submitted.
BACKLOG: Final = 10_000
#: Bytes of payload that may be open at once, so that large ones fit.
_OPEN_BYTES: Final = 20_000_000


def sittings(*, quick: bool = False) -> Iterator[Sitting]:
    """Rivals follow each other."""
    for broker in BROKERS:
        for peer, setting in _settings(broker, all_of_them=not quick):
            yield Sitting(
                "main", tuple(_main(peer, Cell("throughput", broker, peer.name, setting)))
            )
    if quick:
        return
    for broker in BROKERS:
        for peer, setting in _settings(broker, all_of_them=False):
            throughput = Cell("throughput", broker, peer.name, setting)
            more = [] if broker == "memory" or peer.kind == "ceiling" else _workers(throughput)
            yield Sitting("sizes", (*_sizes(throughput), *more))
    for count in OUTSTANDING:
        for broker in BROKERS if count >= BACKLOG else ():
            for peer, setting in _settings(broker, all_of_them=False):
                cell = Cell("backlog", broker, peer.name, setting, outstanding=count)
                yield Sitting(f"{count} open", (cell,))


def cells(*, quick: bool = False) -> list[Cell]:
    """The cells of all sittings."""
    return [cell for sitting in sittings(quick=quick) for cell in sitting.cells]


def _main(peer: Peer, throughput: Cell) -> Iterator[Cell]:
    """First of all, from a cold start, how long a first result takes."""
    alone = dataclasses.replace(throughput, outstanding=1)
    if peer.kind != "ceiling":
        yield dataclasses.replace(alone, measure="start")
    if peer.name != "raw":  # it waits for several at once by design
        yield dataclasses.replace(alone, measure="latency")
    yield throughput


def _sizes(throughput: Cell) -> Iterator[Cell]:
    """Few open at once, then larger and larger texts."""
    yield dataclasses.replace(throughput, outstanding=OUTSTANDING[0])
    for size in PAYLOADS:
        outstanding = min(throughput.outstanding, _OPEN_BYTES // size)
        yield dataclasses.replace(throughput, outstanding=outstanding, payload_bytes=size)


def _workers(throughput: Cell) -> Iterator[Cell]:
    """More and more; with one it is among the central measures."""
    for count in WORKERS:
        if count > 1:
            yield dataclasses.replace(throughput, workers=count)


def _settings(broker: str, *, all_of_them: bool) -> Iterator[tuple[Peer, str]]:
    for peer in PEERS.values():
        for number, setting in enumerate(peer.settings.get(broker, ())):
            if all_of_them or number == 0:
                yield peer, setting.name
