"""``Cell``: one thing that can be measured; ``Sitting``: those that one process measures in turn.

Which there are is decided in ``programme``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure of one peer, and how large."""

    measure: str
    broker: str
    peer: str
    setting: str
    #: Worker commands that are started; each may run several processes or threads.
    workers: int = 1
    #: Requests that are open at once.
    outstanding: int = 1000
    #: Bytes of text that travel both ways; 0: a small number.
    payload_bytes: int = 0

    @property
    def name(self) -> str:
        """A file name, without its ending."""
        return (
            f"{self.measure}.{self.broker}.{self.peer}.{self.setting}"
            f".w{self.workers}.o{self.outstanding}.p{self.payload_bytes}"
        )


@dataclass(frozen=True, slots=True)
class Sitting:
    """Cells of one peer in one setting on one broker: a process measures them in this order.

    So that each need not start the workers again: of a short measure that would be the most.
    """

    #: What its cells are about; with the broker the same for all that are compared.
    about: str
    cells: tuple[Cell, ...]

    @property
    def of(self) -> Cell:
        """One of its cells, for what they have in common."""
        return self.cells[0]

    @property
    def workers(self) -> int:
        """Worker commands that are started in the end."""
        return max(cell.workers for cell in self.cells)

    @property
    def rivals(self) -> tuple[str, str]:
        """The same for all that are compared with each other."""
        return self.about, self.of.broker

    def only(self, cells: Iterable[Cell]) -> Sitting | None:
        """The same with these of its cells only; None if there are none."""
        left = tuple(cell for cell in self.cells if cell in set(cells))
        return Sitting(self.about, left) if left else None
