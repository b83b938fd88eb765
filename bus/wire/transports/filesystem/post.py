"""Writing, finding and taking messages, for one connection. One thread only.

What is found is remembered, so that a folder of 10,000 files is listed once for all of them, and
not for each; it is listed again when something in it has changed, and not for long in all.

A file whose content is no JSON object may be one that a peer of kombu's is still writing: those
appear under their names before they are filled. It is waited for, ``GRACE`` seconds by its own
time, and keeps what is behind it in its queue waiting too. After that it is nonsense.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from bus.wire.transports.filesystem import desk as desks
from bus.wire.transports.filesystem.desk import Desk
from bus.wire.transports.filesystem.faults import Gone, TooLarge, translated
from bus.wire.transports.filesystem.layout import (
    Folders,
    is_ours,
    message_name,
    milliseconds_of,
    queue_of,
)
from protocol.timing import REPLY_EXPIRES

GRACE: Final = 2.0  # seconds that an unfinished message is waited for
LARGEST: Final = 128 * 1024 * 1024  # bytes of a message with what is around it; RabbitMQ's default
SWEEP: Final = 2.0  # seconds between two looks for the dead
TIDY: Final = 600.0  # seconds between two looks for what nobody has read
KEPT: Final = REPLY_EXPIRES  # seconds that what we wrote is kept when nobody reads it

_SETTLED: Final = 100_000_000  # ns: the time of a folder may be as coarse, and hide a change
_LOOK_ANYWAY: Final = 1.0  # seconds; in case a file system does not tell
_REST: Final = 4.0  # times as long as a listing took before there is another


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that is ours until it is done with or given back."""

    name: str
    #: The envelope; None if the file is no message.
    raw: dict[str, Any] | None
    #: What is wrong with it then.
    fault: str = ""


class Post:
    """Of one connection. ``close`` gives back what is taken; twice is fine."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        with translated("opening", folders.path):
            folders.make()
            desks.sweep(folders)
            self._desk = Desk(folders)
        self._found: dict[str, deque[str]] = {}
        #: Taken, and perhaps not finished: by queue.
        self._unfinished: dict[str, str] = {}
        self._folder_time = -1
        self._listed_at = -1.0e9
        self._list_again_at = 0.0
        self._sweep_at = time.monotonic() + SWEEP
        self._tidy_at = time.monotonic()

    def close(self) -> None:
        """Give back what is taken."""
        with translated("closing", self._folders.path):
            self._desk.close()

    # writing --------------------------------------------------------------------------------------

    def put(self, queue: str, message: Mapping[str, Any]) -> None:
        """Write a message; complete when it can be seen. Raises as ``faults`` says."""
        content = json.dumps(message).encode()
        if len(content) > LARGEST:
            raise TooLarge(f"a message of {len(content)} bytes; {LARGEST} is the most")
        name = message_name(_next_time(), self._desk.name, queue)
        draft = self._desk.folder / "draft"
        with translated("writing", self._folders.path):
            try:
                draft.write_bytes(content)
                draft.rename(self._folders.messages / name)
            except OSError:
                draft.unlink(missing_ok=True)
                raise

    # taking ---------------------------------------------------------------------------------------

    def take(self, queue: str) -> Taken | None:
        """The first of a queue; None if there is none, or it is not finished."""
        with translated("taking", self._folders.path):
            while True:
                name = self._unfinished.pop(queue, None) or self._claim(queue)
                if name is None:
                    return None
                taken = self._read(name)
                if taken is not None:
                    return taken
                if self._age(name) < GRACE:
                    self._unfinished[queue] = name
                    return None
                return Taken(name, None, "no message: a file that is not a JSON object")

    def done(self, name: str) -> None:
        """This one is dealt with."""
        with translated("acknowledging", self._folders.path):
            (self._desk.folder / name).unlink(missing_ok=True)

    def give_back(self, name: str) -> None:
        """To where it was."""
        with translated("giving back", self._folders.path):
            (self._desk.folder / name).rename(self._folders.messages / name)
        self._folder_time = -1

    def count(self, queue: str) -> int:
        """How many wait."""
        with translated("counting", self._folders.path):
            return sum(queue_of(each.name) == queue for each in self._folders.messages.iterdir())

    def purge(self, queue: str) -> int:
        """Remove all that wait; how many."""
        removed = 0
        with translated("emptying", self._folders.path):
            for each in self._folders.messages.iterdir():
                if queue_of(each.name) == queue:
                    each.unlink(missing_ok=True)
                    removed += 1
        return removed

    def tidy_up(self) -> None:
        """Now and then: give back what the dead held, remove what nobody reads."""
        now = time.monotonic()
        with translated("tidying", self._folders.path):
            if now >= self._sweep_at:
                self._sweep_at = now + SWEEP
                desks.sweep(self._folders)
            if now >= self._tidy_at:
                self._tidy_at = now + TIDY
                self._remove_unread()

    # ---------------------------------------------------------------------------------------------

    def _claim(self, queue: str) -> str | None:
        """Move the first of a queue to our desk."""
        while True:
            found = self._found.get(queue)
            if not found:
                if not self._list():
                    return None
                found = self._found.get(queue)
                if not found:
                    return None
            name = found.popleft()
            try:
                (self._folders.messages / name).rename(self._desk.folder / name)
            except FileNotFoundError:
                if not self._desk.is_there:
                    raise Gone(
                        f"the folder {self._folders.path} has been removed behind our back"
                    ) from None
                continue  # somebody else was first
            return name

    def _read(self, name: str) -> Taken | None:
        """What it says; None if that is no JSON object, or not yet."""
        # Never through a link, and never waiting for who writes into a pipe.
        how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self._desk.folder / name, how), "rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                return Taken(name, None, f"a message of more than {LARGEST} bytes")
            content = file.read(LARGEST + 1)
        try:
            raw = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return Taken(name, raw) if isinstance(raw, dict) else None

    def _age(self, name: str) -> float:
        return abs(time.time() - (self._desk.folder / name).stat().st_mtime)

    def _list(self) -> bool:
        """Look what there is, if that may have changed; whether it was looked."""
        now = time.monotonic()
        if now < self._list_again_at:
            return False
        changed = self._folders.messages.stat().st_mtime_ns
        is_settled = time.time_ns() - changed > _SETTLED
        if changed == self._folder_time and is_settled and now < self._listed_at + _LOOK_ANYWAY:
            return False
        self._folder_time, self._listed_at = changed, now
        by_queue: defaultdict[str, list[str]] = defaultdict(list)
        with os.scandir(self._folders.messages) as entries:
            for entry in entries:
                queue = queue_of(entry.name)
                if queue is not None and entry.is_file(follow_symlinks=False):
                    by_queue[queue].append(entry.name)
        self._found = {queue: deque(self._in_order(names)) for queue, names in by_queue.items()}
        after = time.monotonic()
        self._list_again_at = after + _REST * (after - now)
        return True

    def _in_order(self, names: list[str]) -> list[str]:
        """As they were written, as far as that is known."""
        names.sort(key=lambda name: (milliseconds_of(name), name))
        ordered: list[str] = []
        for _, together in groupby(names, milliseconds_of):
            same = list(together)
            if len(same) > 1 and not all(map(is_ours, same)):
                same.sort(key=self._written)  # stable
            ordered += same
        return ordered

    def _written(self, name: str) -> int:
        try:
            return (self._folders.messages / name).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _remove_unread(self) -> None:
        with os.scandir(self._folders.messages) as entries:
            for entry in entries:
                if is_ours(entry.name) and time.time() - _mtime(entry) > KEPT:
                    (self._folders.messages / entry.name).unlink(missing_ok=True)


def _mtime(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return time.time()


_clock = threading.Lock()  # guards _last
_last = 0


def _next_time() -> int:
    """The monotonic clock, which all processes of a machine share, and never the same twice."""
    global _last  # noqa: PLW0603 - one clock for all connections of the process
    with _clock:
        _last = max(_last + 1, time.monotonic_ns())
        return _last
