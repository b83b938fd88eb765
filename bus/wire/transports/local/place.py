"""Where a broker may live: the folder, whose it is, who may read it, and not on a network.

Called once per connection, by the thread that opens it. The folder is made with mode 0700 and
every file in it with 0600, because whoever can write there can make workers run requests. A
network file system is refused where it can be seen (Linux, by the mount table): SQLite's
write-ahead log needs memory shared by all participants, and locks that a remote server may fake.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from protocol.errors import ConfigurationError

__all__ = ["file_system", "prepare"]

DATABASE = "broker.db"
_MOUNTS = "/proc/self/mountinfo"  # Linux only; see proc(5)
_NETWORKED = frozenset(
    [
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    ]
)


def prepare(path: str) -> str:
    """Make the folder if it is missing, check it, and return its real path.

    Raises ConfigurationError for a place that will not do, OSError where it cannot be made.
    """
    if not os.path.isabs(path):
        raise ConfigurationError(
            f"the local broker's folder must be an absolute path, not {path!r}: "
            "two processes with different working folders would not meet"
        )
    os.makedirs(os.path.dirname(path.rstrip("/")) or "/", exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        _inspect(path)
    real = os.path.realpath(path)
    _refuse_network(real)
    return real


def _inspect(path: str) -> None:
    """An existing folder: ours and private, or made so if nothing else lives there."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"the local broker needs a folder, and {path} is a file")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the local broker's folder {path} belongs to user {found.st_uid}, and this process "
            f"is user {os.geteuid()}: a broker serves one user, name a folder of your own"
        )
    if not found.st_mode & 0o077:
        return
    if not os.listdir(path) or os.path.exists(os.path.join(path, DATABASE)):
        os.chmod(path, 0o700)
    elif found.st_mode & 0o022:
        raise ConfigurationError(
            f"the local broker's folder {path} holds other things and others may write there "
            f"(mode {stat.S_IMODE(found.st_mode):04o}): name a folder of its own"
        )


def _refuse_network(real: str) -> None:
    try:
        mounts = Path(_MOUNTS).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # not Linux: cannot be seen
    kind = file_system(real, mounts)
    if kind in _NETWORKED:
        raise ConfigurationError(
            f"the local broker cannot live in {real}, which is on a network file system ({kind}): "
            "it serves one machine; name a local folder, or use redis:// or amqp:// instead"
        )


def file_system(real: str, mounts: str) -> str:
    """The type of the file system a real path is on, from the text of ``mountinfo``.

    The longest mount point that is a prefix wins, and of several at one point the last (it hides
    the others). Empty where none fits.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
        inside = point == "/" or real == point or real.startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ", 1)[0]
    return kind
