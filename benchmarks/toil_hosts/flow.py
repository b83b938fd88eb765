"""A workflow: jobs that sleep, and one that asks for them: ``flow.py STORE SYSTEM JOBS SECONDS``.

Copied to where it runs: Toil runs no script that is in a package.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from toil.common import Toil
from toil.job import Job

NEEDS: dict[str, Any] = {"cores": 1, "memory": "50M", "disk": "10M"}


def leaf(_job: Any, number: int, seconds: float) -> int:
    """Sleep, and say who it is."""
    if seconds:
        time.sleep(seconds)
    return number


def root(job: Any, jobs: int, seconds: float) -> list[Any]:
    """Have them run."""
    return [job.addChildJobFn(leaf, number, seconds, **NEEDS).rv() for number in range(jobs)]


def main(store: str, system: str, jobs: int, seconds: float) -> None:
    """Run it, and see whether all came back."""
    options = Job.Runner.getDefaultOptions(store)
    options.batchSystem = system
    options.clean = "always"
    options.logLevel = "ERROR"
    with Toil(options) as toil:
        found = toil.start(Job.wrapJobFn(root, jobs, seconds, **NEEDS))
    if found != list(range(jobs)):
        raise SystemExit(f"the workflow came to {found}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
