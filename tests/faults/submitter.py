"""An executor as a process of its own, to be killed, also by itself at a write of its journal.

``python -m tests.faults.submitter --url … --exchange … --marks … --name … --journal …``: submits
numbers under keys, so that a second life submits none twice, and writes down how each ended.

Where it is to die is counted in writes of the journal, so ``Journal.append`` is wrapped. That is
the one place of the proof that reaches behind what a user has: no signal from outside can hit the
same write twice.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bus.news import Damage, read
from bus.news.journal import Journal
from executor import Executor, Future
from protocol.events import Dispatched, Ended, Event, Over, Round, Running
from tests.faults import errands

DEADLINE = 50.0  # seconds for one life


class Writes:
    """Counts the writes of a journal, and dies at one of them."""

    def __init__(self, die_at: int, moment: str, journal: Path) -> None:
        self.count = 0
        self._die_at = die_at
        self._moment = moment
        self._journal = journal
        self._append = Journal.append

    def count_those_of(self, kind: type[Journal]) -> None:
        """From now on."""

        def append(journal: Journal, recorded: Sequence[Any]) -> None:
            self._count(journal, recorded)

        kind.append = append  # type: ignore[method-assign]

    def _count(self, journal: Journal, recorded: Sequence[Any]) -> None:
        self.count += 1
        is_last = self.count == self._die_at
        if is_last and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        before = self._journal.stat().st_size
        self._append(journal, recorded)
        if is_last and self._moment == "torn":
            written = self._journal.stat().st_size - before
            os.truncate(self._journal, before + written // 2)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """One life."""
    parser = argparse.ArgumentParser()
    for name in ("url", "exchange", "marks", "name", "journal", "outcomes", "said", "submitted"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the mark of the first one")
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--die", choices=("before", "torn", "after"), default="after")
    options = parser.parse_args()
    writes = Writes(options.die_at, options.die, Path(options.journal))
    writes.count_those_of(Journal)
    with Executor(
        options.url, exchange=options.exchange, name=options.name, journal=options.journal
    ) as executor:
        futures = {}
        for number in range(options.count):
            mark = options.first + number
            # A time of its own: nobody may offer the task for long while so many are submitted.
            light = executor.options(key=f"{options.name}-{number}", timeout=3600.0)
            future = light.submit(errands.work, options.marks, mark, options.seconds)
            futures[number] = future
        if options.submitted:
            Path(options.submitted).touch()
        for number, future in futures.items():
            _tell(options.outcomes, number, options.first, future)
    entries = (entry for entry in read(Path(options.journal)) if not isinstance(entry, Damage))
    events = [entry.event for entry in entries]
    said = {
        "writes": writes.count,
        "ended_twice": ended_twice(events),
        "sent_though_known": sent_though_known(events),
    }
    Path(options.said).write_text(json.dumps(said))
    return 0


def _tell(file: str, number: int, first: int, future: Future[int]) -> None:
    try:
        outcome = str(future.result(DEADLINE) - first)
    except Exception as error:
        outcome = repr(error)
    with Path(file).open("a") as outcomes:
        outcomes.write(f"{number} {outcome}\n")


def ended_twice(events: Iterable[Event]) -> int:
    """How many requests have more than one end."""
    ends = collections.Counter(event.uuid for event in events if isinstance(event, Ended))
    return sum(count > 1 for count in ends.values())


def sent_though_known(events: Iterable[Event]) -> int:
    """How many times a request was sent though it was known to run, and nothing had ended that."""
    runs: set[str] = set()
    found = 0
    for event in events:
        if isinstance(event, Running):
            runs.add(event.uuid)
        elif isinstance(event, Over | Round):
            runs.discard(event.uuid)
        elif isinstance(event, Dispatched):
            found += event.uuid in runs
    return found


if __name__ == "__main__":
    raise SystemExit(main())
