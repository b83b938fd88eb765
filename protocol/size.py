"""Sizes: how they are written, how long a body may be, and whether a value has room in one.

Decided here: what "4 GiB" is; the bound of a body, the same on every broker, before a byte of it is
written, and the words in which what is beyond it is refused. A value that cannot fit is found by
counting, so that one of 300 MB costs no text of 300 MB, nor one that holds itself a thousand times
over a text at all. Pure; any thread; no user code runs. Asked by ``values``, whoever writes; for
what arrives, by ``bus.wire.dispatcher``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from protocol.errors import ConfigurationError

#: Bytes of one body, the longest that is written or read: 16 MiB.
#:
#: It is what RabbitMQ 4 takes unless it is told otherwise (``max_message_size``), the least of all
#: brokers as they are installed: RabbitMQ 3 takes 128 MiB, Redis 512 MB (of which base64 takes a
#: quarter). So whatever runs on one broker runs on each. It is a quarter of everything it has to
#: go through: a line of the journal (``bus.news.line``), the results a worker keeps for an
#: executor, what a listener hands over; and at 2 MB/s it leaves within the deadline of a confirm,
#: while a few hundred megabytes would be begun again and again.
MAX_BODY: Final = 16 * 1024 * 1024

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
#: Items from which on it pays to look at the types of all of them first.
_MANY: Final = 8
_SHORT: Final = frozenset({int, float, bool, type(None)})
_ONLY_TEXTS: Final = frozenset({str})


def at_least(value: object, enough: int = MAX_BODY) -> int:
    """No text of this value, which may travel, is shorter. Counts little further than ``enough``.

    What is met twice counts twice, as it is written twice. 0 if another thread changes it.
    """
    size = -2  # what it is put into below is not written
    todo: list[Any] = [(value,)]
    try:
        while todo and size <= enough:
            items = todo.pop()
            if isinstance(items, dict):
                size += 3 * len(items) + sum(map(str.__len__, items))
                items = items.values()
            size += 2 * len(items)  # a character each, and what parts it from the next
            if len(items) > _MANY:
                kinds = set(map(type, items))
                if kinds <= _SHORT:
                    continue
                if kinds == _ONLY_TEXTS:
                    size += sum(map(len, items))
                    continue
            for item in items:
                if type(item) in _SHORT:
                    continue
                if isinstance(item, str):
                    size += str.__len__(item)
                elif isinstance(item, (list, dict, tuple)):
                    todo.append(item)
    except (RuntimeError, TypeError):
        return 0
    return size


def too_long(what: str, size: int, *, is_least: bool = False) -> str:
    """What to tell of ``what``, whose text of ``size`` bytes, or more, has no room in a body."""
    return (
        f"{what}: {'at least ' if is_least else ''}{in_words(size)} as JSON, and a message holds "
        f"no more than {MAX_BODY // _MIB} MiB with all that is around it; put it where both sides "
        "can read it (a file, an object store) and send its path or URL"
    )


def in_words(size: int) -> str:
    """``2.0 GiB``, ``286.1 MiB``; ``1,234 bytes`` of less than one."""
    if size >= _GIB:
        return f"{size / _GIB:.1f} GiB"
    return f"{size / _MIB:.1f} MiB" if size >= _MIB else f"{size:,} bytes"


_FORM: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtpe])(i?))?b?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


def parse_size(where: str, given: object) -> int:
    """How many bytes are meant: by a whole number, or a text such as ``"4 GiB"`` or ``"500 MB"``.

    With an i a unit is a power of 1024 (KiB, MiB, GiB, TiB), without it of 1000 (kB, MB, GB, TB);
    the B may be left out, and small letters do. A part of a byte counts as one. ``where`` it was
    given, for the error. Raises ``ConfigurationError`` for what is no size.
    """
    if type(given) is int and given >= 0:
        return given
    if isinstance(given, float) and given >= 0 and given.is_integer():
        return int(given)
    found = _FORM.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None:
        raise ConfigurationError(
            f'{where}: {given!r} is no size: bytes, as a whole number, or a text such as "4 GiB", '
            '"1.5 GB" or "500 MiB"'
        )
    number, unit, binary = found[1], (found[2] or "").lower(), found[3]
    factor: int = (1024 if binary else 1000) ** _POWERS[unit]
    whole, _, part = number.partition(".")
    parts = int(part or "0") * factor
    return int(whole) * factor + -(-parts // int(10 ** len(part)))
