"""``demo``: what ``executor.demo.job`` does, with a broker to choose. ``--json``: its totals."""

from __future__ import annotations

from collections.abc import Sequence

from executor.commands.options import PROGRAM, make_parser, parse
from executor.demo import job


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = make_parser(
        "demo",
        "Survey every file of Python's standard library on two workers: no server, nothing to set "
        "up. The lines that do it are in executor/demo/job.py.",
        f"example: {PROGRAM} demo --url redis://localhost",
    )
    parser.add_url()
    parser.add_logging("error")
    options = parse(parser, argv)
    return job.run(options.url, options.json)
