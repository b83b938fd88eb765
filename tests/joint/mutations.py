"""Each rule taken out, alone: the joint suite must notice.

``python -m tests.joint.mutations [NAME…]`` copies the packages, takes one rule out of the copy, and
runs the traces and the walks against it, for each rule in turn; the table says which promise broke
and how soon. A rule whose absence nobody notices is a failure, but for those that are named
harmless, with the reason. A mutation is a piece of text that stands exactly once in its file and is
replaced by another: ``tests/joint/test_mutations.py`` sees to it that the list does not rot.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.joint.rules import MUTATIONS, Mutation

ROOT: Final = Path(__file__).resolve().parents[2]
#: What is copied: the packages, and as much of the tests as walks need.
_COPIED: Final = ("protocol", "bus", "executor", "worker", "tests/joint")
#: Seconds of the processor, spent on walks, before a rule counts as not missed.
PATIENCE: Final = 180.0
_TRACES: Final = "tests/joint/test_traces.py"
_PYTEST: Final = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-c", os.devnull)


@dataclass(frozen=True, slots=True)
class Caught:
    """What came of one mutation."""

    name: str
    #: The promise that broke in a walk; None if none did.
    promise: str | None
    walks: int
    #: Of the processor, for walking; the traces are apart.
    seconds: float
    #: How many traces failed.
    traces: int
    found: str = ""

    @property
    def is_caught(self) -> bool:
        """Whether anybody noticed."""
        return self.promise is not None or self.traces > 0


def copied(mutation: Mutation | None, to: Path) -> None:
    """The packages without that rule."""
    for folder in _COPIED:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, to / folder, ignore=ignore, dirs_exist_ok=True)
    (to / "tests" / "__init__.py").touch()
    if mutation is None:
        return
    for file, old, new in mutation.changes:
        path = to / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{mutation.name}: {file} has its text {text.count(old)} times")
        path.write_text(text.replace(old, new), encoding="utf-8")


def run(
    mutation: Mutation | None,
    patience: float = PATIENCE,
    seed: int = 1,
    *,
    with_traces: bool = True,
) -> Caught:
    """Take it out, and look what happens. Without a mutation: nothing should."""
    with tempfile.TemporaryDirectory(prefix="taskline-mutation-") as folder:
        copied(mutation, Path(folder))
        traces = 0
        if with_traces:
            told = _python(folder, "-m", "pytest", *_PYTEST, "--rootdir", folder, _TRACES)
            traces = sum(line.startswith("FAILED") for line in told.splitlines())
        hunt = ("--hunt", str(patience), "--seed", str(seed))
        said = json.loads(_python(folder, "-m", "tests.joint", *hunt))
    return Caught(
        "nothing" if mutation is None else mutation.name,
        said["promise"],
        said["walks"],
        said.get("seconds", patience),
        traces,
        said.get("found", ""),
    )


def _python(folder: str, *arguments: str) -> str:
    """What it prints, on the copy; it says by its exit status whether something is broken."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def main() -> int:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.joint.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds for each rule")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    unknown = set(options.names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        parser.error(f"no such rule: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    wrong = 0
    print(f"{'without':34} {'broken':7} {'walks':>8} {'seconds':>8} {'traces':>7}")
    for mutation in MUTATIONS:
        if options.names and mutation.name not in options.names:
            continue
        caught = run(mutation, options.patience, options.seed)
        note = ""
        if not caught.is_caught and mutation.harmless is None:
            wrong += 1
            note = "NOT MISSED"
        elif mutation.harmless is not None:
            wrong += caught.is_caught
            note = "HARMFUL" if caught.is_caught else f"harmless: {mutation.harmless}"
        print(
            f"{mutation.name:34} {caught.promise or '-':7} {caught.walks:8d} "
            f"{caught.seconds:8.1f} {caught.traces:7d}  {note or caught.found[:100]}",
            flush=True,
        )
    print(f"{wrong} not as they should be, in {time.monotonic() - began:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
