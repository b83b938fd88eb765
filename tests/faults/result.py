"""What came of one play: a value, kept as a file of JSON."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import PROJECT


@dataclass(slots=True)
class Result:
    """One scenario, on one broker, with one seed."""

    #: F1 to F16, and which kind of it.
    scenario: str
    variant: str
    broker: str
    seed: int
    #: ``quick`` or ``full``.
    size: str
    #: Requests submitted.
    tasks: int = 0
    #: Requests that never ended, or ended otherwise than they should have.
    lost: int = 0
    #: Requests for which more than one end was told, or a wrong one.
    doubled: int = 0
    #: Executions beyond the first of each request, and how many there may be, if that is said.
    again: int = 0
    again_allowed: int | None = None
    #: Seconds until work went on after a fault, the longest of them.
    recover: float | None = None
    #: Seconds it all took.
    seconds: float = 0.0
    #: What was not as it should have been, in sentences; none: it passed.
    problems: list[str] = field(default_factory=list)
    #: Why it was not played here; then the rest means nothing.
    skipped: str = ""
    #: Whatever else was counted.
    notes: dict[str, Any] = field(default_factory=dict)
    #: Of what: commit, date (UTC), versions.
    of: dict[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """The file it is kept in: one for each play, the newest wins."""
        variant = re.sub(r"[^A-Za-z0-9]+", "-", self.variant)
        parts = (self.scenario, variant, self.broker, str(self.seed), self.size)
        return ".".join(part for part in parts if part) + ".json"

    def write(self, folder: Path) -> None:
        """Keep it."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)
        (folder / self.file_name).write_text(text + "\n")


def read_all(folder: Path) -> list[Result]:
    """All that are kept there."""
    return [Result(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


def circumstances() -> dict[str, str]:
    """What is tested, when, with what."""
    versions = {name: importlib.metadata.version(name) for name in ("kombu", "amqp", "redis")}
    return {
        "commit": _said("git", "rev-parse", "--short", "HEAD")
        + ("+" if _said("git", "status", "--porcelain", "--untracked-files=no") else ""),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        **versions,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _said(*command: str) -> str:
    said = subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8", check=False)
    return said.stdout.strip()
