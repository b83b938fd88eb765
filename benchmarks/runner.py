"""Sittings, one after the other, each in a process of its own of which nothing is left.

One that hangs, or whose process dies, becomes a result that says so; the rest of its cells get a
process of their own.
"""

from __future__ import annotations

import compileall
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, schedule
from benchmarks.cells import Sitting
from benchmarks.ground import Ground
from benchmarks.peers import PEERS
from benchmarks.result import Result
from benchmarks.servers import Servers
from benchmarks.sizes import Size
from bus.wire.testing.processes.guard import Guard

_GRACE: Final = 15.0  # seconds beyond its deadline for a play to end
_SHOWN: Final = 1500  # characters of what a failed play said
#: What a developer's environment may say and a default installation's does not: options of ours,
#: and that Python is to compile each module anew in each process.
_NOT_A_USERS: Final = re.compile(r"TASKLINE_|PYTHONDONTWRITEBYTECODE$")
_ROOT: Final = Path(__file__).resolve().parents[1]
#: As pip leaves what it installs, and so the peers.
_COMPILED: Final = ("protocol", "bus", "executor", "worker", "benchmarks")


def run(
    sittings: Sequence[Sitting], size: Size, rounds: int, within: Sequence[str] = ()
) -> Generator[Result, None, None]:
    """The results of each sitting when it has ended; brokers live as long as this is asked.

    ``within``: a command that is given each play's own to run, and ends with it.
    """
    played: list[Result] = []
    for package in _COMPILED:
        compileall.compile_dir(_ROOT / package, quiet=2)
    guard = Guard()
    with contextlib.ExitStack() as stack:
        stack.callback(guard.stop)
        cells = [cell for sitting in sittings for cell in sitting.cells]
        servers = stack.enter_context(Servers(cells))
        brokers = servers.versions
        for number, sitting in schedule.rounds(sittings, rounds):
            load = machine.load()
            results = [Result(cell, number, size.name) for cell in sitting.cells]
            for result in results:
                result.skipped = schedule.hopeless(result.cell, played, size.fill)
            todo: Sequence[Result] = [result for result in results if not result.skipped]
            while todo:
                todo = _play(servers, guard, todo, size, within)
            packages = PEERS[sitting.of.peer].packages
            of = machine.circumstances(packages, brokers) | {"load": load}
            for result in results:
                result.of = of
                played.append(result)
                yield result


def _play(
    servers: Servers, guard: Guard, results: Sequence[Result], size: Size, within: Sequence[str]
) -> Sequence[Result]:
    """Play these in one process, and note in each what came of it, up to the first that fails.

    Returns those after it.
    """
    folder = Path(tempfile.mkdtemp(prefix="taskline-bench-"))
    try:
        cells = [result.cell for result in results]
        ground = servers.ground(cells, folder)
        file = folder / "play.json"
        told = {
            "cells": [dataclasses.asdict(cell) for cell in cells],
            "round": results[0].round,
            "size": size.name,
            "ground": dataclasses.asdict(ground),
        }
        file.write_text(json.dumps(told))
        found = _run(file, guard, ground, size.deadline * len(cells) + _GRACE, within)
        said = json.loads(file.read_text()).get("results", [])
        for result, came in zip(results, said, strict=False):
            result.figures = came["figures"]
            result.problem, result.skipped = came["problem"], came["skipped"]
        done = len(said)
        if done < len(results) and (not done or results[done - 1].is_good):
            results[done].problem = found
            done += 1
        return results[done:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def users(environment: Mapping[str, str]) -> dict[str, str]:
    """What a user's would be."""
    return {name: value for name, value in environment.items() if not _NOT_A_USERS.match(name)}


def _run(file: Path, guard: Guard, ground: Ground, timeout: float, within: Sequence[str]) -> str:
    """Run the play in that file; how it ended, for when it has not written what came of it."""
    log = file.with_name("play.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*within, sys.executable, "-m", "benchmarks.play", str(file)],
            cwd=ground.folder,
            env={**users(os.environ), **ground.to_environment()},
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
