"""What can go wrong with the local broker, as the two kinds of error kombu knows.

A *connection* error says: this connection is of no use, a fresh one may be. A *channel* error says:
what was asked cannot be done, and a fresh connection would not change it; a full disk is one, so
that nobody reconnects for ever because of it. ``translation`` is the one place where errors of
SQLite and of the operating system become ours; nothing else of theirs leaves this package.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import ChannelError, ConnectionError

__all__ = [
    "BrokerDamaged",
    "BrokerGone",
    "DeclaredDifferently",
    "DiskFull",
    "ForkedConnection",
    "NotFound",
    "TagInUse",
    "Unroutable",
    "translated",
    "translation",
]

#: SQLite's primary result codes that mean "this file is no database (any more)": CORRUPT, NOTADB.
_DAMAGED = frozenset({11, 26})
_SQLITE_FULL = 13
_SPACE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BrokerGone(ConnectionError):
    """The connection is closed or broken; connect again."""


class BrokerDamaged(ConnectionError):
    """The file is not a broker's, or no longer one: connecting again will not help."""


class ForkedConnection(ConnectionError):
    """Used, or opened anew, in a process forked while the connection was open."""


class DiskFull(ChannelError):
    """No space for the message; nothing of it was stored. Consumers still work."""


class NotFound(ChannelError):
    """No such queue or exchange (AMQP 404)."""

    code = 404


class DeclaredDifferently(ChannelError):
    """The name exists with other flags or arguments (AMQP 406)."""

    code = 406


class TagInUse(ChannelError):
    """A consumer tag that another consumer of the channel has (AMQP 530)."""

    code = 530


class Unroutable(ChannelError):
    """A ``mandatory`` message that no queue would get (AMQP 312); nothing was stored."""

    code = 312


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        # sqlite_errorcode came with Python 3.11; before it there is only the text.
        return getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL or "is full" in str(error)
    return isinstance(error, OSError) and error.errno in _SPACE_ERRNOS


def _is_damaged(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in _DAMAGED or "malformed" in str(error) or "not a database" in str(error)


def translation(error: sqlite3.Error | OSError, doing: str, path: str) -> Exception:
    """Our error for one of SQLite's or the system's, naming what was being done and where."""
    where = f"{doing} in the local broker {path}: {error}"
    if _is_full(error):
        return DiskFull(
            f"{where}; nothing was stored: free space on that disk, or let consumers run"
        )
    if isinstance(error, sqlite3.Error) and _is_damaged(error):
        return BrokerDamaged(f"{where}; move the folder away to start afresh")
    return BrokerGone(where)


@contextmanager
def translated(doing: str, path: str) -> Iterator[None]:
    """Raise translations instead of SQLite's and the system's errors."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translation(error, doing, path) from error
