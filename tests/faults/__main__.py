"""Play the scenarios: ``python -m tests.faults [--quick] [--only F1 F3] [--broker redis] …``.

Each play is a process of its own and leaves one file of JSON. Without ``--quick`` all of them, with
five seeds, take hours, and ``docs/reliability.md`` is written from all results that are there. The
exit code is 1 if one play did not pass.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults import report
from tests.faults.result import Result, circumstances, read_all
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import BROKERS, missing
from tests.processes import PROJECT

#: What the quick size leaves out: Redis with a file differs only in what it keeps.
QUICK_BROKERS = ("local", "memory", "redis", "amqp")
GRACE = 15.0  # seconds beyond its deadline for a play to end, servers and workers too


def main() -> int:
    """Play; the exit code."""
    options = _parser().parse_args()
    options.results = options.results.absolute()  # the plays put the local broker there
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.code:4} {scenario.name}: {scenario.words}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the play, too
    failed = 0
    if not options.report_only:
        for scenario, variant, broker, seed in _chosen(options):
            result = _play(scenario, variant, broker, seed, options)
            print(report.line(result), flush=True)
            failed += bool(result.problems)
    if options.report_only or not options.quick:
        report.write(read_all(options.results))
    return 1 if failed else 0


def _chosen(options: argparse.Namespace) -> Iterator[tuple[Scenario, str, str, int]]:
    """What is to be played, in order."""
    first = options.seed
    seeds = range(first, first + (options.seeds or (1 if options.quick else 5)))
    for scenario in SCENARIOS.values():
        if options.only and scenario.code not in options.only:
            continue
        usual = [b for b in scenario.brokers if b in QUICK_BROKERS or not options.quick]
        brokers = [b for b in scenario.brokers if b in options.broker] if options.broker else usual
        variants = scenario.variants[:1] if options.quick else scenario.variants
        if options.variant is not None:
            variants = tuple(v for v in scenario.variants if options.variant in v)
        for broker, variant, seed in itertools.product(brokers, variants, seeds):
            if scenario.suits(variant, broker):
                yield scenario, variant, broker, seed


def _play(
    scenario: Scenario, variant: str, broker: str, seed: int, options: argparse.Namespace
) -> Result:
    """One play, in a process of its own."""
    size = "quick" if options.quick else "full"
    result = Result(scenario.code, variant, broker, seed, size, of=circumstances())
    sentence = missing(broker)
    if sentence is not None:
        result.skipped = sentence
        if os.environ.get("TASKLINE_REQUIRE_BROKERS") == "1":
            result.problems.append(sentence)
        return result
    numbers = scenario.quick if options.quick else scenario.full
    file = options.results / result.file_name
    file.unlink(missing_ok=True)
    began = time.monotonic()
    words = [scenario.code, variant or "-", broker, str(seed), size, str(options.results)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.play", *words],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=numbers["deadline"] + GRACE)
        found = f"its process ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        _kill(process)
        _, said = process.communicate()
        found = f"it did not end within {numbers['deadline']:g} s"
    except BaseException:
        _kill(process)
        raise
    if file.exists():
        return next(r for r in read_all(options.results) if r.file_name == result.file_name)
    result.seconds = round(time.monotonic() - began, 1)
    result.problems.append(f"{found}:\n{said.decode(errors='replace')[-20_000:]}")
    result.write(options.results)
    return result


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Its servers and workers follow by themselves: their guards see to it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one seed, minutes")
    parser.add_argument("--only", nargs="+", metavar="CODE", choices=SCENARIOS, help="F1 to F16")
    parser.add_argument("--broker", nargs="+", choices=BROKERS)
    parser.add_argument("--variant", help="only those variants whose names contain this")
    parser.add_argument("--seeds", type=int, metavar="N", help="default: 5, with --quick 1")
    parser.add_argument("--seed", type=int, default=1, metavar="FIRST", help="default: 1")
    parser.add_argument(
        "--results", type=Path, default=PROJECT / "build" / "faults", metavar="FOLDER",
        help="where results are kept; default: build/faults",
    )  # fmt: skip
    parser.add_argument("--report-only", action="store_true", help="only write the page again")
    parser.add_argument("--list", action="store_true", help="what there is to be played")
    return parser


if __name__ == "__main__":
    sys.exit(main())
