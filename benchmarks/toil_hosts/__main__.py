"""How long Toil's workflows take on our batch system: ``python -m benchmarks.toil_hosts``.

Stands alone: it needs this checkout and Toil (the extra ``toil``). No server; some minutes.

Two workflows, of many short jobs and of a few long ones, each run by a whole leader from its start
to its end, with ``--batchSystem single_machine`` and with ``taskline`` in turn, and the order
turned in each round. Both clocks are shown: what a leader waits for itself, two to three seconds at
its end whatever runs its jobs, is in the one by the wall; the processor's is of the leader and
everything below it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SYSTEMS: Final = ("single_machine", "taskline")
#: What is aimed at: as many times faster, with short jobs and with long ones.
TARGETS: Final = {"short": 4.0, "long": 1.0}

_FLOW: Final = Path(__file__).with_name("flow.py")
_DEADLINE: Final = 600.0  # seconds for one workflow


@dataclass(frozen=True, slots=True)
class Run:
    """One workflow, from the start of its leader to its end."""

    wall: float  # seconds
    cpu: float


def run(system: str, jobs: int, seconds: float, environment: Mapping[str, str]) -> Run:
    """Run one. Raises ``CalledProcessError`` and ``TimeoutExpired`` for one that is not well."""
    with tempfile.TemporaryDirectory(prefix="taskline-toil-") as folder:
        flow = shutil.copy(_FLOW, folder)
        words = [sys.executable, flow, f"{folder}/store", system, str(jobs), str(seconds)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(words, check=True, timeout=_DEADLINE, env=environment, cwd=folder)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(after[:2]) - sum(before[:2])
    return Run(round(wall, 2), round(cpu, 2))


def measure(jobs: int, seconds: float, rounds: int) -> dict[str, list[Run]]:
    """This workflow on each system, so often."""
    found: dict[str, list[Run]] = {system: [] for system in SYSTEMS}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ours = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ours, "TOIL_HISTORY": "0"}
    for number in range(rounds):
        for system in SYSTEMS if number % 2 == 0 else reversed(SYSTEMS):
            found[system].append(run(system, jobs, seconds, environment))
    return found


def times(found: Mapping[str, list[Run]], clock: str) -> float:
    """How many times faster ours is, by the medians of a clock."""
    theirs, ours = (
        statistics.median(getattr(each, clock) for each in found[system]) for system in SYSTEMS
    )
    return float(theirs / ours)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.toil_hosts", description=__doc__)
    parser.add_argument("--jobs", type=int, default=60, help="short ones; default: %(default)s")
    parser.add_argument("--long-jobs", type=int, default=4, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="that a long one takes; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args()
    if find_spec("toil") is None:
        parser.error("Toil is not installed: pip install 'taskline[toil]'")
    found = {"short": measure(options.jobs, 0.0, options.rounds)}
    if options.long_jobs:
        found["long"] = measure(options.long_jobs, options.seconds, options.rounds)
    if options.json:
        print(json.dumps({what: _as_json(runs) for what, runs in found.items()}))
        return 0
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; seconds, all rounds")
    sizes = {
        "short": f"{options.jobs} short jobs",
        "long": f"{options.long_jobs} jobs of {options.seconds:g} s",
    }
    for what, runs in found.items():
        print(f"\n{sizes[what]}")
        for system in SYSTEMS:
            walls = " ".join(f"{each.wall:7.2f}" for each in runs[system])
            cpus = " ".join(f"{each.cpu:7.2f}" for each in runs[system])
            print(f"  {system:<16} by the wall {walls}   of the processor {cpus}")
        print(
            f"  times faster, by the medians: {times(runs, 'wall'):.2f} by the wall, "
            f"{times(runs, 'cpu'):.2f} of the processor; aimed at: {TARGETS[what]:g}"
        )
    return 0


def _as_json(runs: Mapping[str, list[Run]]) -> dict[str, object]:
    return {
        **{system: [asdict(each) for each in runs[system]] for system in SYSTEMS},
        "times_by_wall": round(times(runs, "wall"), 3),
        "times_by_cpu": round(times(runs, "cpu"), 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
