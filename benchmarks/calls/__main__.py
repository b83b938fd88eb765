"""``python -m benchmarks.calls [--check | --renew] [--functions N] [WORD …]``.

Counts, and shows by room where the calls of one task go. ``--check`` compares with what is known
and ends with 1 if something has grown by more than is allowed, saying what; ``--renew`` writes down
what is found. With words only the paths that hold all of them, such as: joined 100.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calls import baseline, table, verdict
from benchmarks.calls.baseline import Known
from benchmarks.calls.counter import Calls
from benchmarks.calls.paths import PATHS


def main(arguments: Sequence[str] | None = None) -> int:
    """Count; the exit code."""
    options = _parser().parse_args(arguments)
    names = [name for name in PATHS if set(options.words) <= set(name.replace(",", "").split())]
    if not names:
        print(f"no path holds {' and '.join(options.words)}: {list(PATHS)}", file=sys.stderr)
        return 2
    if options.check:
        return _check(names, options.baseline)
    parts = {f"{name}, {side}": calls for name in names for side, calls in PATHS[name][0]().items()}
    if options.renew:
        known = baseline.read(options.baseline) if options.baseline.exists() else {}
        renewed = known | {part: Known.of(calls) for part, calls in parts.items()}
        baseline.write(
            {part: renewed[part] for part in _all_parts() if part in renewed},
            options.baseline,
        )
    print(table.by_room(parts))
    if options.functions:
        print(table.by_function(parts, options.functions))
    return 0


def _check(names: Sequence[str], file: Path) -> int:
    known = baseline.read(file)
    problems: list[str] = []
    for name in names:
        count, tries = PATHS[name]
        for _ in range(tries):
            found: dict[str, Calls] = {f"{name}, {side}": c for side, c in count().items()}
            wrong = [verdict.words(part, known.get(part), c) for part, c in found.items()]
            if not any(wrong):
                break
        problems += filter(None, wrong)
        totals = ", ".join(f"{calls.total:,.0f}" for calls in found.values())
        print(f"{name}: {totals} calls (submitter, worker)", flush=True)
    for problem in problems:
        print(f"\n{problem}", file=sys.stderr)
    return 1 if problems else 0


def _all_parts() -> list[str]:
    return [f"{name}, {side}" for name in PATHS for side in ("submitter", "worker")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with what is known")
    what.add_argument("--renew", action="store_true", help="write down what is found")
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="show the N functions called most"
    )
    parser.add_argument(
        "--baseline", type=Path, default=baseline.FILE, metavar="FILE", help="what is known"
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="of the names of paths")
    return parser


if __name__ == "__main__":
    sys.exit(main())
