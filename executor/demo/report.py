"""What the demo prints: a bar while it runs, the failure, and the closing tables; or JSON.

On a terminal the bar lives; anywhere else (a pipe, a build's log) there is a plain line for each
tenth of the work. Nothing is wider than 100 columns. How numbers are added up is ``totals``'.
Caller's thread.
"""

from __future__ import annotations

import json
import platform
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TypeVar

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from executor import WorkerInfo
from executor.demo.library import library_folder
from executor.demo.survey import FileSurvey
from executor.demo.totals import Totals, add_up

T = TypeVar("T")

MAX_WIDTH = 100  # columns
ENOUGH = 500  # files; fewer are mentioned
PLAIN_LINES = 10  # of progress, where there is no terminal


class Report:
    """Takes what came of the tasks, prints as it comes, and closes with the sum."""

    def __init__(self, as_json: bool = False, console: Console | None = None) -> None:
        """``console``: where to print; the standard output."""
        self._console = console or Console(highlight=False)
        width = self._console.width if self._console.is_terminal else MAX_WIDTH
        self._console.width = min(width, MAX_WIDTH)
        self._as_json = as_json
        self._began = time.monotonic()
        self._seconds = 0.0
        self._surveys: list[FileSurvey] = []
        #: ``{path: the exception}``, in the order they came.
        self.failures: dict[str, Exception] = {}

    def begin(self, workers: Sequence[WorkerInfo], files: int) -> None:
        """The workers are there, and so many files are about to be submitted: the clock runs."""
        self._began = time.monotonic()
        if self._as_json:
            return
        names = ", ".join(worker.name for worker in workers)
        self._print(
            f"Surveying {files} files on {len(workers)} workers ({names}):\n"
            f"the standard library of Python {platform.python_version()} in {library_folder()},\n"
            "without its tests, and one file that is broken on purpose."
        )
        if files <= ENOUGH:
            self._print(
                f"That is fewer than the {ENOUGH} files of a whole library: this Python came with "
                "a part of it, or keeps it in an archive."
            )

    def watch(self, ended: Iterable[T], total: int) -> Iterator[T]:
        """Pass these on, one by one, showing how many of ``total`` there have been."""
        if self._as_json:
            yield from ended
        elif self._console.is_terminal:
            yield from self._watch_live(ended, total)
        else:
            yield from self._watch_plainly(ended, total)
        self._seconds = time.monotonic() - self._began

    def add(self, survey: FileSurvey) -> None:
        """One file has been surveyed."""
        self._surveys.append(survey)

    def fail(self, path: str, error: Exception) -> None:
        """The survey of this file raised."""
        self.failures[path] = error

    def close(self) -> None:
        """Print what came of it all."""
        totals = add_up(self._surveys, self.failures, self._seconds)
        if self._as_json:
            print(json.dumps(totals.as_json(), indent=2))
            return
        for path, error in self.failures.items():
            self._console.print(failure_panel(path, error))
        self._console.print(_most_complex(totals))
        self._console.print(_sums(totals))

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _watch_live(self, ended: Iterable[T], total: int) -> Iterator[T]:
        bar = Progress(
            TextColumn("surveying"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:4.0f}/s"),
            TextColumn("[red]{task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            expand=True,
        )
        with bar:
            task = bar.add_task("", total=total, rate=0.0, failed=0)
            for count, item in enumerate(ended, 1):
                yield item
                rate = count / (time.monotonic() - self._began)
                bar.update(task, completed=count, rate=rate, failed=len(self.failures))

    def _watch_plainly(self, ended: Iterable[T], total: int) -> Iterator[T]:
        lines = 0
        for count, item in enumerate(ended, 1):
            yield item
            if count * PLAIN_LINES // total > lines:
                lines = count * PLAIN_LINES // total
                rate = count / (time.monotonic() - self._began)
                failed = len(self.failures)
                self._print(f"{count:6} of {total} files, {rate:.0f}/s, {failed} failed")


def failure_panel(path: str, error: Exception) -> Panel:
    """An exception as it was raised here, below the frames it was raised from in the worker."""
    remote = getattr(error, "remote", None)
    frames = remote.traceback if remote is not None else ""
    where = f" in worker {remote.worker}" if remote is not None and remote.worker else ""
    raised = "".join(traceback.format_exception_only(error)).rstrip()
    if frames:
        frames = f"Traceback (most recent call last):\n{frames}"
    return Panel(
        Text(f"{frames}{raised}"),
        title=Text(f"{PurePath(path).name} failed{where}"),
        title_align="left",
        border_style="red",
    )


def _most_complex(totals: Totals) -> Table:
    table = Table(title="The most complex files", title_justify="left", expand=True)
    table.add_column("complexity", justify="right", no_wrap=True)
    table.add_column("file", ratio=2, no_wrap=True)
    table.add_column("lines", justify="right", no_wrap=True)
    table.add_column("functions", justify="right", no_wrap=True)
    table.add_column("its most complex", ratio=2, no_wrap=True)
    table.add_column("SHA-256", no_wrap=True)
    for survey in totals.most_complex:
        worst = survey["worst"]
        table.add_row(
            f"{survey['complexity']:,}",
            Text(_shown(survey["path"])),
            f"{survey['lines']:,}",
            f"{survey['functions']:,}",
            Text(f"{worst['complexity']:3} {worst['name']}"),
            f"{survey['sha256'][:8]}…",
        )
    return table


def _sums(totals: Totals) -> Table:
    table = Table(title="In all", title_justify="left", show_header=False, expand=True)
    for justify in ("left", "right", "left", "right"):
        table.add_column(justify=justify, no_wrap=True)
    slowest = totals.slowest
    left = [
        ("files surveyed", f"{totals.files:,}"),
        ("failed", f"{len(totals.failures):,}"),
        ("bytes", f"{totals.bytes:,}"),
        ("lines", f"{totals.lines:,}"),
        ("functions", f"{totals.functions:,}"),
        ("classes", f"{totals.classes:,}"),
        ("complexity", f"{totals.complexity:,}"),
    ]
    right = [
        ("seconds", f"{totals.seconds:.2f}"),
        ("tasks/s", f"{totals.tasks_per_second:,.1f}"),
        *((f"tasks of worker {worker}", f"{n:,}") for worker, n in totals.per_worker.items()),
        ("SHA-256 of all", f"{totals.sha256[:16]}…"),
    ]
    if slowest is not None:
        name = PurePath(slowest["path"]).name
        right.append((f"slowest, {name}", f"{slowest['seconds'] * 1000:,.0f} ms"))
    for number in range(max(len(left), len(right))):
        cells = [side[number] if number < len(side) else ("", "") for side in (left, right)]
        table.add_row(*(Text(text) for cell in cells for text in cell))
    return table


def _shown(path: str) -> str:
    """Below the library's folder as from there, elsewhere in full."""
    whole = PurePath(path)
    root = library_folder()
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else path
