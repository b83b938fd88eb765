"""Journals as bytes, made without a file: what scanners, readers and journals are tested on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from bus.news.line import Header, fields_text, header_bytes, to_bytes
from protocol.events import Dispatched, Ended, Event, Running, Submitted
from protocol.history import Entry


def line_of(entry: Entry) -> bytes:
    """With its end."""
    event = entry.event
    return to_bytes(entry.number, entry.stamp, event.word, fields_text(event))


def entries(events: Sequence[Event], first: int = 1) -> list[Entry]:
    """Numbered from ``first`` on, stamped 100 s + their number."""
    return [Entry(number, 100.0 + number, event) for number, event in enumerate(events, first)]


def file_of(events: Sequence[Event], executor: str = "x") -> bytes:
    """The first file of a journal, with these lines."""
    head = header_bytes(Header(executor, 0, 1, 0, 100.0))
    return head + b"".join(map(line_of, entries(events)))


def submitted(uuid: str, key: str | None = None) -> Submitted:
    """A request for a task ``t``."""
    return Submitted(uuid, "t", {"args": [uuid]}, ["default"], key=key)


def dispatched(uuid: str, attempt: int = 1) -> Dispatched:
    """An attempt at a worker called ``hare``."""
    return Dispatched(
        uuid,
        attempt,
        base=1,
        dialect="native",
        topic="default",
        worker="hare",
        boot="0123456789abcdef",
        inbox="inbox",
        ticket=f"1:{attempt}",
        start_by=9000,
    )


def a_life(uuid: str, key: str | None = None) -> list[Event]:
    """All that happens to a request that succeeds."""
    return [
        *(submitted(uuid, key), dispatched(uuid), Running(uuid, 1)),
        Ended(uuid, "success", {"of": uuid}, "hare"),
    ]


def resealed(raw: bytes) -> bytes:
    """A line that was changed, with a checksum that fits again."""
    content = raw[: -len(',"c":"12345678"}\n')]
    return b'%b,"c":"%08x"}\n' % (content, zlib.crc32(content))
