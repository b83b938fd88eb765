"""``journal replay FILE``: every request and job of a journal, as far as it has come.

One line each, in the order in which they were first heard of, from all files of the journal that
are kept. With ``--follow`` one is printed again whenever it has come further; what happens between
two looks, a fifth of a second apart, is one line. With ``--json`` the lines are objects
(``journal_lives``), and damage is as ``journal tail`` has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bus.news import Damage
from executor.commands import journal_files, journal_lives
from executor.commands.exits import DONE
from executor.commands.options import PROGRAM, make_parser, parse
from executor.commands.sentences import printable
from protocol.events import Event
from protocol.history import Entry, History, RequestStatus
from protocol.job_status import JobStatus
from protocol.values import Json, dumps

POLL: Final = 0.2  # seconds between two looks for more


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = make_parser(
        "journal replay",
        "Print every request and job of a journal, or of a file of Toil's, as far as it has come.",
        f"example: {PROGRAM} journal replay --json nightly.journal",
    )
    parser.add_argument("file", metavar="FILE", help=journal_files.HELP)
    parser.add_argument(
        *("-f", "--follow"),
        action="store_true",
        help="go on, and print one again when it has come further, until Ctrl-C",
    )
    parser.add_logging("error")
    options = parse(parser, argv)
    replay = _Replay(as_json=options.json)
    if not options.follow:
        replay.take(journal_files.read(options.file))
        replay.show()
        return DONE

    def pause() -> bool:
        replay.show()
        time.sleep(POLL)
        return True

    replay.take(journal_files.follow(options.file, pause, journal_files.EVERY))
    return DONE


def damage_json(damage: Damage) -> dict[str, Json]:
    """What was passed over."""
    return {
        "damage": damage.what,
        "reason": damage.reason,
        "path": damage.path,
        "offset": damage.offset,
        "length": damage.length,
    }


class _Replay:
    def __init__(self, *, as_json: bool) -> None:
        self._history = History()
        self._line: Callable[[RequestStatus | JobStatus], str] = journal_lives.line
        if as_json:
            self._line = lambda life: dumps(journal_lives.as_json(life))
        self._as_json = as_json
        #: What something was said of since it was shown last, in that order.
        self._told: dict[int, RequestStatus | JobStatus] = {}
        #: What was shown of each.
        self._shown: dict[int, str] = {}

    def take(self, some: Iterable[Entry | Damage]) -> None:
        for found in some:
            if isinstance(found, Damage):
                said = f"damage     {printable(str(found))}"
                print(dumps(damage_json(found)) if self._as_json else said)
                continue
            self._history.apply(found)
            life = self._about(found.event)
            if life is not None:
                self._told.setdefault(id(life), life)  # which is kept, so its id stays its own

    def show(self) -> None:
        told, self._told = self._told, {}
        for key, life in told.items():
            said = self._line(life)
            if self._shown.get(key) != said:
                self._shown[key] = said
                print(said)
        print(end="", flush=True)

    def _about(self, event: Event) -> RequestStatus | JobStatus | None:
        uuid = getattr(event, "uuid", None)
        if uuid is not None:
            return self._history.requests.get(uuid)
        jobs = self._history.jobs
        name = getattr(event, "job", None)
        if name is not None:
            return jobs.by_name.get(name)
        return jobs.issued_as(getattr(event, "batch_id", None))
