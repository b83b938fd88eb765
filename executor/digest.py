"""What a worker process holds for us, as its digest (HELD) says: asked ticket by ticket.

Ranges are not unfolded: reading one costs what its text is long, a question the logarithm of that.
Pure; the ledger asks, on the keeper's thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from protocol.errors import MessageRefused
from protocol.messages import Held
from protocol.tickets import Ticket, TicketSet, ranges

#: ``queued``: taken, not started. ``running``, ``ended``: its result is kept there until receipted.
#: ``dropped``: that was thrown away.
Where = Literal["queued", "running", "ended", "dropped"]
_PLACES: Final[tuple[Where, ...]] = ("dropped", "ended", "running", "queued")

#: Most results a worker can say that it threw away: it takes nothing new from then on.
MAX_DROPPED: Final = 16_384


class Digest:
    """One HELD. Raises ``MessageRefused`` for tickets that make no sense."""

    def __init__(self, held: Held) -> None:
        self._places: list[tuple[Where, dict[int, TicketSet]]] = [
            (place, ranges(getattr(held, place))) for place in _PLACES
        ]
        dropped = sum(last - first + 1 for _, (first, last) in self.dropped())
        if dropped > MAX_DROPPED:
            raise MessageRefused("tickets", f"{dropped} results are said to be thrown away")

    def where(self, ticket: Ticket) -> Where | None:
        """Where it is there; None: nowhere. In several places the one furthest on counts."""
        for place, sets in self._places:
            if ticket.number in sets.get(ticket.incarnation, ()):
                return place
        return None

    def dropped(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """The spans thrown away, as (incarnation, (first, last))."""
        for incarnation, tickets in self._places[0][1].items():
            for span in tickets.spans:
                yield incarnation, span
