"""``dlq list|show|retry|drop FILE``: the dead letters in an executor's journal.

A dead letter is a request that came to nothing and that somebody should see to: poison, or one
whose retries did not bring it to a result. The executor marks its end as such, and the journal
keeps it, with its arguments and what each of its runs came to, until it is retried or dropped.

``list`` and ``show`` only read, whoever writes the journal. ``retry`` and ``drop`` write, so they
need it to be free (decision 12): one that is in use is refused, with its holder. A retry is one
line, the submission of a new request that names the one it repeats; it goes on when the executor
is started again with this journal. Killed before that line, the command has done nothing; after it,
everything.

With ``--json`` each prints one object: ``{"dead": […]}``, the letter, ``{"retried": {old: new}}``,
``{"dropped": [uuid, …]}``.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid as uuids
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bus.news import Journal, read
from bus.wire.commandline import Parser
from executor.commands.exits import DONE
from executor.commands.options import EXITS, PROGRAM, make_parser, parse
from executor.commands.sentences import duration, moment, printable
from executor.trail import AttemptInfo, attempts_of
from protocol.errors import ConfigurationError, JournalLocked, UnknownRequest
from protocol.events import Discarded, Ended, Event, Round
from protocol.failure import parse as parse_failure
from protocol.history import Entry, History, RequestStatus
from protocol.values import Json, dumps

LEAST: Final = 4  # characters of a uuid that name it, if no other dead letter begins so
BEGIN: Final = 8  # characters of a uuid in the table
SHOWN: Final = 80  # characters of an error there


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "list": _list,
        "show": _show,
        "retry": _retry,
        "drop": _drop,
    }
    parser = Parser(
        prog=f"{PROGRAM} dlq",
        description="See to the dead letters in an executor's journal: requests that ended their "
        "process each time, or were to be retried and came to nothing.",
        epilog=f"`{PROGRAM} dlq COMMAND --help` says more. {EXITS}",
    )
    parser.add_argument(
        "command",
        choices=commands,
        help="which there are, all about one, submit some again, or forget some",
    )
    return commands[parser.parse_args(argv[:1]).command](argv[1:])


# -- reading


def _list(argv: Sequence[str]) -> int:
    parser = _make_parser(
        "dlq list",
        "List the dead letters of a journal, the oldest first; it may be in use.",
        f"example: {PROGRAM} dlq list nightly.journal",
    )
    options = _parsed(parser, argv)
    letters = list(_history(options.file).dead_letters())
    if options.json:
        print(dumps({"dead": [_in_short(letter) for letter in letters]}), flush=True)
    elif letters:
        Console().print(_table(letters, time.time()))
    else:
        print(f"{printable(options.file)}: no dead letters")
    return DONE


def _show(argv: Sequence[str]) -> int:
    parser = _make_parser(
        "dlq show",
        "Show all about a dead letter: its arguments, and what each of its runs came to.",
        f"example: {PROGRAM} dlq show nightly.journal 3f2a",
    )
    parser.add_argument("uuid", metavar="UUID", help=_WHICH)
    options = _parsed(parser, argv)
    (letter,) = _chosen(_history(options.file), options.file, [options.uuid])
    if options.json:
        print(dumps(_in_full(letter)), flush=True)
    else:
        print("\n".join(_told(letter)), flush=True)
    return DONE


def _history(path: str) -> History:
    """What the file that is written to comes to: every dead letter goes along into it."""
    history = History(keeps_ended=False)
    for found in read(path, older=False):
        if isinstance(found, Entry):
            history.apply(found)
    return history


# -- writing


def _retry(argv: Sequence[str]) -> int:
    parser = _make_parser(
        "dlq retry",
        "Submit dead letters again, each as a new request with the same arguments and options. "
        "They run when their executor is started again with this journal.",
        f"example: {PROGRAM} dlq retry nightly.journal 3f2a 77b0",
    )
    _add_choice(parser)
    options = _parsed(parser, argv)
    letters, executor = _change(options, _again)
    retried = {letter.submitted.uuid: new for letter, new in letters}
    if options.json:
        print(dumps({"retried": retried}), flush=True)
        return DONE
    for letter, new in letters:
        print(f"{new} repeats {letter.submitted.uuid} ({printable(letter.submitted.task)})")
    if letters:
        print(
            f"submitted; executor {printable(executor)} runs it when it is started again with "
            f"journal={printable(options.file)!r}",
            flush=True,
        )
    return DONE


def _drop(argv: Sequence[str]) -> int:
    parser = _make_parser(
        "dlq drop",
        "Forget dead letters: their lines go with the file they are in.",
        f"example: {PROGRAM} dlq drop nightly.journal --all",
    )
    _add_choice(parser)
    options = _parsed(parser, argv)
    letters, _ = _change(options, _discarded)
    dropped: list[Json] = [letter.submitted.uuid for letter, _ in letters]
    if options.json:
        print(dumps({"dropped": dropped}), flush=True)
        return DONE
    for letter, _ in letters:
        print(f"dropped {letter.submitted.uuid} ({printable(letter.submitted.task)})", flush=True)
    return DONE


#: A letter, and the uuid of what was made of it.
_Changed = tuple[RequestStatus, str]


def _change(
    options: argparse.Namespace, line: Callable[[RequestStatus], tuple[Event, str]]
) -> tuple[list[_Changed], str]:
    """Write a line for each of those chosen, all in one piece; and whose journal it is.

    Looked up before the journal is opened, so that nothing is written, or begun, for a command
    that asks for what is not there, and again once nobody else can change it.
    """
    path = options.file
    if not options.all and not options.uuids:
        raise ConfigurationError("which dead letters? Name them by their uuids, or say --all")
    found = _history(path)
    if not _wanted(found, options) or found.executor is None:
        if not options.json:
            print(f"{printable(path)}: no dead letters")
        return [], ""
    executor = found.executor.name
    try:
        journal = Journal(path, executor)
    except JournalLocked as error:
        raise JournalLocked(
            f"the dead letters of {path} cannot be changed while {error.holder} writes it: shut "
            f"that one down first; `{PROGRAM} dlq list` and `show` work meanwhile",
            holder=error.holder,
        ) from error
    with journal:
        chosen = _wanted(_history(path), options)
        made = [(letter, *line(letter)) for letter in chosen]
        journal.append([event for _, event, _ in made])
    return [(letter, uuid) for letter, _, uuid in made], executor


def _wanted(history: History, options: argparse.Namespace) -> list[RequestStatus]:
    if options.all:
        return list(history.dead_letters())
    return _chosen(history, options.file, options.uuids)


def _again(letter: RequestStatus) -> tuple[Event, str]:
    """The same call, to be started at once."""
    uuid = str(uuids.uuid4())
    submitted = letter.submitted
    return replace(submitted, uuid=uuid, not_before=None, repeats=submitted.uuid), uuid


def _discarded(letter: RequestStatus) -> tuple[Event, str]:
    uuid = letter.submitted.uuid
    return Discarded(uuid), uuid


# -- which


_WHICH: Final = f"its uuid, or the first {LEAST} characters or more, if no other begins so"


def _make_parser(command: str, description: str, example: str) -> Parser:
    parser = make_parser(command, description, example)
    parser.add_argument("file", metavar="FILE", help="the journal, as the executor was given it")
    return parser


def _parsed(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    parser.add_logging("error")
    return parse(parser, argv)


def _add_choice(parser: Parser) -> None:
    parser.add_argument("uuids", nargs="*", metavar="UUID", help=_WHICH)
    parser.add_argument("--all", action="store_true", help="every one there is")


def _chosen(history: History, path: str, names: Iterable[str]) -> list[RequestStatus]:
    """The dead letters of these names, each once. Raises ``UnknownRequest`` for any other."""
    letters = {letter.submitted.uuid: letter for letter in history.dead_letters()}
    chosen: dict[str, RequestStatus] = {}
    for name in names:
        found = [uuid for uuid in letters if uuid == name]
        if not found and len(name) >= LEAST:
            found = [uuid for uuid in letters if uuid.startswith(name)]
        if len(found) != 1:
            several = f"{len(found)} dead letters begin so" if found else "no dead letter is it"
            raise UnknownRequest(
                f"{name!r} in {path}: {several}, of {len(letters)} that there are; one that was "
                f"retried or dropped is none any more: `{PROGRAM} dlq list {path}` lists them"
            )
        chosen[found[0]] = letters[found[0]]
    return list(chosen.values())


# -- telling


def _table(letters: Iterable[RequestStatus], now: float) -> Table:
    table = Table(title="dead letters, the oldest first", title_justify="left")
    table.add_column("request", no_wrap=True)
    for heading in ("task", "came to"):
        table.add_column(heading, overflow="fold")
    for heading in ("runs", "died"):
        table.add_column(heading, justify="right", no_wrap=True)
    letters = list(letters)
    begins = Counter(letter.submitted.uuid[:BEGIN] for letter in letters)
    for letter in letters:
        uuid = letter.submitted.uuid
        table.add_row(
            Text(printable(uuid if begins[uuid[:BEGIN]] > 1 else uuid[:BEGIN])),
            Text(printable(letter.submitted.task)),
            Text(printable(_shown(letter))),
            str(len(_attempts(letter))),
            f"{duration(now - (letter.ended_stamp or now))} ago",
        )
    return table


def _shown(letter: RequestStatus) -> str:
    """What it came to, without what the row says already."""
    submitted = letter.submitted
    text = _error(letter).replace(f"request {submitted.uuid} ({submitted.task}) ", "")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _in_short(letter: RequestStatus) -> dict[str, Json]:
    submitted = letter.submitted
    return {
        "uuid": submitted.uuid,
        "task": submitted.task,
        "submitted": letter.stamp,
        "ended": letter.ended_stamp,
        "error": _error(letter),
        "attempts": len(_attempts(letter)),
        "retries": letter.retries,
        "key": submitted.key,
        "repeats": submitted.repeats,
    }


def _in_full(letter: RequestStatus) -> dict[str, Json]:
    submitted = letter.submitted
    args, arguments = _arguments(letter)
    return {
        **_in_short(letter),
        "args": args,
        "arguments": arguments,
        "policy": submitted.retries,
        "topics": list(submitted.topics),
        "attempts": [asdict(one) for one in _attempts(letter)],
        "failures": [
            {"stamp": stamp, "attempt": number, "cause": cause, "failure": failure}
            for stamp, number, cause, failure in _failures(letter)
        ],
    }


def _told(letter: RequestStatus) -> list[str]:
    """For people: what was asked for, each attempt, and each failure with its traceback."""
    submitted = letter.submitted
    args, arguments = _arguments(letter)
    lines = [
        f"request    {printable(submitted.uuid)}",
        f"task       {printable(submitted.task)}",
        f"arguments  {_call(args, arguments)}",
        f"submitted  {moment(letter.stamp)}",
        f"died       {moment(letter.ended_stamp or 0.0)}: {printable(_error(letter))}",
    ]
    if isinstance(submitted.retries, dict):
        used = f"{letter.retries} of {submitted.retries.get('max')} used"
        lines.append(f"retries    {used}, on {printable(_listed(submitted.retries.get('on')))}")
    if submitted.key is not None:
        lines.append(f"key        {printable(submitted.key)}")
    if submitted.repeats is not None:
        lines.append(f"repeats    {printable(submitted.repeats)}")
    lines += ["", "attempts:"]
    lines += [f"  {_attempt(one)}" for one in _attempts(letter)] or ["  none: it was never sent"]
    for stamp, number, cause, failure in _failures(letter):
        told = parse_failure(failure)
        lines += ["", f"{moment(stamp)}  attempt {number}, {cause}:"]
        lines += [f"  {printable(line)}" for line in told.traceback.splitlines()]
        kind = told.type_names[0] if told.type_names else "an exception of unknown type"
        lines.append(f"  {printable(kind)}: {printable(told.text)}")
    return lines


def _attempt(one: AttemptInfo) -> str:
    how = one.how or "not answered"
    error = f": {one.error}" if one.error else ""
    began = one.began if one.began is not None else one.sent
    took = "" if one.ended is None else f" after {one.ended - began:.1f} s"
    return printable(
        f"{one.number}. {moment(one.sent)}  round {one.round}, {one.worker}: {how}{took}{error}"
    )


def _attempts(letter: RequestStatus) -> tuple[AttemptInfo, ...]:
    return attempts_of(letter.steps)


def _failures(letter: RequestStatus) -> list[tuple[float, int | None, str, Json]]:
    """What each run came to that failed: when, which attempt, how, and its failure dict."""
    found: list[tuple[float, int | None, str, Json]] = [
        (stamp, event.attempt, event.cause, event.failure)
        for stamp, event in letter.steps
        if isinstance(event, Round) and event.failure is not None
    ]
    ended = letter.ended
    if ended is not None and ended.outcome == "failure":
        numbers = [one.number for one in _attempts(letter) if one.how == "failure"]
        found.append(
            (letter.ended_stamp or 0.0, max(numbers, default=None), "failure", ended.value)
        )
    return found


def _error(letter: RequestStatus) -> str:
    """What it came to, in one line."""
    ended: Ended | None = letter.ended
    value = ended.value if ended is not None else None
    if ended is not None and ended.outcome == "failure":
        told = parse_failure(value)
        kind = told.type_names[0] if told.type_names else "an exception of unknown type"
        return f"{kind}: {told.text}"
    if isinstance(value, dict):
        return f"{value.get('type')}: {value.get('message')}"
    return "an end that is not told"


def _arguments(letter: RequestStatus) -> tuple[Json, Json]:
    body = letter.submitted.body
    if not isinstance(body, dict):
        return [], {}
    return body.get("args") or [], body.get("arguments") or {}


def _call(args: Json, arguments: Json) -> str:
    """As the command line takes them."""
    words = [_json(each) for each in args] if isinstance(args, list) else []
    if isinstance(arguments, dict):
        words += [f"{printable(name)}={_json(each)}" for name, each in arguments.items()]
    return " ".join(words) or "none"


def _json(value: Json) -> str:
    try:
        return printable(json.dumps(value, ensure_ascii=False))
    except ValueError:  # an int of more digits than Python writes by itself
        return printable(dumps(value))


def _listed(names: Json) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else "any"
