"""``python -m benchmarks [--quick] [--only WORD …] [--results DIR] [--report] [--list]``.

Plays everything, in rounds, on a Redis and a RabbitMQ of its own, which takes hours; ``--quick``
is a first look of minutes. Each play leaves a file in the folder of results. ``--report`` plays
nothing and writes ``docs/performance.md`` and its plots from what is there. The exit code is 1 if a
play failed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, programme, schedule
from benchmarks.cells import Cell
from benchmarks.ground import ROOT, Ground
from benchmarks.line import line
from benchmarks.measures import MEASURES
from benchmarks.peers import PEERS
from benchmarks.report import page
from benchmarks.result import Result, read_all
from benchmarks.servers import Servers
from benchmarks.sizes import SIZES, Size
from bus.wire.testing.processes.guard import Guard

_GRACE: Final = 15.0  # seconds beyond its deadline for a play to end
_SHOWN: Final = 1500  # characters of what a failed play said


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, or list, or report; the exit code."""
    options = _parser().parse_args(arguments)
    chosen = [
        cell
        for cell in programme.cells(quick=options.quick and not options.only)
        if set(options.only) <= set(cell.name.split("."))
    ]
    if options.list:
        for cell in chosen:
            print(cell.name)
        print(f"{len(chosen)} cells")
        return 0
    if options.report:
        page.write(read_all(options.results))
        return 0
    if not chosen:
        print(f"no cell's name holds {' and '.join(options.only)}: see --list", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    size = SIZES["quick" if options.quick else "full"]
    return _play_all(chosen, size, options.rounds or size.rounds, options.results.absolute())


def _play_all(cells: Sequence[Cell], size: Size, rounds: int, folder: Path) -> int:
    failed = 0
    played: list[Result] = []
    guard = Guard()
    with contextlib.ExitStack() as stack:
        stack.callback(guard.stop)
        servers = stack.enter_context(Servers(cells))
        brokers = servers.versions
        for number, cell in schedule.rounds(cells, rounds):
            result = Result(cell, number, size.name)
            result.skipped = schedule.hopeless(cell, played, size.deadline)
            load = machine.load()
            if not result.skipped:
                result = _play(servers, guard, cell, number, size)
            packages = PEERS[cell.peer].packages
            result.of = machine.circumstances(packages, brokers) | {"load": load}
            result.write(folder)
            played.append(result)
            failed += bool(result.problem)
            print(line(result), flush=True)
    return 1 if failed else 0


def _play(servers: Servers, guard: Guard, cell: Cell, number: int, size: Size) -> Result:
    """One play, in a process group of its own, of which nothing is left."""
    result = Result(cell, number, size.name)
    folder = Path(tempfile.mkdtemp(prefix="taskline-bench-"))
    try:
        ground = servers.ground(cell, folder)
        file = folder / "play.json"
        told = {
            "cell": dataclasses.asdict(cell),
            "round": number,
            "size": size.name,
            "ground": dataclasses.asdict(ground),
        }
        file.write_text(json.dumps(told))
        began = time.monotonic()
        found = _run(file, guard, ground, size.deadline + _GRACE)
        said = json.loads(file.read_text())
        if "figures" in said:
            result.figures, result.problem = said["figures"], said["problem"]
            result.figures["play_seconds"] = time.monotonic() - began
        else:
            result.problem = found
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _run(file: Path, guard: Guard, ground: Ground, timeout: float) -> str:
    """Run the play in that file; how it ended, for when it has not written what came of it."""
    log = file.with_name("play.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.play", str(file)],
            cwd=ground.folder,
            env={**os.environ, **ground.to_environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    guard.kill_at_our_end(process.pid)
    try:
        process.wait(timeout)
        found = f"its process ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        found = f"it did not end within {timeout:g} s"
    finally:
        # It leads its group: workers that are still there go with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_GRACE)
        guard.leave(process.pid)
    said = log.read_text(errors="replace").strip()[-_SHOWN:]
    return f"{found}: {said}" if said else found


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
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "build" / "benchmarks",
        metavar="DIR",
        help="where plays leave their files (build/benchmarks)",
    )
    parser.add_argument("--report", action="store_true", help="write the page from the results")
    return parser


if __name__ == "__main__":
    assert set(MEASURES) >= {cell.measure for cell in programme.cells()}
    sys.exit(main())
