"""The tables of a broker's file, and how a connection to it is opened.

Called by ``store``, inside the turn. One row per message and queue; ``owner`` is the connection
that holds it, 0 while it is ready. The id is the place in the order and never changes, so that a
message given back stands where it stood.

Bodies above ``INLINE_BYTES`` live in ``big``: a claim rewrites the message's row, and with a 10 MB
body in it a claim on a full disk would need 10 MB more than there is.
"""

from __future__ import annotations

import os
import sqlite3

from bus.wire.transports.local.place import DATABASE
from protocol.errors import ConfigurationError

__all__ = ["INLINE_BYTES", "connect"]

INLINE_BYTES = 4096
_VERSION = 1
_BUSY_TIMEOUT = 30.0  # seconds; only a shell that looks into the file can make us wait

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE exchange (
    name TEXT PRIMARY KEY, type TEXT NOT NULL, declared TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, declared TEXT NOT NULL,
    auto_delete INTEGER NOT NULL, expires_ms INTEGER,
    used REAL NOT NULL                    -- seconds since the epoch: declared, read or left
);
CREATE INDEX expiring ON queue (used) WHERE expires_ms IS NOT NULL;
CREATE TABLE binding (
    exchange TEXT NOT NULL, key TEXT NOT NULL, queue INTEGER NOT NULL,
    PRIMARY KEY (exchange, key, queue)
) WITHOUT ROWID;
CREATE INDEX bound ON binding (queue);
CREATE TABLE owner (id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL);
CREATE TABLE sub (
    queue INTEGER NOT NULL, owner INTEGER NOT NULL, PRIMARY KEY (queue, owner)
) WITHOUT ROWID;
CREATE INDEX subscribed ON sub (owner);
CREATE TABLE msg (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL,
    owner INTEGER NOT NULL DEFAULT 0, redelivered INTEGER NOT NULL DEFAULT 0,
    meta TEXT NOT NULL, body BLOB         -- NULL: in table big
);
CREATE INDEX ready ON msg (queue, id) WHERE owner = 0;
CREATE INDEX held ON msg (owner) WHERE owner <> 0;
CREATE INDEX parked ON msg (queue) WHERE owner <> 0;
CREATE TABLE big (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TRIGGER big_follows AFTER DELETE ON msg WHEN old.body IS NULL
    BEGIN DELETE FROM big WHERE id = old.id; END;
INSERT INTO exchange VALUES
    ('amq.direct', 'direct', ''), ('amq.fanout', 'fanout', ''), ('amq.topic', 'topic', '');
PRAGMA user_version = 1;
COMMIT;
"""


def connect(folder: str, sync: str) -> sqlite3.Connection:
    """Open the file, made and laid out if it is new. ``sync`` is ``normal`` or ``full``.

    Raises sqlite3.Error, OSError; ConfigurationError for a file of another layout.
    """
    path = os.path.join(folder, DATABASE)
    if not os.path.exists(path):
        # For the mode only. Closing it can drop no lock of SQLite's: the file did not exist before.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _lay_out(db, folder)
        db.execute(f"PRAGMA synchronous={sync.upper()}")
        db.execute("PRAGMA journal_size_limit=4194304")
        db.execute("PRAGMA temp_store=MEMORY")
        # Debian's SQLite overwrites what it deletes: 10 MB more to write for a body of 10 MB.
        db.execute("PRAGMA secure_delete=OFF")
    except BaseException:
        db.close()
        raise
    return db


def _lay_out(db: sqlite3.Connection, folder: str) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        # In this order: auto_vacuum after journal_mode=WAL, or after a table, is silently off.
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(_TABLES)
    elif version != _VERSION:
        raise ConfigurationError(
            f"the local broker {folder} has layout {version}, and this Taskline knows {_VERSION}: "
            "name another folder, or use the version that made it"
        )
