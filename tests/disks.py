"""Disks of a test's own: small enough to be filled, seen by the programs that are started on them.

They are in a namespace of mounts of the program's own, which needs ``unshare`` and a kernel that
lets any user have one; elsewhere the test is skipped.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_EXEC: Final = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


def on_a_small_disk(folder: Path, size: str = "64m") -> list[str]:
    """The words between ``python`` and those of a program, for it to have such a disk there.

    Its temporary files are on it, too, and so are those of all that it starts.
    """
    if sentence := _missing():
        pytest.skip(sentence)
    script = f'mount -t tmpfs -o size={size} none "$TMPDIR" && exec "$@"'
    place = f"TMPDIR={folder}"
    return ["-c", _EXEC, "env", place, *_UNSHARE, "sh", "-c", script, "sh", sys.executable]


@functools.cache
def _missing() -> str | None:
    try:
        done = subprocess.run(
            [*_UNSHARE, "mount", "-t", "tmpfs", "none", os.devnull.rpartition("/")[0]],
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        return f"no small disk can be made: {error}"
    return f"no small disk can be made: {done.stderr.strip()}" if done.returncode else None
