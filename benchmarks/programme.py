"""All there is to play, and what of it a first look takes.

Every peer meets the two central measures in every setting. The others, of which each has several
sizes, take the setting that is best known for the peer (the first of its list) and all of ours but
the journal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks.cells import Cell
from benchmarks.peers import PEERS
from benchmarks.peers.peer import Peer

BROKERS: Final = ("redis", "amqp", "local", "memory")
OUTSTANDING: Final = (100, 1_000, 10_000, 100_000)
WORKERS: Final = (1, 2, 4)
PAYLOADS: Final = (100, 10_000, 1_000_000)  # bytes
#: Bytes of payload that may be open at once, so that large ones fit.
_OPEN_BYTES: Final = 20_000_000


def cells(*, quick: bool = False) -> Iterator[Cell]:
    """Rivals follow each other."""
    for broker in BROKERS:
        for peer, setting in _settings(broker, all_of_them=not quick):
            yield Cell("throughput", broker, peer.name, setting)
    for broker in BROKERS:
        for peer, setting in _settings(broker, all_of_them=not quick):
            if peer.name != "raw":  # it waits for several at once by design
                yield Cell("latency", broker, peer.name, setting, outstanding=1)
    if quick:
        return
    for broker in BROKERS:
        for peer, setting in _settings(broker, all_of_them=False):
            if peer.kind != "ceiling":
                yield Cell("start", broker, peer.name, setting, outstanding=1)
    for broker in BROKERS:
        for count in OUTSTANDING:
            for peer, setting in _settings(broker, all_of_them=False):
                yield Cell("burst", broker, peer.name, setting, outstanding=count)
    for size in PAYLOADS:
        for broker in BROKERS:
            outstanding = min(1000, _OPEN_BYTES // size)
            for peer, setting in _settings(broker, all_of_them=False):
                yield Cell(
                    "throughput",
                    broker,
                    peer.name,
                    setting,
                    outstanding=outstanding,
                    payload_bytes=size,
                )
    for count in WORKERS:
        for broker in BROKERS[:-1]:
            for peer, setting in _settings(broker, all_of_them=False):
                if count > 1:  # with one it is the first of all measures
                    yield Cell("throughput", broker, peer.name, setting, workers=count)
    for broker in BROKERS[:-1]:
        for peer, setting in _settings(broker, all_of_them=False):
            if peer.name != "raw":
                yield Cell("footprint", broker, peer.name, setting)


def _settings(broker: str, *, all_of_them: bool) -> Iterator[tuple[Peer, str]]:
    for peer in PEERS.values():
        for number, setting in enumerate(peer.settings.get(broker, ())):
            is_ours = peer.kind == "ours" and setting.name != "journal"
            if all_of_them or number == 0 or is_ours:
                yield peer, setting.name
