"""``Book``: results looked up by what they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks import statistics
from benchmarks.cells import Cell
from benchmarks.peers import PEERS
from benchmarks.result import Result
from benchmarks.statistics import Spread


class Book:
    """Results of the larger size, if there are any; else those of a first look.

    A figure is looked up with a round's ``{number: value}`` or, over all rounds, as a ``Spread``.
    Plays that failed have no figures, and a sentence.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        results = list(results)
        #: ``full`` or ``quick``.
        self.size = "full" if any(result.size == "full" for result in results) else "quick"
        self._by_cell: dict[Cell, dict[int, Result]] = {}
        for result in results:
            if result.size == self.size and result.cell.peer in PEERS:
                self._by_cell.setdefault(result.cell, {})[result.round] = result

    def __iter__(self) -> Iterator[Result]:
        for by_round in self._by_cell.values():
            yield from by_round.values()

    def cells(self, measure: str, broker: str) -> list[Cell]:
        """Those that were played, or refused: by peers and settings in the tables' order."""
        order = [
            (peer.name, setting.name)
            for peer in PEERS.values()
            for setting in peer.settings.get(broker, ())
        ]
        found = [
            cell
            for cell in self._by_cell
            if (cell.measure, cell.broker) == (measure, broker)
            and (cell.peer, cell.setting) in order
        ]
        return sorted(found, key=lambda cell: (order.index((cell.peer, cell.setting)), cell.name))

    def by_round(self, cell: Cell, figure: str) -> dict[int, float]:
        """``{round: figure}`` of the rounds that went well."""
        return {
            number: result.figures[figure]
            for number, result in self._by_cell.get(cell, {}).items()
            if result.is_good and figure in result.figures
        }

    def spread(self, cell: Cell, figure: str) -> Spread | None:
        """Over all rounds; None if none went well."""
        values = list(self.by_round(cell, figure).values())
        return Spread.of(values) if values else None

    def ratio(self, above: Cell, below: Cell, figure: str) -> Spread | None:
        """One cell's figure over another's, of each round that has both."""
        return statistics.ratios(self.by_round(above, figure), self.by_round(below, figure))

    def absence(self, cell: Cell) -> str:
        """``failed`` or ``not played``, if that is why it has no figures; else empty."""
        for result in self._by_cell.get(cell, {}).values():
            if not result.is_good:
                return "not played" if result.skipped else "failed"
        return ""

    def of(self, key: str) -> list[str]:
        """All values that were noted of a circumstance, such as ``commit``."""
        return sorted({result.of[key] for result in self if key in result.of})
