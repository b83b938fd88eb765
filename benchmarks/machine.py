"""What was measured, where and when, in words."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.ground import ROOT

_CPU_INFO: Final = Path("/proc/cpuinfo")
_GIT_TIMEOUT: Final = 30.0  # seconds


def circumstances(packages: Iterable[str], brokers: dict[str, str]) -> dict[str, str]:
    """``commit`` (with a ``+`` if there were changes), ``date``, ``machine`` and versions."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": (
            f"{_processor()}, {len(os.sched_getaffinity(0))} cores, "
            f"{memory_bytes / 2**30:.0f} GiB, {platform.system()} {platform.release()}"
        ),
        "Python": platform.python_version(),
        **{name: _version(name) for name in sorted(set(packages))},
        **brokers,
    }


def load() -> str:
    """Processes that ran or wanted to, on average over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def commit() -> str:
    """What is checked out, short."""
    changed = _said("git", "status", "--porcelain", "--untracked-files=no")
    return _said("git", "rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _said(*command: str) -> str:
    said = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=_GIT_TIMEOUT, check=False
    )
    return said.stdout.strip()


def _processor() -> str:
    for line in _CPU_INFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
