"""The last space on the disk belongs to those who empty the queues: the file ``reserve``.

Claiming and acknowledging write too, so a disk filled by publishers would stop the consumers for
ever. Publishers therefore work only while the reserve stands (``restore``); whoever empties queues
and meets a full disk gives it up (``release``) and tries once more. Called inside the turn.
"""

from __future__ import annotations

import errno
import os

__all__ = ["RESERVE_BYTES", "Reserve"]

#: Room for the write-ahead log up to its checkpoint (1000 pages of 4 KiB) and for what that adds.
RESERVE_BYTES = 8 * 1024 * 1024
_CHUNK = bytes(1024 * 1024)


class Reserve:
    """The reserve of one folder."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "reserve")

    def stands(self) -> bool:
        """Whether it is there in full."""
        try:
            return os.stat(self._path).st_size >= RESERVE_BYTES
        except FileNotFoundError:
            return False

    def restore(self) -> None:
        """Write it if it is missing or short. Raises OSError (ENOSPC), and then leaves nothing."""
        if self.stands():
            return
        temporary = f"{self._path}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _fill(descriptor)
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give the space back to the disk."""
        try:
            os.truncate(self._path, 0)
        except FileNotFoundError:
            pass


def _fill(descriptor: int) -> None:
    """Take real blocks: reserved by the file system where it can, written where it cannot."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        else:
            return
    written = 0
    while written < RESERVE_BYTES:
        written += os.write(descriptor, _CHUNK)
