"""What the model and its check came to, as files: in the folder of results, a folder down."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.simulation.costs import Costs
from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.outcome import Outcome


@dataclass(slots=True)
class Row:
    """One fleet: what came of it in the model, and if it was there, in earnest."""

    #: Which group of fleets it belongs to.
    group: str
    fleet: Fleet
    predicted: Outcome
    measured: Outcome | None = None


@dataclass(slots=True)
class Found:
    """What one run of ``python -m benchmarks.simulation`` came to."""

    costs: Costs
    rows: list[Row] = field(default_factory=list)
    #: As in a result of a play.
    of: dict[str, str] = field(default_factory=dict)


def write(found: Found, folder: Path, name: str) -> Path:
    """Keep it under that name: ``fleets`` or ``check``."""
    file = _file(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dataclasses.asdict(found), indent=1, sort_keys=True) + "\n")
    return file


def read(folder: Path, name: str) -> Found | None:
    """What is kept; None if nothing is. Raises ``ValueError`` naming a file that makes no sense."""
    file = _file(folder, name)
    if not file.exists():
        return None
    try:
        said = json.loads(file.read_text())
        return Found(Costs(**said["costs"]), _rows(said["rows"]), said["of"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is nothing that the simulation wrote: {error!r}") from error


def _file(folder: Path, name: str) -> Path:
    return folder / "simulation" / f"{name}.json"


def _rows(said: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        Row(
            row["group"],
            Fleet(**row["fleet"]),
            Outcome(**row["predicted"]),
            None if row["measured"] is None else Outcome(**row["measured"]),
        )
        for row in said
    ]
