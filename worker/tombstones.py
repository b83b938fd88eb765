"""Tickets that are over at this worker process: none of them is ever started here (again).

A ticket is over when its run was receipted, or when it was given back, cancelled or refused; the
latter were *never started*, which is what an executor that asks once more is told. A tombstone must
outlive the start-by of the request it stands for; longer is harmless.

Numbers are dense, so all that is over is a few intervals. What was lost on its way leaves a gap. A
request must start within ``START_WINDOW`` of its dispatch, so a number can no longer start once a
higher one has been here for that long: the *floor* rises to it, and all below counts as over. What
is still held there is not looked up here but among the records first.

Bounds: an executor with more than ``MAX_GAPS`` intervals ``is_full`` and gets no credit; at twice
as many, all up to the newest count as over. The latest ``MAX_INCARNATIONS`` are told apart; of an
earlier one everything is over. Owned by ``known``, one for each executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from protocol.tickets import Ticket, TicketSet
from protocol.timing import CLOCK_MARGIN, CLOCK_RATE_DRIFT, START_WINDOW

#: Most intervals of an executor's tickets while it is given credit.
MAX_GAPS: Final = 10_000
#: Incarnations of an executor whose tickets are told apart, the latest.
MAX_INCARNATIONS: Final = 8
#: Seconds after which a request dispatched before now can no longer start, by our clock.
HORIZON: Final = START_WINDOW * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN
#: How finely the floor follows: so many steps in a horizon.
_STEPS: Final = 16


class _Life:
    """The tickets of one incarnation."""

    __slots__ = ("floor", "marks", "newest", "over", "unstarted")

    def __init__(self) -> None:
        #: Over, above the floor.
        self.over = TicketSet()
        #: Of those, what was never started.
        self.unstarted = TicketSet()
        #: All up to this one are over.
        self.floor = 0
        #: The highest heard of.
        self.newest = 0
        #: (when, the highest then), oldest first: the floors to come.
        self.marks: deque[tuple[float, int]] = deque()

    def add(self, number: int, *, was_started: bool) -> None:
        self.newest = max(self.newest, number)
        if number <= self.floor:
            return
        if not was_started and number not in self.over:
            self.unstarted.add(number)
        self.over.add(number)
        if len(self.over) > 2 * MAX_GAPS:
            self.raise_floor(self.newest)

    def raise_floor(self, number: int) -> None:
        self.floor = max(self.floor, number)
        self.over.drop_up_to(self.floor)
        self.unstarted.drop_up_to(self.floor)

    def age(self, now: float) -> None:
        last, marked = self.marks[-1] if self.marks else (-HORIZON, self.floor)
        if self.newest > marked and now - last >= HORIZON / _STEPS:
            self.marks.append((now, self.newest))
        while self.marks and now - self.marks[0][0] > HORIZON:
            self.raise_floor(self.marks.popleft()[1])


class Tombstones:
    """What is over of one executor's tickets. The shift's thread only."""

    __slots__ = ("_earliest", "_lives")

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}
        #: Incarnations before this one are over, all of them.
        self._earliest = 0

    def __contains__(self, ticket: Ticket) -> bool:
        life = self._lives.get(ticket.incarnation)
        if life is None:
            return ticket.incarnation < self._earliest
        return ticket.number <= life.floor or ticket.number in life.over

    def __len__(self) -> int:
        """How many intervals, which is what it costs."""
        return sum(len(life.over) + len(life.unstarted) for life in self._lives.values())

    @property
    def is_full(self) -> bool:
        """Whether nothing more should come until the floor has risen."""
        intervals = 0
        for life in self._lives.values():
            intervals += len(life.over)
        return intervals > MAX_GAPS

    def never_started(self, ticket: Ticket) -> bool:
        """Whether this ticket is over and was certainly never started."""
        life = self._lives.get(ticket.incarnation)
        return life is not None and ticket.number in life.unstarted

    def saw(self, tickets: Iterable[Ticket]) -> None:
        """These have been dispatched, and so has everything below them."""
        for ticket in tickets:
            life = self._life(ticket.incarnation)
            if life is not None:
                life.newest = max(life.newest, ticket.number)

    def add(self, tickets: Iterable[Ticket], *, was_started: bool) -> None:
        """None of these ever runs again. What is over already stays as it is."""
        for ticket in tickets:
            life = self._life(ticket.incarnation)
            if life is not None:
                life.add(ticket.number, was_started=was_started)

    def age(self, now: float) -> None:
        """Let the floors rise. From time to time: at a beat."""
        for life in self._lives.values():
            life.age(now)

    def _life(self, incarnation: int) -> _Life | None:
        life = self._lives.get(incarnation)
        if life is None and incarnation >= self._earliest:
            life = self._lives[incarnation] = _Life()
            if len(self._lives) > MAX_INCARNATIONS:
                earliest = min(self._lives)
                del self._lives[earliest]
                self._earliest = earliest + 1
                return self._lives.get(incarnation)
        return life
