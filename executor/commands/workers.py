"""``workers``: list who answers, and what they offer.

Everybody is asked once, at the start. With ``--json``: a list of ``executor.WorkerInfo``, as
objects. That nobody answers is an answer too, and no error.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bus.wire.commandline import topics_of
from executor.client import Executor
from executor.commands.exits import DONE
from executor.commands.options import (
    PROGRAM,
    add_broker,
    make_executor,
    make_parser,
    parse,
    seconds,
)
from executor.workers import WorkerInfo
from protocol.errors import WaitTimeout
from protocol.values import Json, dumps

WAIT = 2.0  # seconds for workers to answer, if none does
SETTLE = 0.5  # seconds after the first answer for the others


def add_wait(parser: argparse.ArgumentParser) -> None:
    """``--wait``, for :func:`hear_all`."""
    parser.add_argument(
        "--wait",
        type=seconds,
        default=WAIT,
        metavar="SECONDS",
        help="for the first worker to answer; default: %(default)s",
    )


def hear_all(executor: Executor, options: argparse.Namespace) -> None:
    """Wait for whoever answers; that nobody does is an answer, too."""
    with contextlib.suppress(WaitTimeout):
        executor.wait_for_workers(1, options.wait)
        time.sleep(SETTLE)


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = make_parser(
        "workers",
        "List the workers that answer, and the tasks they offer.",
        f"example: {PROGRAM} workers --topic images --json",
    )
    add_wait(parser)
    add_broker(parser)
    options = parse(parser, argv)
    with make_executor(options) as executor:
        hear_all(executor, options)
        found = executor.workers()
        elsewhere = executor.counts().get("answer_for_others", 0)
    if options.json:
        print(dumps([_worker(worker) for worker in found]), flush=True)
    elif found:
        Console().print(_table(found))
    else:
        print(_nobody(options, elsewhere), flush=True)
    return DONE


def _nobody(options: argparse.Namespace, elsewhere: int) -> str:
    topics = ", ".join(topics_of(options))
    lines = [f"No worker on topic {topics} answered within {options.wait:g} s."]
    if elsewhere:
        lines.append("There are workers on other topics: name theirs with --topic.")
    lines.append(
        "Start one with: python -m worker MODULE, and the same --url, --exchange and --topic."
    )
    return "\n".join(lines)


def _worker(worker: WorkerInfo) -> dict[str, Json]:
    topics = {topic: list(tasks) for topic, tasks in worker.topics.items()}
    return {**dataclasses.asdict(worker), "topics": topics, "silent": round(worker.silent, 3)}


def _table(found: Sequence[WorkerInfo]) -> Table:
    table = Table()
    for heading in ("name", "boot", "dialect", "topics", "tasks"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "boot")
    for heading in ("slots", "silent"):
        table.add_column(heading, justify="right", no_wrap=True)
    for worker in found:
        tasks = sorted({task for names in worker.topics.values() for task in names})
        table.add_row(
            Text(worker.name),
            worker.boot or "",
            worker.dialect,
            Text("\n".join(worker.topics)),
            Text("\n".join(tasks)),
            "" if worker.slots is None else str(worker.slots),
            f"{worker.silent:.1f} s",
        )
    return table
