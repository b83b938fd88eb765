"""A list on its way to the broker: what of it is still to be sent, in batches where they are read.

Decided here: what is sent as one, and that it is taken apart when it does not arrive as one. A
message that its broker refuses must not take those down that happen to travel with it, and over a
slow line half of a batch may come through where the whole does not. Publisher's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from protocol import batch
from protocol.errors import MessageRefused
from protocol.parcel import Parcel


class Load:
    """What is left of a list; true while something is."""

    def __init__(self, parcels: Iterable[Parcel], most_bytes: int = batch.MOST_BYTES) -> None:
        """``most_bytes``: of the bodies in a batch."""
        #: Each with what it is sent as.
        self._groups: deque[tuple[Parcel, Sequence[Parcel]]] = deque()
        for group in batch.gathered(parcels, most_bytes):
            self._groups.extend(_joined(group))

    def __len__(self) -> int:
        """Messages; a batch is many."""
        return sum(len(group) for _, group in self._groups)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def first(self, count: int) -> list[Parcel]:
        """What is to be sent next: at most so many parcels, of which some may be batches."""
        return [sent for sent, _ in islice(self._groups, count)]

    def taken(self, count: int) -> None:
        """The broker has taken so many of them."""
        for _ in range(count):
            self._groups.popleft()

    def split(self, refused: Parcel | None = None) -> bool:
        """Take this one, or else the first, apart into two; False if it is a single message."""
        at = self._place(refused)
        _, group = self._groups[at]
        if len(group) == 1:
            return False
        middle = len(group) // 2
        del self._groups[at]
        for half in (group[middle:], group[:middle]):
            for item in reversed(_joined(half)):
                self._groups.insert(at, item)
        return True

    def drop(self, refused: Parcel | None = None) -> Parcel:
        """Leave this one out, or else the first, which is a single message; which it was."""
        at = self._place(refused)
        _, (parcel,) = self._groups[at]
        del self._groups[at]
        return parcel

    def _place(self, sent: Parcel | None) -> int:
        if sent is None:
            return 0
        return next(at for at, (each, _) in enumerate(self._groups) if each is sent)


def _joined(group: Sequence[Parcel]) -> list[tuple[Parcel, Sequence[Parcel]]]:
    """As one, or each alone where one of them cannot be written: the publish says which."""
    try:
        return [(batch.joined(group), group)]
    except MessageRefused:
        return [(parcel, [parcel]) for parcel in group]
