"""What the workers run: next to nothing, but of each result it can be told whether it is right."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

#: Which of a play's workers a process belongs to; set for it by the play.
WORKER: Final = "BENCHMARKS_WORKER"


def bump(number: int) -> int:
    """The smallest task whose result shows that it was run."""
    return number + 1


def turn(text: str) -> str:
    """The same for large arguments and results: one copy, as long as it came."""
    return text[1:] + text[:1]


def who(number: int) -> int:
    """Which worker this is, from 0; ``number`` means nothing."""
    return int(os.environ.get(WORKER, "0"))


#: By the names they are submitted with.
TASKS: Final[dict[str, Callable[[Any], Any]]] = {"bump": bump, "turn": turn, "who": who}
