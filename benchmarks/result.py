"""What came of one play: a value, kept as a file of JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.cells import Cell

#: How a problem begins that is none but that time was up.
NOT_ENDED: Final = "it had not ended after"


@dataclass(slots=True)
class Result:
    """One cell, in one round."""

    cell: Cell
    #: From 1.
    round: int
    #: ``full`` or ``quick``.
    size: str
    #: What was measured; the measure's own words, with units.
    figures: dict[str, float] = field(default_factory=dict)
    #: What was not as it should have been, in a sentence; empty: every result was there and right.
    problem: str = ""
    #: Why it was not played; then nothing was measured.
    skipped: str = ""
    #: Of what and where: commit, date (UTC), versions, machine.
    of: dict[str, str] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether its figures count."""
        return not self.problem and not self.skipped

    @property
    def file_name(self) -> str:
        """The file it is kept in: one for each play, the newest wins."""
        return f"{self.cell.name}.{self.size}.r{self.round}.json"

    def write(self, folder: Path) -> None:
        """Keep it."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)
        (folder / self.file_name).write_text(text + "\n")


def read(file: Path) -> Result:
    """One that is kept. Raises ``ValueError`` naming a file that holds something else."""
    try:
        said: dict[str, Any] = json.loads(file.read_text())
        return Result(**{**said, "cell": Cell(**said["cell"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is no result of a play: {error!r}") from error


def read_all(folder: Path) -> list[Result]:
    """All that are kept there."""
    return [read(file) for file in sorted(folder.glob("*.json"))]
