"""The counts that are known and accepted: a file of text, for people as much as for us.

A *part* is one side on one path, such as ``joined, 1 at once, worker``: all its calls together, and
the functions of which there are most. One file is enough: Python 3.10 to 3.13 differ by less than a
hundredth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.calls.counter import Calls, Place

FILE: Final = Path(__file__).with_name("baseline.txt")

#: Functions that are kept of each part.
_KEPT: Final = 20
_MESSAGES: Final = "broker messages published"
_HEAD: Final = (
    "# Function calls for one task, by part and function: see benchmarks/calls.\n"
    "# Not written by hand, but by: python -m benchmarks.calls --renew\n"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one part."""

    total: float
    #: Those of which there are most.
    places: Mapping[Place, float] = field(default_factory=dict)
    #: Broker messages; 0: not known.
    messages: float = 0.0

    @classmethod
    def of(cls, calls: Calls) -> Known:
        """As much of these as is kept."""
        most = sorted(calls.places.items(), key=lambda item: (-round(item[1], 1), item[0]))
        return cls(calls.total, dict(most[:_KEPT]), calls.messages)

    @property
    def least(self) -> float:
        """No function that is not kept had more calls than this."""
        return min(self.places.values(), default=0.0)


def write(parts: Mapping[str, Known], file: Path = FILE) -> None:
    """Keep these, and no others."""
    lines = [_HEAD]
    for name, known in parts.items():
        lines.append(f"\n{name}\n{known.total:10.1f}  in all\n")
        if known.messages:
            lines.append(f"{known.messages:10.3f}  {_MESSAGES}\n")
        lines += [f"{n:10.1f}  {room}  {what}\n" for (room, what), n in known.places.items()]
    file.write_text("".join(lines), encoding="utf-8")


def read(file: Path = FILE) -> dict[str, Known]:
    """What is kept. Raises ``ValueError`` naming the line that makes no sense."""
    totals: dict[str, float] = {}
    places: dict[str, dict[Place, float]] = {}
    messages: dict[str, float] = {}
    name = ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = line
            places[name] = {}
            continue
        try:
            count, room, *what = line.strip().split("  ")
            of_it = places[name]
            if what:
                of_it[room, what[0]] = float(count)
            elif room == _MESSAGES:
                messages[name] = float(count)
            else:
                totals[name] = float(count)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{file}, line {number}: {line!r} is no count: {error!r}") from error
    return {
        name: Known(total, places[name], messages.get(name, 0.0)) for name, total in totals.items()
    }
