"""``Counter``: function calls, Python's and C's, by the room they are made in and by name.

A Python function's call is counted where the function is, a C function's where it is called from.
What this package itself does is not counted, and comprehensions are not: they are functions until
Python 3.11 and none from 3.12 on.
"""

from __future__ import annotations

import sys
from collections import Counter as Tally
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

#: Packages of which each module is a room of its own; of any other the whole is one.
OURS: Final = frozenset({"protocol", "bus", "worker", "executor", "benchmarks"})

_HERE: Final = __name__.rpartition(".")[0]
_COMPREHENSIONS: Final = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})

#: ``(room, function)``.
Place = tuple[str, str]


@dataclass(slots=True)
class Calls:
    """Of one side, for one task."""

    #: ``{(room, function): calls}``.
    places: Mapping[Place, float] = field(default_factory=dict)
    #: Broker messages it publishes, where that is known.
    messages: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.places.values())

    def rooms(self) -> dict[str, float]:
        """``{room: calls}``, most first."""
        found: Tally[str] = Tally()
        for (room, _), count in self.places.items():
            found[room] += count  # type: ignore[assignment]
        return dict(found.most_common())


class Counter:
    """Counts the calls of whoever has its ``hook`` as its thread's profile function."""

    def __init__(self) -> None:
        self._counted: Tally[Place] = Tally()

    def __enter__(self) -> Counter:
        """Count what this thread does from now on."""
        sys.setprofile(self.hook)
        return self

    def __exit__(self, *_: object) -> None:
        """Count it no more."""
        sys.setprofile(None)

    def hook(self, frame: FrameType, event: str, argument: Any) -> None:
        """What ``sys.setprofile`` wants (Python Library Reference, "sys")."""
        if event == "call":
            name = frame.f_code.co_name
            if name in _COMPREHENSIONS:
                return
        elif event == "c_call":
            name = f"{getattr(argument, '__qualname__', argument)} (C)"
        else:
            return
        room = _room(frame)
        if not room.startswith(_HERE):
            self._counted[room, name] += 1

    def take(self, tasks: int) -> Calls:
        """What was counted since it was last taken, for one of so many tasks."""
        counted, self._counted = self._counted, Tally()
        return Calls({place: count / tasks for place, count in counted.items()})


def _room(frame: FrameType) -> str:
    if frame.f_code.co_filename == "<string>" and "__name__" not in frame.f_globals:
        return "fastjsonschema"  # the validators that it writes
    module = str(frame.f_globals.get("__name__", "fastjsonschema"))
    package = module.partition(".")[0]
    return module if package in OURS else package
