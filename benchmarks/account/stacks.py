"""What py-spy saw, read: how often each room of each side was at work. Pure."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import Final

from benchmarks.ground import ROOT

#: The sides of a task, in the order in which it meets them.
SIDES: Final = ("submitter", "worker", "hosts")

#: A record begins with the processes, the outermost first; their commands may have several lines.
_PROCESS: Final = re.compile(r'process \d+:"(.*?)";', re.DOTALL)
_RECORD: Final = re.compile(r"^(?=process \d+:)", re.MULTILINE)
#: ``function (file:line)``, the innermost last.
_FRAME: Final = re.compile(r"^(?P<name>.*) \((?P<file>.*?)(:\d+)?\)$")
#: What was compiled while it ran has no file: what dataclasses make, and the schemas.
_COMPILED: Final = "<string>"
_OF_DATACLASSES: Final = ("__create_fn__", "__init__", "__eq__", "__hash__")
_PACKAGES: Final = ("site-packages", "dist-packages")


def read(raw: str) -> Counter[tuple[str, str]]:
    """``{(side, room): looks}`` of py-spy's ``raw`` format, with processes and full file names.

    A look belongs to the innermost line of Python, and what that calls in C is its own. Looks at
    somebody who imports are left out: he is not at work yet.
    """
    seen: Counter[tuple[str, str]] = Counter()
    for record in _RECORD.split(raw):
        stack, _, looks = record.rstrip().rpartition(" ")
        if not stack or not looks.isdigit():
            continue
        at, commands = 0, []
        while (process := _PROCESS.match(stack, at)) is not None:
            commands.append(process[1])
            at = process.end()
        frames = [found for frame in stack[at:].split(";") if (found := _FRAME.match(frame))]
        if commands and frames and not any("importlib" in frame["file"] for frame in frames):
            seen[_side(commands[-1]), _room(**frames[-1].groupdict())] += int(looks)
    return seen


def _side(command: str) -> str:
    if "benchmarks.play" in command:
        return SIDES[0]
    return SIDES[1] if " -m worker" in command else SIDES[2]


def _room(name: str, file: str) -> str:
    """``executor.ledger``, ``kombu``, ``Python's json``; and what the caller and the task do."""
    if file == _COMPILED:
        is_ready_made = name.startswith(_OF_DATACLASSES)
        return "Python's dataclasses" if is_ready_made else "protocol.schemas, compiled"
    path = PurePosixPath(file)
    if path.is_relative_to(ROOT):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        return "the caller, the task" if parts[0] == "benchmarks" else ".".join(parts[:3])
    for folder in _PACKAGES:
        if folder in path.parts:
            return PurePosixPath(path.parts[path.parts.index(folder) + 1]).stem
    if path.stem == "__init__":
        path = path.parent
    return f"Python's {path.stem}"
