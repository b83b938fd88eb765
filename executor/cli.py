"""``python -m executor COMMAND`` (installed: ``taskline``): ``submit``, ``workers``, ``nodes``,
``journal``, ``dlq``, ``demo``.

What was asked for goes to the standard output, everything else to the standard error. No wait is
without an end: a request expires, and Ctrl-C ends any of it. What each command does is in
``commands``; here one is chosen, and told is what it could not go on from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Final

from bus.wire.commandline import Parser
from executor.commands import demo, dlq, journal, nodes, submit, workers
from executor.commands.exits import FAILED, INTERRUPTED, exit_code
from executor.commands.options import EXITS, PROGRAM
from protocol import __version__
from protocol.errors import TasklineError

_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "submit": submit.run,
    "workers": workers.run,
    "nodes": nodes.run,
    "journal": journal.run,
    "dlq": dlq.run,
    "demo": demo.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, which ``executor.commands.exits`` explains."""
    given = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # where a letter cannot be shown, its number is
            stream.reconfigure(errors="backslashreplace")
    command = _COMMANDS[_parser().parse_args(given[:1]).command]
    try:
        return command(given[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except TasklineError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr, flush=True)
        return exit_code(error)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Submit tasks to workers.",
        epilog=f"`{PROGRAM} COMMAND --help` says more. {EXITS}",
    )
    parser.add_argument("--version", action="version", version=f"taskline {__version__}")
    parser.add_argument(
        "command",
        choices=_COMMANDS,
        help="submit a task, list the workers or their machines, read a journal, see to its dead "
        "letters, or see what it is like",
    )
    return parser
