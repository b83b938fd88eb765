"""Claims on keys: SQL in somebody's transaction, like ``topology``.

A row for each claim, by the machine's wall clock, so that claims survive whoever made them, and a
restart of the machine as well. What has ended is deleted by whoever claims next. The table comes
with the first claim: a broker's file without it is of the same layout.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from protocol.claim import MAX_VALUE, Found, Wanted

_TABLE = """
CREATE TABLE IF NOT EXISTS claim (
    name TEXT PRIMARY KEY, value TEXT NOT NULL,
    until REAL NOT NULL                   -- seconds since the epoch
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS claimed ON claim (until)"


def claim(db: sqlite3.Connection, wanted: Sequence[Wanted]) -> list[Found | None]:
    """What is under each name now: what was wanted, if it was free."""
    now = time.time()
    db.execute(_TABLE)
    db.execute(_INDEX)
    db.execute("DELETE FROM claim WHERE until <= ?", (now,))
    found: list[Found | None] = []
    for name, value, lifetime in wanted:
        db.execute("INSERT OR IGNORE INTO claim VALUES (?, ?, ?)", (name, value, now + lifetime))
        held, until = db.execute(
            "SELECT substr(value, 1, ?), until FROM claim WHERE name = ?", (MAX_VALUE, name)
        ).fetchone()
        found.append(Found(str(held), until - now))
    return found


def release(db: sqlite3.Connection, name: str, value: str) -> None:
    """Delete this claim, if it is still the one."""
    db.execute(_TABLE)
    db.execute("DELETE FROM claim WHERE name = ? AND value = ?", (name, value))
