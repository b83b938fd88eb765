"""What the machine has that this worker may give away, and how much of it is in use.

Decided here: where that is read. Cores are those this process may run on, memory that of the
machine, both no more than a container allows (cgroups, either version); disk is what is free where
temporary files go, when the worker starts. Accelerators are what it is told: nothing says reliably
what a kind is. Whatever is said on the command line goes before what is found. Not decided here:
what is given to whom (``slots``).

Reads files and asks the system; never waits. Any thread.
"""

from __future__ import annotations

import math
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

import psutil

from protocol.resources import Accelerators, NodeReport, Resources
from protocol.topology import check_name

_CGROUPS: Final = Path("/sys/fs/cgroup")
_LONGEST_NAME: Final = 64


def survey(
    *,
    node: str | None = None,
    cores: float | None = None,
    memory: int | str | None = None,
    disk: int | str | None = None,
    accelerators: Accelerators = (),
    preemptible: bool = False,
    share: int = 1,
) -> NodeReport:
    """What may be taken of this machine; what is not given is found out, and is one part of
    ``share``.

    Raises ``ConfigurationError`` for what is no amount, or no name.
    """
    have = Resources(
        max(0.001, usable_cores() / share) if cores is None else cores,
        _memory() // share if memory is None else memory,
        psutil.disk_usage(tempfile.gettempdir()).free // share if disk is None else disk,
        accelerators,
    )
    name = _host() if node is None else check_name("node name", node)
    return NodeReport(name, have, preemptible=preemptible)


class Gauge:
    """How much of the machine is in use. One thread."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # from here on the first look counts

    def look(self) -> tuple[float, float]:
        """The parts of all cores, since the last look, and of memory that are in use, 0 to 1."""
        memory = psutil.virtual_memory()
        return psutil.cpu_percent() / 100, 1 - memory.available / memory.total


def _host() -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in _hostname())
    return name[:_LONGEST_NAME] or "localhost"


def _hostname() -> str:
    return socket.gethostname()


def usable_cores() -> float:
    """How many cores there are for this process, by its affinity and its container."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        count = os.cpu_count() or 1
    return min(float(count), allowed_cores())


def _memory() -> int:
    return int(min(psutil.virtual_memory().total, allowed_memory()))


def allowed_cores(cgroups: Path = _CGROUPS) -> float:
    """How many cores the container has; infinite if it may use all."""
    first = cgroups / "cpu"
    words = _words(cgroups / "cpu.max") or [
        *_words(first / "cpu.cfs_quota_us"),
        *_words(first / "cpu.cfs_period_us"),
    ]
    try:
        quota, period = map(int, words)
        return quota / period if quota > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max", or neither is there
        return math.inf


def allowed_memory(cgroups: Path = _CGROUPS) -> float:
    """How many bytes of memory the container may take; infinite if all."""
    for path in (cgroups / "memory.max", cgroups / "memory" / "memory.limit_in_bytes"):
        words = _words(path)
        if words and words[0].isdigit():
            return int(words[0])
    return math.inf


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").split()
    except (OSError, ValueError):
        return []
