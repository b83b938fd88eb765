"""What can be said to every command: ``--json``, the broker and its names, how much is logged.

Each option but ``--json`` is mirrored by an environment variable (``bus.wire.commandline``).
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import textwrap
from collections.abc import Sequence
from typing import Final

from bus.wire.commandline import Parser, topics_of
from executor.client import Executor
from executor.commands import exits
from protocol.topology import DIALECTS

PROGRAM: Final = "taskline"

#: For the end of each ``--help``.
EXITS: Final = (
    f"exit codes: {exits.DONE} done; {exits.FAILED} the task failed (its traceback is on the "
    f"standard error); {exits.USAGE} usage; {exits.NO_ANSWER} no answer in time; "
    f"{exits.BROKER} no broker; {exits.INTERRUPTED} Ctrl-C"
)


def make_parser(command: str, description: str, example: str) -> Parser:
    """The parser of one command, so far with ``--json`` alone."""
    parser = Parser(
        prog=f"{PROGRAM} {command}",
        description=textwrap.fill(description),
        epilog=f"{example}\n\n{textwrap.fill(EXITS)}",
        # As it is: an example must not be broken where it cannot be typed so.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs to read")
    return parser


def add_broker(parser: Parser) -> None:
    """What :func:`make_executor` needs."""
    parser.add_broker("error")  # a command tells by itself what it could not do
    parser.mirror(
        "--dialect",
        action="append",
        choices=DIALECTS,
        help="of the workers; may be repeated; default: native",
    )


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """The options; from now on what is logged goes to the standard error."""
    options = parser.parse(argv, os.environ)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(levelname)s %(name)s %(message)s"
    )
    return options


def make_executor(options: argparse.Namespace) -> Executor:
    """The executor that is asked for."""
    return Executor(
        options.url,
        exchange=options.exchange,
        topics=topics_of(options),
        dialects=tuple(dict.fromkeys(options.dialect or ("native",))),
        transport_options=dict(options.transport_option or ()),
        signing_keys=options.signing_keys,
        require_signature=options.require_signature,
    )


def seconds(text: str) -> float:
    """A number of seconds, as ``argparse`` calls it."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number
