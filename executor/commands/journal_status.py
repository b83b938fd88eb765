"""``journal status FILE``: what is so now, by an executor's journal or a file of Toil's.

It folds the file that is written to, which is all that is open, how many requests have ended since
the journal was begun, and the jobs that file is about. With ``--follow`` it is said again when the
file has changed, once a second at most; with ``--json`` it is one object each time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bus.news import Damage, Holder, holder, read, toil
from executor.commands import journal_files, journal_lives
from executor.commands.exits import DONE
from executor.commands.journal_replay import POLL, damage_json
from executor.commands.options import PROGRAM, make_parser, parse
from executor.commands.sentences import duration, moment, printable
from protocol.events import to_fields
from protocol.history import ENDS, REQUEST_STATES, Entry, ExecutorStatus, History, RequestStatus
from protocol.job_status import JOB_STATES, JobStatus
from protocol.states import WAITING
from protocol.values import Json, dumps

NEWEST: Final = 20  # open requests, or jobs, in a table
AGAIN: Final = 1.0  # seconds before ``--follow`` says it again, at the least


@dataclasses.dataclass(slots=True)
class _Status:
    """What one reading of a journal comes to."""

    history: History
    #: How many requests there were in each state, since the journal was begun.
    states: dict[str, int]
    damage: list[Damage]
    holder: Holder | None
    format: journal_files.Format
    #: Seconds since 1970.
    now: float

    @property
    def open(self) -> list[RequestStatus]:
        """What has not ended, the newest first."""
        return list(self.history.open_requests())[::-1]

    @property
    def job_states(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        states = dict.fromkeys(JOB_STATES, 0)
        for job in self.history.jobs.by_name.values():
            states[job.state] += 1
        return states

    @property
    def dead(self) -> int:
        """How many dead letters there are."""
        return sum(1 for _ in self.history.dead_letters())


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = make_parser(
        "journal status",
        "Say whose journal it is, whether it is in use, how many requests and jobs there are in "
        "each state, which are open, which workers are there, and what is damaged.",
        f"example: {PROGRAM} journal status nightly.journal",
    )
    parser.add_argument("file", metavar="FILE", help=journal_files.HELP)
    parser.add_argument(
        *("-f", "--follow"),
        action="store_true",
        help="say it again when the file has changed, until Ctrl-C",
    )
    parser.add_logging("error")
    options = parse(parser, argv)
    while True:
        seen = _mark(options.file)
        status = _look(options.file)
        if options.json:
            print(dumps(_as_json(status)), flush=True)
        else:
            _show(status, options.file)
        if not options.follow:
            return DONE
        time.sleep(AGAIN)
        while _mark(options.file) == seen:
            time.sleep(POLL)


def _mark(path: str) -> tuple[int, int, int]:
    """Another one when the file is another, or has changed."""
    try:
        found = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _look(path: str) -> _Status:
    """Read the file that is written to, and who writes it."""
    form = journal_files.format_of(path)
    writer = holder(path) if form == "journal" else None
    history = History(keeps_ended=False)
    damage = []
    header = None
    reading: Iterator[Entry | Damage]
    if form == "journal":
        reading = ours = read(path, older=False)
        header = ours.header
    else:
        reading = toil.read(path)
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
    if header is not None:
        for outcome, state in ENDS.items():
            states[state] += header.ended.get(outcome, 0)
    return _Status(history, states, damage, writer, form, time.time())


def _show(status: _Status, path: str) -> None:
    console = Console()
    executor = status.history.executor
    if status.format == "toil":
        print(f"{printable(path)}: messages of a Toil leader, without times")
    else:
        print(f"{printable(path)}: {_whose(executor, status)}")
        print(f"requests: {_counted(status.states)}")
    _show_jobs(status, console)
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


def _show_jobs(status: _Status, console: Console) -> None:
    jobs = status.history.jobs
    if not jobs.by_name and status.format == "journal":
        return
    queue = "" if jobs.queue_size is None else f"; {jobs.queue_size} in the queue"
    print(f"jobs: {_counted(status.job_states)}{queue}")
    for instance_type, cluster in jobs.clusters.items():
        there, wanted = ("?" if n is None else n for n in (cluster.size, cluster.desired))
        print(f"machines of type {printable(instance_type)}: {there} there, {wanted} wanted")
    found = jobs.open_jobs()[::-1]
    if found:
        console.print(_jobs_table(found[:NEWEST]))
    if len(found) > NEWEST:
        print(f"and {len(found) - NEWEST} older ones")


def _counted(states: dict[str, int]) -> str:
    found = [f"{count} {state.lower()}" for state, count in states.items() if count]
    return ", ".join(found) or "none yet"


def _jobs_table(found: Iterable[JobStatus]) -> Table:
    table = Table(title="open jobs, the newest first", title_justify="left")
    for heading in ("job", "kind", "state", "batch id", "external id"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "state")
    table.add_column("issued", justify="right", no_wrap=True)
    for job in found:
        current = job.current
        table.add_row(
            Text(printable(job.job)),
            Text(printable(job.kind)),
            job.state,
            "" if current is None else str(current.batch_id),
            Text(printable((current.external_id if current else None) or "")),
            str(len(job.tries)),
        )
    return table


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
            Text(printable(journal_lives.worker_of(request) or "")),
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
        "format": status.format,
        "executor": None if history.executor is None else dataclasses.asdict(history.executor),
        "held_by": None if writer is None else dataclasses.asdict(writer),
        "requests": status.states,
        "dead": status.dead,
        "open": [
            {
                "uuid": request.submitted.uuid,
                "task": request.submitted.task,
                "state": request.state,
                "worker": journal_lives.worker_of(request),
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
        "jobs": status.job_states,
        "open_jobs": [journal_lives.job_json(job) for job in history.jobs.open_jobs()[::-1]],
        "queue_size": history.jobs.queue_size,
        "clusters": {
            name: dataclasses.asdict(cluster) for name, cluster in history.jobs.clusters.items()
        },
        "damage": [damage_json(each) for each in status.damage],
        "problems": [str(problem) for problem in history.problems],
    }


def _state(request: RequestStatus, now: float) -> str:
    """And when it may go on, if that is still to come."""
    due = request.not_before
    if due is None or due <= now or request.state != WAITING:
        return request.state
    return f"{request.state}, in {duration(due - now)}"
