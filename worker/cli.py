"""``python -m worker TASKS…`` (installed: ``taskline-worker``): one worker until a signal ends it.

Each option is mirrored by an environment variable: flag over environment over default. SIGTERM and
SIGINT drain; a second one stops at once, and so does the first while the worker is starting.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bus.wire.commandline import Parser, topics_of
from protocol.errors import BrokerUnavailable, ConfigurationError, TasksUnloadable
from protocol.timing import BEAT
from protocol.topology import DIALECTS
from worker.service import DRAIN_TIMEOUT, Worker

logger = logging.getLogger("taskline.worker.cli")

#: Exit codes: a mistake in the command, something to offer that cannot be imported, no broker.
EXIT_USAGE, EXIT_TASKS, EXIT_BROKER, EXIT_BUG = 2, 3, 4, 1
_GOING_DOWN = (
    b"taskline-worker: what runs may finish, the rest is given back; once more stops at once\n"
)
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _EndedAtStart(BaseException):
    """A signal came while the worker was starting. Not an ``Exception``: it passes through tasks
    that are being imported.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker; returns the exit code."""
    parser = _parser()
    options = parser.parse(sys.argv[1:] if argv is None else argv, os.environ)
    if not options.tasks and not options.tasks_from_stdin:
        parser.error("name what to offer: MODULE, or MODULE:NAME for one thing of it")
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
            preload=options.preload or (),
            cores=options.cores,
            memory=options.memory,
            disk=options.disk,
            accelerators=options.accelerators or (),
            preemptible=options.preemptible,
            node=options.node,
            beat=options.beat,
            signing_keys=options.signing_keys,
            require_signature=options.require_signature,
            expects_tasks=options.tasks_from_stdin,
            share=options.share,
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
    is_starting = True

    def on_signal(number: int, frame: object) -> None:
        nonlocal signals, is_starting
        signals += 1
        if is_starting:  # nothing has been taken: there is nothing to wait for
            is_starting = False
            raise _EndedAtStart
        worker.drain(None if signals == 1 else 0.0)
        if signals == 1:  # os.write: a handler must not print into the middle of a print
            os.write(2, _GOING_DOWN)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        worker.start()
        is_starting = False
    except BaseException:
        is_starting = False
        if not signals:
            raise
        worker.stop(0.0)
        return 0
    if not options.no_banner:
        print(worker.banner(), file=sys.stderr, flush=True)
    if options.tasks_from_stdin:
        reader = threading.Thread(
            target=_read_tasks, args=(worker,), name="taskline-stdin", daemon=True
        )
        reader.start()
    worker.wait()
    worker.stop(0.0)
    code = 0 if worker.error is None else _complain(worker.error, EXIT_BUG)
    if worker.left_running:
        logger.warning("%d tasks are cut off in their threads", worker.left_running)
        _leave(code)
    return code


def _read_tasks(worker: Worker) -> None:
    """Offer each line of the standard input; its end is ours: whoever started us has gone."""
    try:
        for line in sys.stdin.buffer:
            spec = line.decode(errors="replace").strip()
            if spec:
                worker.offer(spec)
    finally:
        worker.drain(0.0)


def _leave(code: int) -> NoReturn:
    """End this process although threads of tasks still run, which futurist would wait for."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _complain(error: BaseException, code: int) -> int:
    print(f"taskline-worker: {error}", file=sys.stderr, flush=True)
    return code


def _see_current_folder() -> None:
    """Task modules are looked for where the command was typed, too: an installed script's path does
    not begin there. Our own modules are imported by now, so nothing there can be taken for them.
    """
    try:
        here = str(Path.cwd())
    except FileNotFoundError:  # it has been removed: nothing can be found there
        return
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
    parser.mirror(
        "--preload",
        action="append",
        metavar="MODULE",
        help="with worker.command: processes that have imported it are kept, and commands that "
        "begin with it (its console scripts, python -m MODULE) start as copies of one; may be "
        "repeated",
    )
    parser.mirror(
        "--name",
        help="keep it over a restart: executors then know at once that the one before is dead; "
        "default: host and process id",
    )
    parser.mirror(
        "--cores",
        type=float,
        metavar="N",
        help="that tasks which say what they need may take at once; default: all of this machine",
    )
    parser.mirror("--memory", metavar="SIZE", help='the same, as "16 GiB"; default: all of it')
    parser.mirror(
        "--disk", metavar="SIZE", help="the same; default: what is free for temporary files"
    )
    parser.mirror("--accelerators", metavar="KIND=N,…", help='the same, as "gpu=2"; default: none')
    parser.mirror(
        "--preemptible",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="this machine can be taken away at any time: only what agrees to that runs here",
    )
    parser.mirror("--node", metavar="NAME", help="of this machine; default: its host name")
    parser.mirror("--dialect", choices=DIALECTS, default="native", help="default: %(default)s")
    parser.mirror(
        "--drain-timeout",
        type=float,
        default=DRAIN_TIMEOUT,
        metavar="SECONDS",
        help="for running tasks to finish after SIGTERM; default: %(default)s",
    )
    parser.mirror(
        "--beat",
        type=float,
        default=BEAT,
        metavar="SECONDS",
        help="between two signs of life; after two and a half of these without one its work is "
        "given to others; default: %(default)s",
    )
    parser.add_argument(
        "--tasks-from-stdin",
        action="store_true",
        help="offer each further line of the standard input too, and end when it is closed",
    )
    parser.add_argument(
        "--share",
        type=int,
        default=1,
        metavar="N",
        help="one of so many workers on this machine, each with as large a part of it",
    )
    parser.add_argument("--no-banner", action="store_true", help="start without a word")
    return parser
