"""The machines of an executor's workers: how large they are, and how much of each is promised.

What an autoscaler needs to know: who is there, who is idle, and who is sent nothing more. Made
from the ledger's directory on the keeper's thread. A machine is known by the name its workers tell;
workers that tell nothing of theirs (``--pool threads``, taskflow's) are on none.
"""

from __future__ import annotations

from dataclasses import dataclass

from executor.ledger import Ledger
from executor.peer import Peer
from protocol.resources import NOTHING, Resources


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One machine, as its workers last told; all of theirs together."""

    name: str
    #: Worker processes on it.
    workers: int
    #: Requests that wait or run there, of all executors.
    busy: int
    #: Whether it can be taken away at any time.
    preemptible: bool
    #: All that its workers may give away, and what of it is promised to requests that say what they
    #: need, whether they use it or not.
    total: Resources
    requested: Resources
    #: The parts of its cores and of its memory that are in use, 0 to 1; None: not told.
    cores_used: float | None
    memory_used: float | None
    #: Whether nothing more is sent there.
    is_ignored: bool


def list_nodes(ledger: Ledger, now: float) -> dict[str, NodeInfo]:
    """All that are known, by name. The keeper's thread."""
    found: dict[str, list[Peer]] = {}
    for peer in ledger.directory:
        if peer.node is not None:
            found.setdefault(peer.node, []).append(peer)
    return {name: _node(name, found[name]) for name in sorted(found)}


def _node(name: str, peers: list[Peer]) -> NodeInfo:
    reports = [peer.report for peer in peers if peer.report is not None]
    total = requested = NOTHING
    busy = 0
    for peer, report in zip(peers, reports, strict=True):
        total = total.plus(report.have)
        requested = requested.plus(report.have.minus(peer.free))
        busy += max(report.busy or 0, len(peer.open))
    return NodeInfo(
        name,
        workers=len(peers),
        busy=busy,
        preemptible=any(report.preemptible for report in reports),
        total=total,
        requested=requested,
        cores_used=_highest([report.cores_used for report in reports]),
        memory_used=_highest([report.memory_used for report in reports]),
        is_ignored=all(peer.is_ignored for peer in peers),
    )


def _highest(parts: list[float | None]) -> float | None:
    """They looked at the same machine, one after the other."""
    return max((part for part in parts if part is not None), default=None)
