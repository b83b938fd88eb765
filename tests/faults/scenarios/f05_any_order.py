"""F5: answers doubled, late, lost, reordered and replayed, in every order that can be generated."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.faults.scenario import Play, Scenario
from tests.processes import PROJECT

_COUNTED = re.compile(r"(\d+) (walks|steps|messages|requests|runs)\b")


def play(play: Play) -> None:
    """Executor and worker without broker, clock or thread, joined by the worst of channels."""
    walks, seed = play.number("walks"), play.seed
    said = subprocess.run(
        [sys.executable, "-m", "tests.joint", "--walks", str(walks), "--seed", str(seed)],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=play.size["deadline"] - 10,
    )
    (play.folder / "walks.log").write_text(said.stdout + said.stderr)
    counted = {what: int(number) for number, what in _COUNTED.findall(said.stdout)}  # the last ones
    play.result.tasks = counted.get("requests", 0)
    play.note(**counted)
    play.expect(said.returncode == 0, f"a promise was broken: {said.stdout[-4000:]}{said.stderr}")
    play.result.lost = said.returncode


SCENARIO = Scenario(
    "F5",
    "any order",
    "No broker: executor and worker as pure rooms, joined by a channel that loses, doubles, delays "
    "and reorders, while processes die and freeze. Each walk is one generated "
    "interleaving of dozens of steps, checked against all promises after each.",
    play,
    ("memory",),
    quick={"walks": 1_000, "deadline": 300},
    full={"walks": 10_000, "deadline": 3600},
)
