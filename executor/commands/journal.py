"""``journal status FILE`` and ``journal tail FILE``: what an executor's journal says.

Both only read, through ``bus.news.reader`` and ``protocol.history``, and need no lock: the journal
may be in use, or damaged. ``status`` folds the file that is written to, which is all that is open
and how many have ended since the journal was begun. ``tail`` prints lines as sentences; with
``--follow`` on and on, from one file to the next.

With ``--json``, ``status`` is one object; a line of ``tail`` is its event with ``n``, ``t`` and
``e`` as in the journal, or ``{"damage", "path", "offset", "length"}``.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bus.news import Damage, Holder, follow, holder, read, tail
from bus.wire.commandline import Parser
from executor.commands.exits import DONE
from executor.commands.options import EXITS, PROGRAM, make_parser, parse
from executor.commands.sentences import duration, moment, printable, sentence
from protocol.events import to_fields
from protocol.history import ENDS, REQUEST_STATES, Entry, ExecutorStatus, History, RequestStatus
from protocol.states import WAITING
from protocol.values import Json, dumps

NEWEST: Final = 20  # open requests in the table
LINES: Final = 10  # that ``tail`` prints
POLL: Final = 0.2  # seconds between two looks for more


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {"status": _status, "tail": _tail}
    parser = Parser(
        prog=f"{PROGRAM} journal",
        description="What an executor's journal says, be it in use or not.",
        epilog=f"`{PROGRAM} journal COMMAND --help` says more. {EXITS}",
    )
    parser.add_argument(
        "command", choices=commands, help="what is so now, or the last lines of what happened"
    )
    return commands[parser.parse_args(argv[:1]).command](argv[1:])


# -- status


@dataclasses.dataclass(slots=True)
class _Status:
    """What one reading of a journal comes to."""

    history: History
    #: How many requests there were in each state, since the journal was begun.
    states: dict[str, int]
    damage: list[Damage]
    holder: Holder | None
    #: Seconds since 1970.
    now: float

    @property
    def open(self) -> list[RequestStatus]:
        """What has not ended, the newest first."""
        return list(self.history.open_requests())[::-1]

    @property
    def dead(self) -> int:
        """How many dead letters there are."""
        return sum(1 for _ in self.history.dead_letters())


def _status(argv: Sequence[str]) -> int:
    parser = make_parser(
        "journal status",
        "Say whose journal it is, whether it is in use, how many requests there are in each "
        "state, which are open, which workers are there, and what is damaged.",
        f"example: {PROGRAM} journal status nightly.journal",
    )
    parser.add_argument("file", metavar="FILE", help="the journal, as the executor was given it")
    parser.add_logging("error")
    options = parse(parser, argv)
    status = _look(options.file)
    if options.json:
        print(dumps(_as_json(status)), flush=True)
    else:
        _show(status, options.file)
    return DONE


def _look(path: str) -> _Status:
    """Read the file that is written to, and who writes it."""
    writer = holder(path)
    history = History(keeps_ended=False)
    damage = []
    reading = read(path, older=False)
    for found in reading:
        if isinstance(found, Entry):
            history.apply(found)
        elif found.reason != "torn" or writer is None:  # else it is just being written
            damage.append(found)
    states = dict.fromkeys(REQUEST_STATES, 0)
    for request in history.open_requests():
        states[request.state] += 1
    for state, count in history.ended.items():
        states[state] += count
    if reading.header is not None:
        for outcome, state in ENDS.items():
            states[state] += reading.header.ended.get(outcome, 0)
    return _Status(history, states, damage, writer, time.time())


def _show(status: _Status, path: str) -> None:
    console = Console()
    executor = status.history.executor
    print(f"{printable(path)}: {_whose(executor, status)}")
    counts = [f"{count} {state.lower()}" for state, count in status.states.items() if count]
    print(f"requests: {', '.join(counts) or 'none yet'}")
    if status.dead:
        print(f"dead letters: {status.dead}; `{PROGRAM} dlq list {printable(path)}` lists them")
    found = status.open
    if found:
        console.print(_open_table(found[:NEWEST], status.now))
    if len(found) > NEWEST:
        print(f"and {len(found) - NEWEST} older ones")
    workers = status.history.workers
    if workers:
        console.print(_workers_table(status))
    for damage in status.damage:
        print(f"damage: {printable(str(damage))}")
    for problem in status.history.problems:
        print(f"does not fit: {printable(str(problem))}")
    unnamed = status.history.misfits - len(status.history.problems)
    if unnamed:
        print(f"does not fit: {unnamed} lines more")


def _whose(executor: ExecutorStatus | None, status: _Status) -> str:
    if executor is None:
        return "no executor has opened it yet"
    opened = f"{duration(status.now - executor.opened)} ago, at {moment(executor.opened)}"
    lines = [
        f"executor {printable(executor.name)}, incarnation {executor.incarnation}, opened {opened}",
        f"workers know it as {printable(executor.identity)}",
    ]
    if status.holder is not None:
        lines.append(f"in use by {printable(str(status.holder))}")
    elif executor.closed is not None:
        lines.append(f"closed in order {duration(status.now - executor.closed)} ago")
    else:
        lines.append(
            "not in use, and not closed: it was killed, or its machine went down; what is open "
            "goes on when it is started again with this name and journal"
        )
    return "\n".join(lines)


def _open_table(found: Iterable[RequestStatus], now: float) -> Table:
    table = Table(title="open requests, the newest first", title_justify="left")
    for heading in ("request", "task", "state", "worker"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "state")
    for heading in ("age", "attempts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for request in found:
        table.add_row(
            Text(printable(request.submitted.uuid)),
            Text(printable(request.submitted.task)),
            _state(request, now),
            Text(printable(_worker_of(request) or "")),
            duration(now - request.stamp),
            str(len(request.attempts)),
        )
    return table


def _workers_table(status: _Status) -> Table:
    table = Table(title="workers, as far as this executor knew", title_justify="left")
    for heading in ("worker", "boot", "dialect", "topics"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "boot")
    for heading in ("slots", "seen first", "gone"):
        table.add_column(heading, justify="right", no_wrap=True)
    for worker in status.history.workers.values():
        event = worker.event
        table.add_row(
            Text(printable(event.worker)),
            Text(printable(event.boot or "")),
            event.dialect,
            Text(printable(", ".join(event.topics))),
            "" if event.slots is None else str(event.slots),
            f"{duration(status.now - worker.seen)} ago",
            "" if worker.gone is None else f"{duration(status.now - worker.gone)} ago",
        )
    return table


def _as_json(status: _Status) -> dict[str, Json]:
    history, writer = status.history, status.holder
    return {
        "executor": None if history.executor is None else dataclasses.asdict(history.executor),
        "held_by": None if writer is None else dataclasses.asdict(writer),
        "requests": status.states,
        "dead": status.dead,
        "open": [
            {
                "uuid": request.submitted.uuid,
                "task": request.submitted.task,
                "state": request.state,
                "worker": _worker_of(request),
                "age": round(status.now - request.stamp, 3),
                "attempts": len(request.attempts),
                "key": request.submitted.key,
                "priority": request.submitted.priority,
                "not_before": request.not_before,
            }
            for request in status.open
        ],
        "workers": [
            {**to_fields(worker.event), "seen": worker.seen, "gone": worker.gone}
            for worker in history.workers.values()
        ],
        "damage": [_damage(each) for each in status.damage],
        "problems": [str(problem) for problem in history.problems],
    }


def _state(request: RequestStatus, now: float) -> str:
    """And when it may go on, if that is still to come."""
    due = request.not_before
    if due is None or due <= now or request.state != WAITING:
        return request.state
    return f"{request.state}, in {duration(due - now)}"


def _worker_of(request: RequestStatus) -> str | None:
    current = request.current
    return None if current is None else current.event.worker


# -- tail


def _tail(argv: Sequence[str]) -> int:
    parser = make_parser(
        "journal tail",
        "Print the last lines of a journal as sentences: when, number, what happened.",
        f"example: {PROGRAM} journal tail -n 100 --follow nightly.journal",
    )
    parser.add_argument("file", metavar="FILE", help="the journal, as the executor was given it")
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
        found = follow(options.file, _pause, last=options.lines)
    else:
        found = tail(options.file, options.lines)
    for each in found:
        print(write(each), flush=options.follow)
    return DONE


def _pause() -> bool:
    time.sleep(POLL)
    return True


def _line(found: Entry | Damage) -> str:
    if isinstance(found, Damage):
        return f"{'damage':>23}  {printable(str(found))}"
    return f"{moment(found.stamp)}  {found.number:>6}  {sentence(found.event)}"


def _json_line(found: Entry | Damage) -> str:
    if isinstance(found, Damage):
        return dumps(_damage(found))
    head = {"n": found.number, "t": found.stamp, "e": found.event.word}
    return dumps({**head, **to_fields(found.event)})


def _damage(damage: Damage) -> dict[str, Json]:
    return {
        "damage": damage.what,
        "reason": damage.reason,
        "path": damage.path,
        "offset": damage.offset,
        "length": damage.length,
    }


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)
