"""The processes below one, and how they are ended.

A process is asked for its children, and they for theirs: what that costs does not grow with what
else runs on the machine. What has ended meanwhile is not there. (The warden, which loads nothing of
ours, has the same for itself.) Any thread.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int) -> Iterator[int]:
    """All below this process, but not itself."""
    todo = [pid]
    while todo:
        children = children_of(todo.pop())
        yield from children
        todo += children


def children_of(pid: int) -> list[int]:
    """Those that have ended, and nobody has collected, too."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        texts = [(task / "children").read_text("ascii") for task in tasks]
        return [int(word) for text in texts for word in text.split()]
    except OSError:
        pass  # it has ended; or a kernel without this
    import psutil  # noqa: PLC0415 - a host would pay for it, which hardly ever needs it

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def kill_with_group(child: int) -> None:
    """Kill one of our own children, with the group it leads, if it does.

    As a group they have no moment left to fork in. Its number is nobody else's until we have
    collected it. One that has become another user's stays.
    """
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
