"""``submit MODULE:FUNCTION|NAME [[NAME=]JSON …]``: have a worker run it, print what it returns.

The result goes to the standard output, the traceback of a failure and a bar to the standard error.
With ``--json``: ``{"uuid", "task", "state", "result" or "failure"}``, where a failure is ``{"type",
"text", "worker", "traceback", "causes"}``. How the words of the call are read is ``words``'.
"""

from __future__ import annotations

import concurrent.futures
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from executor.client import Executor
from executor.commands import words
from executor.commands.exits import DONE, exit_code
from executor.commands.options import (
    PROGRAM,
    add_broker,
    make_executor,
    make_parser,
    parse,
    seconds,
)
from executor.future import Future
from protocol.errors import RequestTimeout
from protocol.failure import RemoteError, RemoteTraceback
from protocol.states import FAILURE, RUNNING, SUCCESS
from protocol.timing import REQUEST_TIMEOUT
from protocol.values import Json, dumps

GRACE = 0.5  # seconds after its time for a request that has not started to say so itself

OnProgress = Callable[[float, dict[str, Json]], object]


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = make_parser(
        "submit",
        "Have a worker run a task, and print its result.",
        f"example: {PROGRAM} submit images:resize '\"cat.png\"' 640 480 keep_ratio=true",
    )
    parser.add_argument(
        "task", metavar="MODULE:FUNCTION|NAME", help="which; it is not imported here"
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="[NAME=]JSON",
        help="its arguments, each a JSON value, by position or by name; strings keep their quotes, "
        "and after -- a word may begin with a dash",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="give up after so long; without it, as long as a worker offers the task, or "
        f"{REQUEST_TIMEOUT:.0f} s if none does",
    )
    add_broker(parser)
    options = parse(parser, argv)
    task = words.task_name(options.task)
    positional, named = words.arguments(options.arguments)
    executor = make_executor(options)
    with _progress(task, shown=not options.json) as on_progress:
        light = executor.options(timeout=options.timeout, on_progress=on_progress)
        future = light.submit(task, *positional, **named)
        _wait(executor, future, options.timeout)
    return _tell(future, options.timeout, as_json=options.json)


def _wait(executor: Executor, future: Future[Any], timeout: float | None) -> None:
    """Until it has ended, or ``timeout`` is over; then shut down, unless it still runs.

    What a worker has begun cannot be called back, and shutting down would wait for it.
    """
    try:
        concurrent.futures.wait([future], None if timeout is None else timeout + GRACE)
    except KeyboardInterrupt:
        if future.cancel():
            executor.shutdown()
        raise
    if future.done():
        executor.shutdown()


def _tell(future: Future[Any], timeout: float | None, *, as_json: bool) -> int:
    """Print what came of it; returns the exit code."""
    answer: dict[str, Json] = {"uuid": future.uuid, "task": future.task, "state": SUCCESS}
    error: BaseException | None
    if future.done():
        error = future.exception()
        state = error.state if isinstance(error, RequestTimeout) else FAILURE
    else:
        state = RUNNING  # else it would have expired by now
        error = RequestTimeout(
            f"request {future.uuid} ({future.task}) has been started, and had not ended after "
            f"{timeout} s; it goes on, and its result will be lost: give it more with --timeout",
            request_uuid=future.uuid,
            state=state,
        )
    if error is None:
        value = future.result()
        print(dumps({**answer, "result": value}) if as_json else _readable(value), flush=True)
        return DONE
    if as_json:
        print(dumps({**answer, "state": state, "failure": _failure(error)}), flush=True)
    cause = error.__cause__
    told = cause.text if isinstance(cause, RemoteTraceback) else f"{PROGRAM}: {error}\n"
    print(told, end="", file=sys.stderr, flush=True)
    return exit_code(error)


def _readable(value: Json) -> str:
    """A result for people: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except ValueError:  # an int of more digits than Python writes by itself
        return dumps(value)


def _failure(error: BaseException) -> dict[str, Json]:
    remote: RemoteError | None = getattr(error, "remote", None)
    if remote is None:
        remote = RemoteError(None, (type(error).__name__,), str(error), "", ())
    return _remote(remote)


def _remote(error: RemoteError) -> dict[str, Json]:
    return {
        "type": error.type_names[0] if error.type_names else None,
        "text": error.text,
        "worker": error.worker,
        "traceback": error.traceback,
        "causes": [_remote(cause) for cause in error.causes],
    }


@contextmanager
def _progress(task: str, *, shown: bool) -> Iterator[OnProgress | None]:
    """A bar on the terminal, and what moves it; nothing where there is no terminal."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        line = bar.add_task(task, total=None)

        def on_progress(fraction: float, details: dict[str, Json]) -> None:
            bar.update(line, total=1.0, completed=fraction)

        yield on_progress
