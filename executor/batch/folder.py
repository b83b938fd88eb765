"""A folder among the temporary files that belongs to this process, and goes with it.

A process that is killed cannot take its folder away: who makes the next one does, wherever nobody
holds the lock in it any more. Any thread; a forked child has no part in it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from bus.news import files
from bus.news.lock import Lock, holder
from protocol.errors import JournalError, JournalLocked

_PREFIX: Final = "taskline-batch-"
#: Until it is locked it has another name, or it would be taken for one that was left.
_NEW: Final = "taskline-new-"
_OWNER: Final = "owner"


class OwnFolder:
    """From its making until :meth:`remove`."""

    def __init__(self) -> None:
        """Raises ``JournalError`` or ``OSError`` if there can be no such folder."""
        _remove_what_was_left()
        new = Path(tempfile.mkdtemp(prefix=_NEW))
        try:
            self._lock = Lock(new / _OWNER, _OWNER)
            self.path = new.with_name(_PREFIX + new.name.removeprefix(_NEW))
            new.rename(self.path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def remove(self) -> None:
        """With all that is in it. Twice is fine."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def _remove_what_was_left() -> None:
    """The folders of our user whose processes have ended."""
    for path in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        try:
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            if not files.lock(path / _OWNER).exists() or holder(path / _OWNER) is not None:
                continue
            lock = Lock(path / _OWNER, _OWNER)
        except (JournalError, JournalLocked, OSError):
            continue  # it is somebody's, or goes at this moment
        shutil.rmtree(path, ignore_errors=True)
        lock.release()
