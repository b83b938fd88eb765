"""The tables of bindings, one JSON file for each exchange, which kombu's peers read and write too.

An entry is ``[routing key, pattern, queue]``, the newest first. Everybody changes a table in place
under an ``flock`` of the file itself, for that is what kombu does; a table that was replaced would
lose what a peer is about to write into the old one.

A damaged table counts as an empty one, and is whole again when the next reader of a queue declares
it. Called by ``channel``, on its thread; errors of the system's come out as they are.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bus.wire.transports.filesystem.layout import table_name

#: Of the keys that are uuids; those that are not are topics, and stay.
MOST_UUIDS: Final = 1000

Entry = tuple[str, str, str]


class Tables:
    """All of them, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, exchange: str) -> list[Entry]:
        """The entries of an exchange; none if it has no table, or a damaged one."""
        try:
            with self._path(exchange).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return _entries(file.read())[0]
        except FileNotFoundError:
            return []

    def bind(self, exchange: str, entry: Entry) -> None:
        """Have it there, once."""

        def add(entries: list[Entry]) -> list[Entry]:
            return entries if entry in entries else bounded([entry, *entries])

        path = self._path(exchange)
        while not path.exists():
            # With its content at once: kombu cannot read an empty one.
            new = path.with_name(f".{uuid.uuid4().hex}.new")
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps([entry]))
            try:
                os.link(new, path)
                return
            except FileExistsError:
                pass
            finally:
                new.unlink()
        self._change(path, add)

    def unbind(self, exchange: str, queue: str) -> None:
        """Have no entry for this queue."""
        path = self._path(exchange)
        if path.exists():
            self._change(path, lambda entries: [each for each in entries if each[2] != queue])

    def delete(self, exchange: str) -> None:
        """Have no table."""
        self._path(exchange).unlink(missing_ok=True)

    def _path(self, exchange: str) -> Path:
        return self._folder / table_name(exchange)

    def _change(self, path: Path, change: Callable[[list[Entry]], list[Entry]]) -> None:
        with _locked(path) as descriptor:
            found = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            entries, is_whole = _entries(found)
            wanted = change(entries)
            if is_whole and wanted == entries:
                return
            content = json.dumps(wanted).encode()
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))


def bounded(entries: list[Entry]) -> list[Entry]:
    """Without the oldest of those whose key is a uuid, if there are too many."""
    if len(entries) <= MOST_UUIDS:
        return entries
    kept, uuids = [], 0
    for entry in entries:
        uuids += _is_uuid(entry[0])
        if uuids <= MOST_UUIDS or not _is_uuid(entry[0]):
            kept.append(entry)
    return kept


def _is_uuid(key: str) -> bool:
    if len(key) != 36:
        return False
    try:
        uuid.UUID(key)
    except ValueError:
        return False
    return True


def _entries(content: bytes) -> tuple[list[Entry], bool]:
    """What can be read of a table, and whether that is all there is."""
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        return [], False
    if not isinstance(read, list):
        return [], False
    entries: list[Entry] = [
        (each[0], each[1], each[2])
        for each in read
        if isinstance(each, list) and len(each) == 3 and all(isinstance(w, str) for w in each)
    ]
    return entries, len(entries) == len(read)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
