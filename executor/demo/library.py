"""Which files the demo surveys: the standard library's own, and one that is broken on purpose.

Left out are packages installed beside it, and its tests, some of which are broken on purpose too.
Reads the file system of the machine it runs on; the caller's thread.
"""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: Folders that are not gone into, by name.
LEFT_OUT: Final = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
)

#: Python's own parser finds this fault, in the worker that reads it.
BROKEN_SOURCE: Final = '''\
"""Broken on purpose: the demo shows how an exception comes back from a worker."""


def greet(name:
    return f"Hello, {name}"
'''


def source_files(root: str | None = None) -> list[str]:
    """The ``.py`` files below ``root`` (the standard library's folder), sorted; full paths."""
    found: list[str] = []
    for folder, subfolders, names in os.walk(root or library_folder()):
        subfolders[:] = [name for name in subfolders if name not in LEFT_OUT]
        found += [str(Path(folder, name)) for name in names if name.endswith(".py")]
    return sorted(found)


def library_folder() -> str:
    """Where this Python's standard library is; that of the real one, in a virtual environment."""
    return sysconfig.get_path("stdlib")


@contextmanager
def broken_file() -> Iterator[str]:
    """The path of a file with a syntax error, in a temporary folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="taskline-demo-") as folder:
        path = Path(folder, "broken.py")
        path.write_text(BROKEN_SOURCE, encoding="utf-8")
        yield str(path)
