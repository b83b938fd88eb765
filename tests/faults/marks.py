"""Executions, counted from outside: what the tasks wrote, read when all is over or meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(slots=True)
class Execution:
    """One run of one task."""

    number: int
    #: The worker's main process, and the one in which it ran.
    worker: int
    host: int
    #: On the monotonic clock; ``end`` is None if it never came to that.
    begin: float
    end: float | None = None


class Marks:
    """A folder for marks of one play."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = str(folder)

    def executions(self) -> list[Execution]:
        """All there were so far, in the order in which they began."""
        found: list[Execution] = []
        for file in Path(self.folder).iterdir():
            open_here: dict[int, Execution] = {}
            for line in file.read_text().splitlines():
                what, number, moment, worker = line.split()
                if what == "begin":
                    execution = Execution(int(number), int(worker), int(file.name), float(moment))
                    open_here[execution.number] = execution
                    found.append(execution)
                elif int(number) in open_here:
                    open_here.pop(int(number)).end = float(moment)
        return sorted(found, key=lambda execution: execution.begin)

    def by_number(self) -> dict[int, list[Execution]]:
        """The executions of each request, in order."""
        found: dict[int, list[Execution]] = {}
        for execution in self.executions():
            found.setdefault(execution.number, []).append(execution)
        return found

    def executed_again(self) -> int:
        """How many executions there were beyond the first of each request."""
        return sum(len(runs) - 1 for runs in self.by_number().values())

    def first_begin_after(self, moment: float) -> float | None:
        """When the next execution began, on the monotonic clock."""
        return min((e.begin for e in self.executions() if e.begin > moment), default=None)

    def until_run_again(self, ends: Iterable[tuple[int, float]]) -> list[float]:
        """Seconds from the end of a process to the next execution of what it had begun.

        ``ends``: which process ended, a worker or a host, and when.
        """
        by_process: dict[int, float] = dict(ends)
        found = []
        for runs in self.by_number().values():
            for before, after in pairwise(runs):
                moment = by_process.get(before.worker, by_process.get(before.host))
                if moment is not None and before.begin <= moment <= after.begin:
                    found.append(after.begin - moment)
        return found
