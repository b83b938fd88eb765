"""What a stranger writes into our queues: made by hand, and made of good messages by chance.

Each piece is what ``kombu.Producer.publish`` is told. With the same random numbers the same pieces.
"""

from __future__ import annotations

import json
import pickle
import random
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from protocol import messages
from protocol.envelope import CAPS, HEADER, Header
from protocol.messages import Answer, Cancel, Held, Receipt, Release, Request, Response
from protocol.topology import inbox_key

Piece = dict[str, Any]

#: A clock that no process comes to.
FAR: Final = 2**52
_GOOD: Final[tuple[tuple[str, bytes], ...]] = (
    ("REQUEST", messages.encode(Request("tests.faults.errands.work", args=("", 1)))),
    ("NOTIFY", b"{}"),
    ("NOTIFY", messages.encode(Answer("default", ("a.task", "another.task")))),
    ("RESPONSE", messages.encode(Response.success([1, {"a": None}]))),
    ("RESPONSE", messages.encode(Response.running())),
    ("CANCEL", messages.encode(Cancel("stop", "user"))),
    ("RECEIPT", messages.encode(Receipt("1:1-99"))),
    ("RELEASE", messages.encode(Release((("1:1", "full"),)))),
    ("HELD", messages.encode(Held(running="1:1-9"))),
)
_BODIES: Final[tuple[Any, ...]] = (
    b"", b"{", b"[]", b"null", b"5", b'"text"', b"\xff\xfe", b"\0" * 100, b"NaN", b"-Infinity",
    b'{"a": 1e999}', b"{}", b'{"tasks": 3}', b"x" * 100_000, b"1" * 6_000, b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b'{"task": "x", "action": "execute"}',
    "\N{SNOWMAN}".encode() * 1000, b"[" + b"[]," * 20_000 + b"[]]",
    pickle.dumps({"x": 1}), b"!!python/object/apply:os.system ['true']", b'{"__type__": "bytes"}',
)  # fmt: skip
_TYPES: Final = (
    "NOTIFY", "REQUEST", "RESPONSE", "HELD", "CANCEL", "RECEIPT", "RELEASE", "DROPPED", "EVIL", "",
    None,
)  # fmt: skip
_CONTENT_TYPES: Final = (
    "application/json", "application/json", "application/json", "application/json", "text/plain",
    "application/x-python-serialize", "application/x-yaml", "application/data", "x/y",
)  # fmt: skip
_ENCODINGS: Final = ("utf-8", "binary", "klingon", "utf-16", None)
_HEADERS: Final[tuple[Mapping[str, Any], ...]] = (
    {}, {HEADER: "{"}, {HEADER: 7}, {HEADER: ""}, {HEADER: {"v": 1}}, {HEADER: '{"v": 0}'},
    {HEADER: '{"v": 1, "tk": "9:1-9999999"}'}, {HEADER: '{"v": 1, "ex": "../..", "in": -1}'},
    {HEADER: "[" * 2000}, {HEADER: "x" * 5000}, {"x-taskline-signature": "1 a 5 / x"},
    {"compression": "application/x-gzip"}, {"compression": "application/x-bz2"},
    {"compression": "klingon"},
)  # fmt: skip
_ADDRESSES: Final = (None, "", "nobody", "a" * 255, "../etc", "a b\n", "{}", "default", "x.call")


def _squeezed() -> bytes:
    """20 MB of blanks. In pieces: this is the executor's process, whose memory is looked at.

    Who once had 20 MB in one piece is left with glibc keeping pieces of that size to itself.
    """
    squeeze = zlib.compressobj()
    pieces = [squeeze.compress(b" " * 10_000) for _ in range(2_000)]
    return b"".join([*pieces, squeeze.flush()])


_BOMB: Final = _squeezed()

#: What is pushed into a list of Redis' as it is, or put into the rows of a local broker.
RAW: Final = (
    b"", b"\0raw garbage", b"[]", b"5", b"null", b"{}", b'"x"', b"NaN", b"\xff\xfe", b"[" * 50_000,
    b'{"body": 1, "headers": {}, "properties": {}}', b'{"body": "x", "properties": null}',
    b'{"body": "!", "properties": {"body_encoding": "base64", "delivery_tag": "x"}}',
    b'{"__type__": "datetime", "__value__": "x"}',
)  # fmt: skip


def pieces(
    chance: random.Random, boot: str, uuids: tuple[str, ...], *, latest: int
) -> Iterator[Piece]:
    """Without end; ``boot`` and ``uuids`` are a worker's and requests' that exist.

    ``latest``: what may be said in that worker's name of its clock. Who can say that it is far
    ahead has its true words taken for old ones: against that there are signatures alone.
    """
    while True:
        kind = chance.random()
        if kind < 0.5:
            yield _by_hand(chance)
        elif kind < 0.95:
            yield _by_chance(chance, boot, uuids, latest)
        else:
            yield _bomb(chance)


def _by_hand(chance: random.Random) -> Piece:
    return {
        "body": chance.choice(_BODIES),
        "content_type": chance.choice(_CONTENT_TYPES),
        "content_encoding": chance.choice(_ENCODINGS),
        "type": chance.choice(_TYPES),
        "headers": dict(chance.choice(_HEADERS)),
        "reply_to": chance.choice(_ADDRESSES),
        "correlation_id": chance.choice((None, "", "not-a-uuid", "x" * 255)),
    }


def _by_chance(chance: random.Random, boot: str, uuids: tuple[str, ...], latest: int) -> Piece:
    """A good message of which something is wrong: bytes of it, whose it is, whom it is about."""
    kind, body = chance.choice(_GOOD)
    bytes_of = bytearray(body)
    for _ in range(chance.choice((0, 1, 1, 3, 10))):
        place = chance.randrange(len(bytes_of) + 1)
        what = chance.random()
        if what < 0.4 and bytes_of:
            bytes_of[place % len(bytes_of)] = chance.randrange(256)
        elif what < 0.7:
            bytes_of[place:place] = chance.choice((b"[", b'"', b"\xc3", b"{}", b"9" * 50))
        else:
            del bytes_of[place : place + chance.randrange(1, 9)]
    named = chance.choice((boot, f"{chance.getrandbits(64):016x}"))
    header = Header(
        executor=f"stranger{chance.randrange(50)}",
        incarnation=chance.choice((1, 2, 7)),
        worker="stranger",
        boot=named,
        clock=chance.choice((0, 5, latest if named == boot else FAR)),
        tickets=f"{chance.randrange(9)}:{chance.randrange(100_000, 200_000)}",
        start_by=chance.choice((0, 1)),  # never to be started: what is good is refused as late
        slots=1,
        credit=0,
        inbox=f"default.{chance.getrandbits(64):016x}",
        mode="alo",
    )
    return {
        "body": bytes(bytes_of),
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "type": kind,
        "headers": {HEADER: header.to_text()} if chance.random() < 0.9 else {},
        "reply_to": chance.choice((header.executor, "stranger", f"s{chance.randrange(10_000)}")),
        "correlation_id": chance.choice((*uuids, "not-a-uuid")),
    }


def crowd(chance: random.Random, tasks: tuple[str, ...]) -> Piece:
    """Good in form, to a fan-out: one more worker that offers these, or an executor that asks.

    Nobody is there who would answer.
    """
    boot = f"{chance.getrandbits(64):016x}"
    header = Header(caps=CAPS, executor=f"x{boot}", incarnation=1, keep=86_400)
    kind, body, reply_to = "NOTIFY", b"{}", header.executor
    if chance.random() < 0.5:
        header = Header(
            caps=CAPS,
            worker=f"w-{boot}",
            boot=boot,
            clock=chance.randrange(2**40),
            slots=chance.choice((1, 1000)),
            credit=chance.choice((1, 4096)),
            inbox=inbox_key("default", boot),
        )
        body, reply_to = messages.encode(Answer("default", tasks)), None
    return {
        "body": body,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "type": kind,
        "headers": {HEADER: header.to_text()},
        "reply_to": reply_to,
    }


def _bomb(chance: random.Random) -> Piece:
    about = {"compression": chance.choice(("application/x-gzip", "application/x-bz2"))}
    return {**_by_hand(chance), "body": _BOMB, "headers": about}


def write_rows(folder: Path, queues: tuple[str, ...]) -> int:
    """Garbage into the file of a local broker, past all of its code; how many rows."""
    metas: tuple[Any, ...] = (*(raw.decode("latin-1") for raw in RAW), *RAW, 5, 1.5)
    with closing(sqlite3.connect(folder / "broker.db", timeout=30.0)) as db, db:
        names = dict(db.execute("SELECT name, id FROM queue").fetchall())
        rows = [
            (names[queue], meta, body)
            for queue in queues
            for meta in (*metas, json.dumps(["a", "b", {}, {"delivery_info": {}}]))
            for body in (b"{}", "text", 5, None)
        ]
        db.executemany("INSERT INTO msg (queue, meta, body) VALUES (?, ?, ?)", rows)
    return len(rows)
