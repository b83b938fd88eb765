"""Who may be sent the next requests of one kind, at one moment: the best first.

Decided here: in which order those are asked who offer a task and suit. All are looked at once, and
then each request costs the logarithm of how many they are, however many requests wait. Of one that
was chosen the rank is worked out again when the next is asked for. Made by the directory; it is of
no use any more when anybody has been heard from since. Pure; the keeper's thread.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Container, Iterable

from executor.peer import Peer, Want

#: The lowest goes first: no native worker, no slot free, less trust, less room, then by chance.
_Rank = tuple[bool, bool, int, float, float]


class Candidates:
    """Of all peers those who may be chosen.

    Only who is in time. Of one whose beat is missing nobody knows whether it reads what it is sent:
    a dead one looks idle for a lease, and while the broker is away all are silent. What one of them
    has lost would wait in another's inbox until the broker is back, beside the first one's, and run
    twice.

    Whoever has a slot free before those where it would queue, then the proven, then most room, ties
    at random. Native workers before taskflow ones, which have no bound and would take everything.

    While somebody proven offers it, with room or without, nobody else gets a second request before
    he has answered the first.
    """

    def __init__(
        self, peers: Iterable[Peer], want: Want, now: float, spared: Container[Peer] = ()
    ) -> None:
        """``spared``: to whom nothing is sent that says what it needs."""
        self._needed = None if want.needs is None else want.needs.amount
        self._spared = spared
        self._is_anybody_proven = False
        self._proven: list[tuple[_Rank, int, Peer, str]] = []
        self._others: list[tuple[_Rank, int, Peer, str]] = []
        #: Who was chosen last, and on which topic: as it was then it is ranked no more.
        self._last: tuple[Peer, str] | None = None
        #: The number of the latest entry: peers themselves are never compared.
        self._number = 0
        for peer in peers:
            if not (peer.room > 0 or (peer.is_proven and not self._is_anybody_proven)):
                continue
            if not peer.suits(want):
                continue
            topic = peer.offers(want.task, want.topics)
            if topic is None or not peer.is_in_time(now):
                continue
            self._is_anybody_proven |= peer.is_proven
            self._add(peer, topic)

    def choose(self, *, only_proven: bool = False) -> tuple[Peer, str] | None:
        """Who gets the next request, and on which topic; None if nobody takes it.

        Whoever was chosen before has been sent one by now. With ``only_proven`` nobody else gets it
        while somebody proven offers it.
        """
        if self._last is not None:
            last, self._last = self._last, None
            self._add(*last)
        proven, others = self._proven, self._others
        if self._is_anybody_proven:
            while others and others[0][2].open:  # it has one already
                heapq.heappop(others)
            if only_proven:
                others = []
        if others and not (proven and proven[0] < others[0]):
            found = heapq.heappop(others)
        elif proven:
            found = heapq.heappop(proven)
        else:
            return None
        self._last = found[2], found[3]
        return self._last

    def _add(self, peer: Peer, topic: str) -> None:
        """If there is room for one more."""
        room = peer.room
        if room <= 0:
            return
        if self._needed is not None and (peer in self._spared or not peer.free.holds(self._needed)):
            return
        queues = len(peer.open) >= (peer.slots or 0)
        rank = (not peer.is_native, queues, -peer.trust, -room, random.random())
        self._number += 1
        heapq.heappush(
            self._proven if peer.is_proven else self._others, (rank, self._number, peer, topic)
        )
