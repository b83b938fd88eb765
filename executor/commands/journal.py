"""``journal status|tail|replay FILE``: what an executor's journal says, or a file of Toil's.

All only read, through ``bus.news`` and ``protocol.history``, and need no lock: the journal may be
in use, or damaged. ``status`` and ``replay`` are next door. ``tail`` prints lines as sentences;
with ``--follow`` on and on, from one file to the next; with ``--json`` a line is its event with
``n``, ``t`` and ``e`` as in the journal, or ``{"damage", "path", "offset", "length"}``. In Toil's
files there are no times: ``t`` is null.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bus.news import Damage
from bus.wire.commandline import Parser
from executor.commands import journal_files, journal_lives, journal_replay, journal_status
from executor.commands.exits import DONE
from executor.commands.journal_replay import POLL, damage_json
from executor.commands.options import EXITS, PROGRAM, make_parser, parse
from executor.commands.sentences import moment, printable, sentence
from protocol.events import to_fields
from protocol.history import Entry
from protocol.values import dumps

LINES: Final = 10  # that ``tail`` prints


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "status": journal_status.run,
        "tail": _tail,
        "replay": journal_replay.run,
    }
    parser = Parser(
        prog=f"{PROGRAM} journal",
        description="What an executor's journal says, or a file of Toil's, be it in use or not.",
        epilog=f"`{PROGRAM} journal COMMAND --help` says more. {EXITS}",
    )
    parser.add_argument(
        "command",
        choices=commands,
        help="what is so now, the last lines of what happened, or every request and job",
    )
    return commands[parser.parse_args(argv[:1]).command](argv[1:])


def _tail(argv: Sequence[str]) -> int:
    parser = make_parser(
        "journal tail",
        "Print the last lines of a journal as sentences: when, number, what happened.",
        f"example: {PROGRAM} journal tail -n 100 --follow nightly.journal",
    )
    parser.add_argument("file", metavar="FILE", help=journal_files.HELP)
    parser.add_argument(
        *("-n", "--lines"), type=_count, default=LINES, help="how many; default: %(default)s"
    )
    parser.add_argument(
        *("-f", "--follow"),
        action="store_true",
        help="go on with what is written, from one file to the next, until Ctrl-C",
    )
    parser.add_logging("error")
    options = parse(parser, argv)
    write = _json_line if options.json else _line
    found: Iterable[Entry | Damage]
    if options.follow:
        found = journal_files.follow(options.file, _pause, options.lines)
    else:
        found = journal_files.tail(options.file, options.lines)
    for each in found:
        print(write(each), flush=options.follow)
    return DONE


def _pause() -> bool:
    time.sleep(POLL)
    return True


def _line(found: Entry | Damage) -> str:
    if isinstance(found, Damage):
        return f"{'damage':>23}  {printable(str(found))}"
    when = "" if math.isnan(found.stamp) else moment(found.stamp)
    return f"{when:>23}  {found.number:>6}  {sentence(found.event)}"


def _json_line(found: Entry | Damage) -> str:
    if isinstance(found, Damage):
        return dumps(damage_json(found))
    when = journal_lives.known(found.stamp)
    head = {"n": found.number, "t": when, "e": found.event.word}
    return dumps({**head, **to_fields(found.event)})


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)
