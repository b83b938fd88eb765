"""What can go wrong in a folder, as the two kinds of error kombu knows.

Like ``local.faults``: a connection error says that a fresh connection may help, a channel error
that it would not.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kombu.exceptions import ChannelError, ConnectionError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Gone(ConnectionError):
    """The connection is closed, or its folder is of no use."""


class DiskFull(ChannelError):
    """No room for the message; nothing of it was stored."""


class TooLarge(ChannelError):
    """A message that nobody would take (AMQP 406)."""

    code = 406


@contextmanager
def translated(doing: str, path: Path) -> Iterator[None]:
    """Raise ours instead of the system's errors."""
    try:
        yield
    except OSError as error:
        said = f"{doing} in {path}: {error.strerror or error}"
        if error.errno in _FULL:
            raise DiskFull(f"{said}; nothing was stored: free space on that disk") from error
        raise Gone(f"{said}; it must be a folder in which this user may write") from error
