"""Processes in which Toil runs, with its own bus or with ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import PROJECT

INSTEAD = Path(__file__).parent / "instead"
FLOW = Path(__file__).with_name("flow.py")


def environment(*first: str | Path) -> dict[str, str]:
    """Where Toil's own programs are found, and our packages; these folders before all others."""
    # Toil starts `_toil_worker` by its name.
    found = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    folders = [*map(str, first), *sys.path]
    return {
        "PATH": found,
        "PYTHONPATH": os.pathsep.join(each for each in folders if each),
        "TOIL_HISTORY": "0",
    }


def run(
    *command: str | Path, ours: bool, deadline: float = 100
) -> subprocess.CompletedProcess[str]:
    """A command of this Python, to its end."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        check=False,
        text=True,
        timeout=deadline,
        cwd=PROJECT,
        env={**os.environ, **environment(*([INSTEAD] if ours else []))},
    )
