"""Who is whose child, and who is alive.

Read from ``/proc`` where there is one, else asked of ``ps``. A snapshot: processes come and go
while it is taken, so nobody here is surprised that one has gone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PS_TIMEOUT: Final = 10.0  # seconds


def descendants(pid: int) -> list[int]:
    """The children of a process, their children and so on, parents first."""
    children: dict[int, list[int]] = {}
    for child, (parent, _, _) in _table().items():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = sorted(children.get(waiting.pop(0), ()))
        found += below
        waiting += below
    return found


def members(group: int) -> list[int]:
    """The processes of a process group that run or are frozen."""
    return [pid for pid, (_, of, state) in _table().items() if of == group and state not in "ZX"]


def is_alive(pid: int) -> bool:
    """Whether a process runs, or is frozen; one that has ended and is not collected does not."""
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid: int) -> str:
    """The letter that ``ps`` shows: R, S, D, T (frozen), Z (ended) …; empty if there is none."""
    if not _PROC.joinpath("self", "stat").exists():
        return _table().get(pid, (0, 0, ""))[2]
    fields = _stat(_PROC / str(pid) / "stat")
    return fields[0] if fields else ""


def _table() -> dict[int, tuple[int, int, str]]:
    """``{process: (its parent, its group, its state)}``."""
    if not _PROC.joinpath("self", "stat").exists():
        return _asked_of_ps()
    table = {}
    for entry in _PROC.iterdir():
        fields = _stat(entry / "stat") if entry.name.isdecimal() else []
        if fields:
            table[int(entry.name)] = (int(fields[1]), int(fields[2]), fields[0])
    return table


def _stat(file: Path) -> list[str]:
    """What follows the name, which may hold spaces and brackets: state, parent, group (proc(5))."""
    try:
        return file.read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _asked_of_ps() -> dict[int, tuple[int, int, str]]:
    said = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,state="],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=_PS_TIMEOUT,
    )
    rows = [line.split() for line in said.stdout.splitlines()]
    return {int(row[0]): (int(row[1]), int(row[2]), row[3][0]) for row in rows if len(row) == 4}
