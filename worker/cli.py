"""``python -m worker TASKS…`` (installed: ``taskline-worker``): one worker until a signal ends it.

Each option is mirrored by an environment variable: flag over environment over default. SIGTERM and
SIGINT drain; a second one stops at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bus.wire.commandline import Parser, topics_of
from protocol.errors import BrokerUnavailable, ConfigurationError, TasksUnloadable
from protocol.topology import DIALECTS
from worker.service import DRAIN_TIMEOUT, Worker

logger = logging.getLogger("taskline.worker.cli")

#: Exit codes: a mistake in the command, something to offer that cannot be imported, no broker.
EXIT_USAGE, EXIT_TASKS, EXIT_BROKER, EXIT_BUG = 2, 3, 4, 1
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker; returns the exit code."""
    parser = _parser()
    options = parser.parse(sys.argv[1:] if argv is None else argv, os.environ)
    logging.basicConfig(level=options.log_level.upper(), format=_FORMAT, stream=sys.stderr)
    _see_current_folder()
    try:
        worker = Worker(
            options.tasks,
            url=options.url,
            exchange=options.exchange,
            topics=topics_of(options),
            pool=options.pool,
            concurrency=options.concurrency,
            name=options.name,
            dialect=options.dialect,
            transport_options=dict(options.transport_option or ()),
            drain_timeout=options.drain_timeout,
            expects_tasks=options.tasks_from_stdin,
        )
        return _run(worker, options)
    except ConfigurationError as error:
        parser.error(str(error))
    except TasksUnloadable as error:
        return _complain(error, EXIT_TASKS)
    except BrokerUnavailable as error:
        return _complain(error, EXIT_BROKER)


def _run(worker: Worker, options: argparse.Namespace) -> int:
    signals = 0

    def on_signal(number: int, frame: object) -> None:
        nonlocal signals
        signals += 1
        worker.drain(None if signals == 1 else 0.0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    worker.start()
    if not options.no_banner:
        print(worker.banner(), file=sys.stderr, flush=True)
    if options.tasks_from_stdin:
        reader = threading.Thread(
            target=_read_tasks, args=(worker,), name="taskline-stdin", daemon=True
        )
        reader.start()
    worker.wait()
    worker.stop(0.0)
    if worker.error is not None:
        return _complain(worker.error, EXIT_BUG)
    return 0


def _read_tasks(worker: Worker) -> None:
    """Offer each line of the standard input; its end is ours: whoever started us has gone."""
    for line in sys.stdin:
        if line.strip():
            worker.offer(line.strip())
    worker.drain(0.0)


def _complain(error: BaseException, code: int) -> int:
    print(f"taskline-worker: {error}", file=sys.stderr, flush=True)
    return code


def _see_current_folder() -> None:
    """Task modules are looked for where the command was typed, too: an installed script's path does
    not begin there. Our own modules are imported by now, so nothing there can be taken for them.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _parser() -> Parser:
    parser = Parser(
        prog="taskline-worker",
        description="Run tasks that executors submit. SIGTERM and SIGINT let running tasks finish "
        "and give the rest back; a second one stops at once.",
    )
    parser.add_argument(
        "tasks", nargs="*", metavar="TASKS", help="what to offer: MODULE or MODULE:NAME"
    )
    parser.add_broker()
    parser.mirror(
        "--pool",
        choices=("processes", "threads"),
        default="processes",
        help="what tasks run in; default: %(default)s",
    )
    parser.mirror("--concurrency", type=int, metavar="N", help="tasks at once; default: the cores")
    parser.mirror("--name", help="default: host and process id")
    parser.mirror("--dialect", choices=DIALECTS, default="native", help="default: %(default)s")
    parser.mirror(
        "--drain-timeout",
        type=float,
        default=DRAIN_TIMEOUT,
        metavar="SECONDS",
        help="for running tasks to finish after SIGTERM; default: %(default)s",
    )
    parser.add_argument(
        "--tasks-from-stdin",
        action="store_true",
        help="offer each further line of the standard input too, and end when it is closed",
    )
    parser.add_argument("--no-banner", action="store_true", help="start without a word")
    return parser
