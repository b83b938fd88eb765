"""One line of a journal as text: an event with its number, its stamp and a checksum. Pure.

A line is one JSON object, compact, ASCII, at most ``MAX_LINE`` bytes, and ends with a line end::

    {"n":17,"t":1763712345.123456,"e":"running","uuid":"6f1…","attempt":1,"c":"1a2b3c4d"}

``n`` is the number, ``t`` seconds since 1970 with six decimals, ``e`` the event's word, then come
the event's own fields (``protocol.events``), the uuid of its request first; ``c`` is the CRC-32 of
all bytes before its comma, in eight hex digits. It finds what JSON would not: a byte that flipped
inside a text. The order of these is part of the format, so a reader can tell number, event and
request without parsing the rest.

The first line of a file is a header, which has no number::

    {"taskline":"journal","version":"1.0","executor":"nightly","identity":"nightly.5e6f7a8b",
     "incarnation":3,"first":1001,"copied":57,"ended":{"success":640,"failure":2},
     "t":1763712345.123456,"c":"1a2b3c4d"}

``identity`` is what workers know the executor by: drawn when the journal was begun, and the same in
every file that follows. Where it is not said, it is the executor's name.
``first`` is the number of the first line that is new in this file; ``copied`` lines before it were
taken over from the file before, as they were and with their own numbers, which are lower.
``ended`` counts the requests that had ended before and of which nothing is in this file.

A version whose first number is the same can be read: it may add events and fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from protocol import events
from protocol.errors import MessageRefused, ValueRefused
from protocol.events import Event
from protocol.history import Entry
from protocol.values import LARGE_DIGITS, Json, dumps, loads

MAJOR: Final = 1
VERSION: Final = f"{MAJOR}.0"

#: Bytes, with the line end. No broker carries a message that would need more.
MAX_LINE: Final = 64 * 1024 * 1024

HEADER_START: Final = b'{"taskline":"journal",'

CHECK_LENGTH: Final = len(',"c":"1a2b3c4d"}')

#: Number, word, and of a request's event its uuid and, of its end, the outcome. A uuid that JSON
#: must escape is not found by it.
PREFIX: Final = re.compile(
    rb'\{"n":([1-9][0-9]{0,17}),"t":-?[0-9]+\.[0-9]{6},"e":"([a-z_]+)"'
    rb'(?:,"uuid":"([^"\\]*)"(?:,"outcome":"([a-z]+)")?)?'
)

_ENDS: Final = re.compile(rb',"c":"[0-9a-f]{8}"\}')
_STARTS: Final = re.compile(rb'\{"n":[1-9]')
_BEGINNINGS: Final = (b'{"n":', HEADER_START)
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a file."""

    executor: str
    #: Of the executor when it began the file.
    incarnation: int
    #: The number of the first new line.
    first: int
    #: How many lines before that were taken over.
    copied: int
    #: Seconds since 1970.
    stamp: float
    #: Requests that had ended and are not in this file, by outcome.
    ended: Mapping[str, int] = field(default_factory=dict)
    version: str = VERSION
    #: What workers know the executor by; None: its name.
    identity: str | None = None

    @property
    def major(self) -> int:
        """The version's first number."""
        return int(self.version.partition(".")[0])


# -- writing


def fields_text(event: Event) -> str:
    """The event's fields as they stand in a line, which is the part that takes time.

    Raises :class:`~protocol.errors.ValueRefused` for what is no JSON.
    """
    written = events.to_fields(event)
    if not written:
        return ""
    try:
        return f",{dumps(written, event.word)[1:-1]}"
    except ValueRefused:  # a value as deep as values may be: one by one, it is no deeper than that
        parts = (f',"{name}":{dumps(value, name)}' for name, value in written.items())
        return "".join(parts)


def to_bytes(number: int, stamp: float, word: str, fields: str) -> bytes:
    """The whole line, of what :func:`fields_text` made."""
    return _checked(f'{{"n":{number},"t":{stamp:.6f},"e":"{word}"{fields}'.encode("ascii"))


def header_bytes(header: Header) -> bytes:
    """The header's line."""
    content = {
        "taskline": "journal",
        "version": header.version,
        "executor": header.executor,
        **({} if header.identity is None else {"identity": header.identity}),
        "incarnation": header.incarnation,
        "first": header.first,
        "copied": header.copied,
        "ended": {name: count for name, count in sorted(header.ended.items()) if count},
    }
    return _checked(f'{dumps(content)[:-1]},"t":{header.stamp:.6f}'.encode("ascii"))


def _checked(content: bytes) -> bytes:
    return b'%b,"c":"%08x"}\n' % (content, crc32(content))


# -- reading


def is_whole(raw: bytes) -> bool:
    """Whether the checksum fits; ``raw`` is a line without its end."""
    return raw[-CHECK_LENGTH:] == b',"c":"%08x"}' % crc32(raw[:-CHECK_LENGTH])


def to_entry(raw: bytes) -> Entry:
    """The entry of a whole line, without its end.

    Raises :class:`~protocol.errors.MessageRefused`: reason ``event_word`` for an event of a later
    version, any other for a line that we would not have written.
    """
    return _entry(parse(raw))


def to_entries(raws: Sequence[bytes]) -> Iterator[Entry | MessageRefused]:
    """The same of many lines, in their order, each with what :func:`to_entry` would have raised.

    Together they are parsed in half the time, and the names of their fields are kept once.
    """
    contents: list[Any] = []
    try:
        contents = _DECODER.decode(f"[{b','.join(raws).decode('ascii')}]")
    except (ValueError, TypeError, RecursionError):
        pass  # one by one, to see which
    if len(contents) != len(raws):
        contents = [None] * len(raws)
    for raw, content in zip(raws, contents, strict=True):
        try:
            yield _entry(content if type(content) is dict else parse(raw))
        except MessageRefused as refusal:
            yield refusal


def _entry(content: dict[str, Any]) -> Entry:
    try:
        number, stamp, word = content["n"], content["t"], content["e"]
    except KeyError as missing:
        raise MessageRefused("event_line", f"{missing} is missing") from None
    if type(number) is not int or type(stamp) is not float or type(word) is not str:
        raise MessageRefused("event_line", f"{repr((number, stamp, word))[:80]} is no beginning")
    return Entry(number, stamp, events.from_fields(word, content))


def to_header(raw: bytes) -> Header | None:
    """The header of a first line without its end; None if it is damaged or none."""
    if not raw.startswith(HEADER_START) or not is_whole(raw):
        return None
    try:
        content = parse(raw)
        header = Header(
            executor=str(content["executor"]),
            incarnation=int(content["incarnation"]),
            first=int(content["first"]),
            copied=int(content["copied"]),
            stamp=float(content["t"]),
            ended={str(name): int(count) for name, count in dict(content["ended"]).items()},
            version=str(content["version"]),
            identity=None if content.get("identity") is None else str(content["identity"]),
        )
        return header if header.major > 0 else None
    except (MessageRefused, LookupError, TypeError, ValueError):
        return None


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises ``MessageRefused`` for anything else."""
    try:
        text = raw.decode("ascii")
        try:
            content, end = _DECODER.raw_decode(text)
        except ValueError:  # among others, an int of more digits than Python reads by itself
            content, end = _LARGE_DECODER.raw_decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise MessageRefused("event_line", f"no JSON: {error}") from None
    if type(content) is not dict or end != len(text):
        raise MessageRefused("event_line", "no JSON object")
    return content


def salvage(raw: bytes, *, is_torn: bool = False) -> list[tuple[int, int]]:
    """Whole lines in a damaged text without line ends: where a line end itself was hit.

    Looked for is one at its very beginning and one at its very end, as (start, end). Not in the
    middle, and at the end of a torn text neither: there might be one that a caller sent as an
    argument. The number of tries is bounded.
    """
    found = []
    begin = 0
    if raw.startswith(_BEGINNINGS):
        for match, _ in zip(_ENDS.finditer(raw), range(_TRIES), strict=False):
            if is_whole(raw[: match.end()]):
                begin = match.end()
                found.append((0, begin))
                break
    if not is_torn:
        starts = [match.start() for match in _STARTS.finditer(raw, begin)]
        for start in starts[-_TRIES:]:
            if start and is_whole(raw[start:]):
                found.append((start, len(raw)))
                break
    return found


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _int_of(text: str) -> int:
    return int(text) if len(text) <= LARGE_DIGITS else loads(text)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_LARGE_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_int_of)
