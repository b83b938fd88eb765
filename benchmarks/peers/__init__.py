"""Who is measured, in which settings, and how its workers are started. Imports none of them."""

from __future__ import annotations

from typing import Final

from benchmarks.peers import ceilings, celery, dramatiq, huey, ours, taskflow, taskiq
from benchmarks.peers.peer import Peer, Setting

__all__ = ["PEERS", "Peer", "Setting"]

#: By name, in the order of the tables.
PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        ours.PEER,
        huey.PEER,
        dramatiq.PEER,
        taskiq.PEER,
        celery.PEER,
        taskflow.PEER,
        ceilings.SKETCH,
        ceilings.RAW,
        ceilings.KOMBU,
    )
}
