"""Tasks that leave a file for each time they run, so that a test can count executions.

A file is called ``<number>.<worker>.<something unique>``; a worker is named by its main process,
which is two above the one that runs a task: between them is the one that watches over it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

#: Longer than any test waits: what stands this long is to be ended.
FOR_EVER = 600.0


def run(folder: str, number: int, until: str | None = None) -> int:
    """Leave a file, wait for another one if that is asked, and return the number."""
    (Path(folder) / f"{number}.{worker_process()}.{uuid.uuid4().hex}").touch()
    ends = time.monotonic() + FOR_EVER
    while until is not None and not Path(until).exists() and time.monotonic() < ends:
        time.sleep(0.005)
    return number


def family(file: str) -> None:
    """Write down three processes, the worker's, this one and a child's, and stay."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOR_EVER})"])
    draft = Path(f"{file}.draft")
    draft.write_text(f"{worker_process()} {os.getpid()} {child.pid}")
    draft.rename(file)
    time.sleep(FOR_EVER)


def worker_process() -> int:
    """Return the process id of the worker's main process; in threads, of this one's parent."""
    parent = os.getppid()
    about = Path(f"/proc/{parent}")
    if b"warden.py" not in (about / "cmdline").read_bytes():
        return parent
    return int((about / "stat").read_text().rpartition(")")[2].split()[1])
