"""A journal of ours or a file of Toil's: what it is, and what is in it, read alike.

Which one it is, is seen at its beginning. An empty one may become either, so who follows it waits
for its first bytes. The command line's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from bus import news
from bus.news import Damage, toil
from protocol.errors import JournalError
from protocol.history import Entry

Format = Literal["journal", "toil"]

#: What is said of ``FILE`` by each command.
HELP: Final = "the journal, as the executor was given it, or Toil's --writeMessages"
#: More lines than there can be.
EVERY: Final = 10**15

Found = Iterator[Entry | Damage]


def format_of(path: str) -> Format:
    """Raises ``JournalError`` if it cannot be read."""
    try:
        return "toil" if toil.is_toil(path) else "journal"
    except JournalError:
        if Path(path).exists():
            raise
        return "journal"  # of which an older file may be there still


def read(path: str) -> Found:
    """All that is kept, oldest first."""
    return toil.read(path) if format_of(path) == "toil" else news.read(path)


def tail(path: str, count: int) -> list[Entry | Damage]:
    """The last so many lines, and damage between them."""
    return toil.tail(path, count) if format_of(path) == "toil" else news.tail(path, count)


def follow(path: str, pause: Callable[[], bool], last: int) -> Found:
    """The last so many lines, and then whatever is written; ``pause`` as the readers have it."""
    while Path(path).exists() and Path(path).stat().st_size == 0:
        if not pause():
            return
    read_on = toil.follow if format_of(path) == "toil" else news.follow
    yield from read_on(path, pause, last=last)
