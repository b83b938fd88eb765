"""``python -m benchmarks.simulation [--check] [--broker redis|amqp] [--workers N] [--requests N]``.

Measures what things cost here, on a broker of its own, then lets fleets run in the model and says
what came of each: minutes. ``--check`` lets real fleets of 1, 2, 4 and 8 workers run instead, and
tells what was predicted beside what was measured. Both leave a file in the folder of results, from
which ``python -m benchmarks --report`` writes a section of docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence

from benchmarks import machine
from benchmarks.options import add_results
from benchmarks.simulation import calibration, check, files, scenarios
from benchmarks.simulation.files import Found, Row
from benchmarks.simulation.fleet import CHECK
from benchmarks.simulation.model import World
from benchmarks.statistics import rounded
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    options = _parser().parse_args(arguments)
    with _broker(options.broker) as (url, servers):
        costs = calibration.measure(options.broker, url, servers)
        found = Found(costs, of=machine.circumstances((), {}) | {"load": machine.load()})
        if options.check:
            for count in check.WORKERS:
                fleet = check.fleet_of(count)
                measured = check.run(fleet, url, servers)
                row = Row(CHECK, fleet, World(fleet, costs).run(), measured)
                found.rows.append(row)
                print(_line(row), flush=True)
    if not options.check:
        for row in scenarios.small_ones(costs, options.workers):
            found.rows.append(row)
            print(_line(row), flush=True)
        large = scenarios.large_one(costs, found.rows, options.workers, options.requests)
        found.rows.append(large)
        print(_line(large), flush=True)
    print(files.write(found, options.results, "check" if options.check else "fleets"))
    return 0


@contextlib.contextmanager
def _broker(kind: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    server = PrivateRedis() if kind == "redis" else PrivateRabbitMQ()
    with server:
        yield server.url, (server.pid,)


def _line(row: Row) -> str:
    fleet = row.fleet
    parts = [
        f"{row.group}: {fleet.workers:,} workers, {fleet.executors} executors, beat {fleet.beat:g}"
    ]
    for name, outcome in (("predicted", row.predicted), ("measured", row.measured)):
        if outcome is not None:
            parts.append(
                f"  {name:9} {rounded(outcome.throughput)} ended/s, "
                f"wait p99 {rounded(outcome.wait_p99)} s, "
                f"executor {rounded(outcome.executor_in)} in, {rounded(outcome.executor_out)} out; "
                f"of a core: executor {rounded(outcome.executor_cpu)}, "
                f"worker {rounded(outcome.worker_cpu)}, broker {rounded(outcome.broker_cpu)}"
                + (f"; blind {outcome.blind:.0%}" if outcome.blind else "")
                + (f"; {outcome.lost:,} runs lost" if outcome.lost else "")
                + (f"; took {outcome.took:.1f} s" if outcome.took else "")
            )
    return "\n".join(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--check", action="store_true", help="real fleets beside the model's")
    parser.add_argument("--broker", choices=("redis", "amqp"), default="redis")
    parser.add_argument("--workers", type=int, default=10_000, metavar="N")
    parser.add_argument("--requests", type=int, default=10_000_000, metavar="N")
    add_results(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
