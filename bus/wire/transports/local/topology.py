"""Exchanges, queues, bindings, and which queues a message goes to: SQL in somebody's transaction.

Everything is in the file, the type of an exchange included, since a publisher need not have
declared it. Every function takes the database inside a transaction of ``store`` and is called
there only. Declaring again with other flags is refused, as AMQP 0-9-1 has it for
``exchange.declare`` and ``queue.declare`` (406), so that what runs here also runs on RabbitMQ.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any

from bus.wire.transports.local.faults import DeclaredDifferently, NotFound

__all__ = [
    "EXCHANGE_TYPES",
    "bind",
    "bindings",
    "census",
    "declare_exchange",
    "declare_queue",
    "delete_exchange",
    "delete_queue",
    "drop_idle",
    "drop_unread",
    "exchange_type",
    "exchanges",
    "has_idle",
    "is_bound",
    "matches",
    "purge",
    "queue_id",
    "route",
    "touch",
    "unbind",
]

EXCHANGE_TYPES = frozenset({"direct", "fanout", "topic"})


def _flags(**flags: Any) -> str:
    return json.dumps(flags, sort_keys=True, default=str)


def declare_exchange(
    db: sqlite3.Connection,
    name: str,
    kind: str,
    durable: bool,
    auto_delete: bool,
    arguments: Mapping[str, Any] | None,
) -> None:
    """Make the exchange, or check that it is the same."""
    if kind not in EXCHANGE_TYPES:
        raise DeclaredDifferently(
            f"exchange {name!r} cannot be of type {kind!r}: the local broker has "
            + ", ".join(sorted(EXCHANGE_TYPES))
        )
    declared = _flags(
        durable=bool(durable), auto_delete=bool(auto_delete), arguments=arguments or {}
    )
    found = db.execute("SELECT type, declared FROM exchange WHERE name = ?", (name,)).fetchone()
    if found is None:
        db.execute("INSERT INTO exchange VALUES (?, ?, ?)", (name, kind, declared))
    elif found[0] != kind or (found[1] and found[1] != declared):
        raise DeclaredDifferently(
            f"exchange {name!r} exists as {found[0]} {found[1]} and was declared as {kind} "
            f"{declared}: both sides must declare it alike"
        )


def exchange_type(db: sqlite3.Connection, name: str) -> str:
    """Its type. Raises NotFound."""
    found = db.execute("SELECT type FROM exchange WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise NotFound(f"no exchange {name!r}: declare it first")
    return str(found[0])


def declare_queue(
    db: sqlite3.Connection,
    name: str,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    arguments: Mapping[str, Any] | None,
) -> None:
    """Make the queue, or check that it is the same and count it as used."""
    arguments = dict(arguments or {})
    expires_ms = arguments.get("x-expires")
    if expires_ms is not None and (not isinstance(expires_ms, int) or expires_ms <= 0):
        raise DeclaredDifferently(
            f"queue {name!r}: x-expires must be a positive number of milliseconds, "
            f"not {expires_ms!r}"
        )
    declared = _flags(
        durable=bool(durable),
        exclusive=bool(exclusive),
        auto_delete=bool(auto_delete),
        arguments=arguments,
    )
    found = db.execute("SELECT id, declared FROM queue WHERE name = ?", (name,)).fetchone()
    if found is None:
        db.execute(
            "INSERT INTO queue (name, declared, auto_delete, expires_ms, used)"
            " VALUES (?, ?, ?, ?, ?)",
            (name, declared, bool(auto_delete), expires_ms, time.time()),
        )
    elif found[1] != declared:
        raise DeclaredDifferently(
            f"queue {name!r} exists as {found[1]} and was declared as {declared}: "
            "both sides must declare it alike"
        )
    else:
        touch(db, [found[0]])


def touch(db: sqlite3.Connection, queues: Iterable[int]) -> None:
    """These queues are in use now, so that their ``expires`` begins anew."""
    now = time.time()
    db.executemany("UPDATE queue SET used = ? WHERE id = ?", [(now, queue) for queue in queues])


def queue_id(db: sqlite3.Connection, name: str) -> int:
    """The id of a queue by name. Raises NotFound."""
    found = db.execute("SELECT id FROM queue WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise NotFound(f"no queue {name!r}: declare it first")
    return int(found[0])


def bind(db: sqlite3.Connection, queue: str, exchange: str, key: str) -> None:
    """Bind; again is fine. Raises NotFound for either end."""
    exchange_type(db, exchange)
    db.execute(
        "INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", (exchange, key, queue_id(db, queue))
    )


def is_bound(db: sqlite3.Connection, queue: int, exchange: str, key: str) -> bool:
    """Whether this queue is bound there with this key."""
    found = db.execute(
        "SELECT 1 FROM binding WHERE exchange = ? AND key = ? AND queue = ?", (exchange, key, queue)
    )
    return found.fetchone() is not None


def unbind(db: sqlite3.Connection, queue: str, exchange: str, key: str) -> None:
    """Unbind; what is not bound is fine."""
    db.execute(
        "DELETE FROM binding WHERE exchange = ? AND key = ?"
        " AND queue = (SELECT id FROM queue WHERE name = ?)",
        (exchange, key, queue),
    )


def route(db: sqlite3.Connection, exchange: str, key: str) -> list[int]:
    """The ids of the queues a message goes to, each once. Raises NotFound for the exchange."""
    if not exchange:  # the default exchange: the key is the queue's name
        return [row[0] for row in db.execute("SELECT id FROM queue WHERE name = ?", (key,))]
    kind = exchange_type(db, exchange)
    if kind == "direct":
        found = db.execute(
            "SELECT queue FROM binding WHERE exchange = ? AND key = ?", (exchange, key)
        )
        return [row[0] for row in found]
    bindings = db.execute(
        "SELECT queue, key FROM binding WHERE exchange = ? ORDER BY queue", (exchange,)
    )
    return list(
        dict.fromkeys(queue for queue, each in bindings if kind == "fanout" or matches(each, key))
    )


def matches(pattern: str, key: str) -> bool:
    """Whether a topic binding takes a routing key: ``*`` is one word, ``#`` any number, also none.

    Source: AMQP 0-9-1, 3.1.3.3 (the topic exchange type).
    """
    # states: how many words of the pattern may have been consumed so far
    words = pattern.split(".")
    states = _past_hashes({0}, words)
    for word in key.split("."):
        reached = set()
        for state in states:
            if state < len(words) and words[state] == "#":
                reached.add(state)
            elif state < len(words) and words[state] in ("*", word):
                reached.add(state + 1)
        states = _past_hashes(reached, words)
    return len(words) in states


def _past_hashes(states: set[int], words: list[str]) -> set[int]:
    """These places, and those reached from them over ``#`` that take no word."""
    return states | {
        end
        for state in states
        for end in range(state + 1, len(words) + 1)
        if all(word == "#" for word in words[state:end])
    }


def delete_exchange(db: sqlite3.Connection, name: str, if_unused: bool) -> None:
    """Delete it with its bindings; an unknown one is fine."""
    bound = "SELECT 1 FROM binding WHERE exchange = ? LIMIT 1"
    if if_unused and db.execute(bound, (name,)).fetchone():
        return
    db.execute("DELETE FROM binding WHERE exchange = ?", (name,))
    db.execute("DELETE FROM exchange WHERE name = ?", (name,))


def _delete_queues(db: sqlite3.Connection, queues: Iterable[int]) -> None:
    """Delete queues with their messages, held ones included, bindings and subscriptions."""
    ids = [(queue,) for queue in queues]
    db.executemany("DELETE FROM msg WHERE queue = ? AND owner = 0", ids)
    db.executemany("DELETE FROM msg WHERE queue = ? AND owner <> 0", ids)
    db.executemany("DELETE FROM binding WHERE queue = ?", ids)
    db.executemany("DELETE FROM sub WHERE queue = ?", ids)
    db.executemany("DELETE FROM queue WHERE id = ?", ids)


def drop_unread(db: sqlite3.Connection, queues: Iterable[int]) -> None:
    """A consumer left these queues: count them as used, delete the auto-delete ones without any."""
    left = list(queues)
    touch(db, left)
    gone = [
        queue
        for queue in left
        if db.execute(
            "SELECT 1 FROM queue WHERE id = ? AND auto_delete"
            " AND NOT EXISTS (SELECT 1 FROM sub WHERE queue = queue.id)",
            (queue,),
        ).fetchone()
    ]
    _delete_queues(db, gone)


_EXPIRED = (
    "SELECT id FROM queue WHERE expires_ms IS NOT NULL AND used < ? - expires_ms / 1000.0"
    " AND NOT EXISTS (SELECT 1 FROM sub WHERE queue = queue.id)"
)


def has_idle(db: sqlite3.Connection) -> bool:
    """Whether some queue has outlived its ``expires``; a cheap look, outside any transaction."""
    return db.execute(_EXPIRED + " LIMIT 1", (time.time(),)).fetchone() is not None


def drop_idle(db: sqlite3.Connection) -> int:
    """Delete the queues without consumer that are unused for longer than their ``expires``."""
    ids = [row[0] for row in db.execute(_EXPIRED, (time.time(),))]
    _delete_queues(db, ids)
    return len(ids)


def census(db: sqlite3.Connection, name: str) -> tuple[int, int]:
    """(messages ready, connections that consume) of a queue. Raises NotFound."""
    queue = queue_id(db, name)
    (ready,) = db.execute(
        "SELECT count(*) FROM msg WHERE queue = ? AND owner = 0", (queue,)
    ).fetchone()
    (readers,) = db.execute("SELECT count(*) FROM sub WHERE queue = ?", (queue,)).fetchone()
    return ready, readers


def delete_queue(db: sqlite3.Connection, name: str, if_unused: bool, if_empty: bool) -> None:
    """Delete a queue by name; an unknown one is fine."""
    try:
        ready, readers = census(db, name)
    except NotFound:
        return
    if (if_unused and readers) or (if_empty and ready):
        return
    _delete_queues(db, [queue_id(db, name)])


def purge(db: sqlite3.Connection, name: str) -> int:
    """Delete the ready messages of a queue; how many. Raises NotFound."""
    queue = queue_id(db, name)
    return db.execute("DELETE FROM msg WHERE queue = ? AND owner = 0", (queue,)).rowcount


def exchanges(db: sqlite3.Connection) -> list[str]:
    """The names of all exchanges."""
    return [row[0] for row in db.execute("SELECT name FROM exchange ORDER BY name")]


def bindings(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """(queue, exchange, key) of all bindings."""
    return db.execute(
        "SELECT queue.name, binding.exchange, binding.key FROM binding"
        " JOIN queue ON queue.id = binding.queue ORDER BY 2, 3, 1"
    ).fetchall()
