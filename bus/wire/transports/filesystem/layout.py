"""Names: the folders below a PATH, and the files of messages, kombu's and ours. Pure.

A message's name is ``<ms>_<anything>.<queue>.msg`` (kombu ``transport/filesystem.py``): the queue
is all that stands between the first dot and the end, and kombu takes names in the order of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kombu.exceptions import ChannelError

SUFFIX: Final = ".msg"
_LONGEST: Final = 255  # bytes of a file's name, on every file system there is
_OURS: Final = re.compile(r"\d{15}_\d{6}-[0-9a-f]{16}\.")
_EXCHANGE: Final = re.compile(r"[A-Za-z0-9._-]*")


class NotAName(ChannelError):
    """It names no queue or exchange that could be a file, now or later (AMQP 403)."""

    code = 403


@dataclass(frozen=True, slots=True)
class Folders:
    """The three below a PATH."""

    path: Path

    @property
    def messages(self) -> Path:
        """kombu's ``data_folder_in`` and ``data_folder_out``."""
        return self.path / "messages"

    @property
    def control(self) -> Path:
        """kombu's ``control_folder``."""
        return self.path / "control"

    @property
    def desks(self) -> Path:
        """Ours."""
        return self.path / "taskline"

    def make(self) -> None:
        """Make what is missing; a PATH that was there keeps its mode. Raises ``OSError``."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.messages, self.control, self.desks):
            folder.mkdir(exist_ok=True)


def message_name(nanoseconds: int, desk: str, queue: str) -> str:
    """The name of a message for ``queue``, written at this (monotonic) time from this desk.

    Of two names the later time's is the greater text. Raises ``NotAName``.
    """
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    name = f"{milliseconds:015d}_{rest:06d}-{desk}.{queue}{SUFFIX}"
    if not queue or "/" in queue or "\0" in queue or len(name.encode(errors="replace")) > _LONGEST:
        raise NotAName(f"a queue that is called {queue[:60]!r} cannot be a file's name")
    return name


def queue_of(name: str) -> str | None:
    """Which queue a file in the folder of messages is for; None if it is no message's."""
    _, dot, rest = name.partition(".")
    return rest[: -len(SUFFIX)] if dot and rest.endswith(SUFFIX) else None


def milliseconds_of(name: str) -> int:
    """When it was written, by its name; nought if that does not say."""
    digits = name.partition("_")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0


def is_ours(name: str) -> bool:
    """Whether we have written it, and not kombu."""
    return _OURS.match(name) is not None


def table_name(exchange: str) -> str:
    """The name of an exchange's table. Raises ``NotAName``."""
    if not _EXCHANGE.fullmatch(exchange) or (exchange and not exchange.strip(".")):
        raise NotAName(f"an exchange that is called {exchange[:60]!r} cannot be a file's name")
    return f"{exchange}.exchange"
