"""Receipts on their way: which tickets each worker process may forget, gathered for a moment.

Decided here: when a RECEIPT leaves. Hundreds of results cost one small message: it leaves
``RECEIPT_DELAY`` after the first of its tickets, or with ``RECEIPTS_AT_ONCE`` of them. What is
receipted, and that its line in the journal is written before, is the ledger's; a receipt that is
lost is asked for again, by the same answer sent again. Owned by the ledger, on the keeper's thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from executor.peer import Peer
from protocol.envelope import RECEIPT
from protocol.tickets import TicketSet
from protocol.timing import RECEIPT_DELAY, RECEIPTS_AT_ONCE

#: Most tickets in one message: fewer than anybody refuses to read.
MOST: Final = 4096


class _Gathered:
    """What waits for one worker process."""

    __slots__ = ("count", "due", "spans")

    def __init__(self, due: float) -> None:
        self.due = due
        self.count = 0
        #: ``{incarnation: [(first, last), …]}``, as they came.
        self.spans: dict[int, list[tuple[int, int]]] = {}


class Receipts:
    """All that is to be receipted."""

    def __init__(self) -> None:
        #: In the order in which they were begun, and so in which they are due.
        self._gathered: dict[Peer, _Gathered] = {}
        self._full: dict[Peer, None] = {}

    def __len__(self) -> int:
        """How many worker processes are to be told something."""
        return len(self._gathered)

    def add(self, peer: Peer, tickets: Iterable[tuple[int, int]], now: float) -> None:
        """These (incarnation, number) tickets of this worker process, if it understands that."""
        self.add_spans(peer, ((inc, (number, number)) for inc, number in tickets), now)

    def add_spans(
        self, peer: Peer, spans: Iterable[tuple[int, tuple[int, int]]], now: float
    ) -> None:
        """The same of whole spans, as (incarnation, (first, last))."""
        if not peer.understands(RECEIPT) or peer.inbox is None:
            return
        for incarnation, (first, last) in spans:
            gathered = self._gathered.get(peer)
            if gathered is None:
                gathered = self._gathered[peer] = _Gathered(now + RECEIPT_DELAY)
            gathered.spans.setdefault(incarnation, []).append((first, last))
            gathered.count += last - first + 1
            if gathered.count >= RECEIPTS_AT_ONCE:
                self._full[peer] = None

    @property
    def next(self) -> float | None:
        """When the next of them is due."""
        if self._full:
            return float("-inf")
        return next((gathered.due for gathered in self._gathered.values()), None)

    def leaving(self, now: float) -> Iterator[tuple[Peer, str]]:
        """Those that leave now, each with its tickets as text; they are gone from here."""
        full, self._full = self._full, {}
        for peer in full:
            yield from self._texts(peer)
        while self._gathered:
            peer = next(iter(self._gathered))
            if self._gathered[peer].due > now:
                break
            yield from self._texts(peer)

    def _texts(self, peer: Peer) -> Iterator[tuple[Peer, str]]:
        gathered = self._gathered.pop(peer)
        sets = [(inc, TicketSet.of_spans(spans)) for inc, spans in sorted(gathered.spans.items())]
        if gathered.count <= MOST:
            yield peer, " ".join(f"{incarnation}:{tickets}" for incarnation, tickets in sets)
            return
        for incarnation, tickets in sets:
            for part in _parts(tickets.spans):
                yield peer, f"{incarnation}:{TicketSet.of_spans(part)}"


def _parts(spans: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """The same spans in portions of at most ``MOST`` tickets."""
    part: list[tuple[int, int]] = []
    room = MOST
    for first, last in spans:
        low = first
        while last - low + 1 > room:
            yield [*part, (low, low + room - 1)]
            part, low, room = [], low + room, MOST
        part.append((low, last))
        room -= last - low + 1
        if not room:
            yield part
            part, room = [], MOST
    if part:
        yield part
