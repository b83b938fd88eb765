"""``python -m benchmarks [--quick] [--only WORD …] [--results DIR] [--report] [--list]``.

Plays everything, in rounds, on a Redis and a RabbitMQ of its own, which takes more than an hour;
``--quick`` is a first look of minutes. Each cell leaves a file in the folder of results.
``--report`` plays nothing and writes ``docs/performance.md`` and its plots from what is there. The
exit code is 1 if a play failed.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence

from benchmarks import programme, runner
from benchmarks.line import line
from benchmarks.options import add_results
from benchmarks.report import page
from benchmarks.sizes import SIZES


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, or list, or report; the exit code."""
    options = _parser().parse_args(arguments)
    sittings = list(programme.sittings(quick=options.quick and not options.only))
    cells = [
        cell
        for sitting in sittings
        for cell in sitting.cells
        if set(options.only) <= set(cell.name.split("."))
    ]
    chosen = [part for sitting in sittings if (part := sitting.only(cells)) is not None]
    if options.list:
        for cell in cells:
            print(cell.name)
        print(f"{len(cells)} cells in {len(chosen)} sittings")
        return 0
    if options.report:
        page.write(options.results)
        return 0
    if not chosen:
        print(f"no cell's name holds {' and '.join(options.only)}: see --list", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    size = SIZES["quick" if options.quick else "full"]
    failed = 0
    # Closed at once if we are interrupted, and with it the brokers.
    with contextlib.closing(runner.run(chosen, size, options.rounds or size.rounds)) as results:
        for result in results:
            result.write(options.results)
            failed += bool(result.problem)
            print(line(result), flush=True)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the cells, play none")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small and one round; unless --only says more, of the two main measures",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="cells whose names hold all of these between their dots, such as: redis throughput p0",
    )
    parser.add_argument("--rounds", type=int, default=0, help="default: 5, quick: 1")
    add_results(parser)
    parser.add_argument("--report", action="store_true", help="write the page from the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
