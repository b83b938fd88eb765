"""The journal of an executor: an append-only file of what happened, with one writer.

Decided here: when a line is safe, when the file is followed by a new one, what an incarnation is
called, and that whoever opens it is who opened it before, by the identity that is in it. What a
line looks like, what is damaged, where a request's lines are and who may write is decided in the
rooms beside; what the lines come to, in ``protocol.history``.

``append``, ``find`` and ``find_key`` are called from any thread: by the keeper for each of its
turns, by callers who submit or cancel. One lock guards the file, its index and its numbers, a
second one the files before it, which are read only when somebody asks for what has long ended.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from bus.news import files, rotation
from bus.news.index import place, spot
from bus.news.line import MAX_LINE, Header, fields_text, to_bytes
from bus.news.lock import Lock
from bus.news.segment import Segment
from protocol.errors import JournalError
from protocol.events import Closed, Event, Opened
from protocol.history import History, RequestStatus
from protocol.topology import identity_of

logger = logging.getLogger("taskline.bus.news.journal")

T = TypeVar("T")

SEGMENT_BYTES: Final = 64 * 1024 * 1024  # a file of so many is followed by a new one
_CHANCE: Final = 4  # bytes drawn for an identity
_KEYS_SHARE: Final = 4  # of which so much, one fourth, may be ended requests with a key
_RETRY_SHARE: Final = 8  # when it could not be, it is tried again after an eighth more


class Journal:
    """Opens the journal of ``executor`` at ``path``, or begins it, and holds it until ``close``.

    With it begins an *identity*, which is drawn then, and is that of everybody who opens it again:
    the one by which workers know it. Only of a journal that was begun before there were any, the
    executor's name is its identity.

    A line is safe from the death of this process, ``kill -9`` included, when ``append`` has
    returned, because it is in the kernel's hands. With ``fsync`` it is safe from a power loss as
    well, which costs a write to the disk for each append; without, a power loss may take the newest
    lines. What opens an incarnation is always written through, so no incarnation comes twice.

    A file of ``segment_bytes`` or more is followed by a new one (``rotation``), unless more than
    half of it is needed in the new one as well. Four older files are kept. What is open goes along,
    and so do ended requests with a key: the newest 10,000, up to a fourth of ``segment_bytes``.

    Raises ``JournalLocked`` if somebody else writes it, ``JournalError`` if it cannot be opened or
    is no journal of this executor's; nothing is overwritten then. A file of ours that others may
    read is made private (0600), with a warning in the log.
    """

    def __init__(
        self,
        path: Path | str,
        executor: str,
        *,
        fsync: bool = False,
        segment_bytes: int = SEGMENT_BYTES,
        at_least: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``now``: the wall clock, in seconds since 1970.

        ``at_least``: so many incarnations there were before, perhaps of a journal that is no more.
        """
        self.path = files.real(path)
        self.executor = executor
        #: What workers know it by: the journal's own, or this, if it is begun now.
        self.identity = identity_of(executor, secrets.token_hex(_CHANCE))
        #: Of this executor: one more than at any time before.
        self.incarnation = at_least
        #: What was found damaged when it was opened, as sentences.
        self.damage: list[str] = []
        #: What was open then, as it was submitted, the oldest first. Who takes it may clear it.
        self.open_requests: list[RequestStatus] = []
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._now = now
        self._pid = os.getpid()
        #: Guards everything below but the last two.
        self._mutex = threading.Lock()
        self._is_closed = False
        #: False while a change is half done: if that was broken off, all is read anew.
        self._is_settled = True
        #: The number of the next line.
        self._number = 1
        self._rotate_at = segment_bytes
        self._segment: Segment | None = None
        self._older: list[Segment] = []
        #: Lines that were lost, as far as is known.
        self._lost = 0
        #: Guards what is in the older files, and their being closed.
        self._reading = threading.Lock()
        self._dropped: list[Segment] = []
        if self.path.is_dir():
            raise JournalError(f"the journal {self.path} is a folder: name a file in it")
        files.make_folder(self.path)
        self._lock = Lock(self.path, executor)
        try:
            with _no_collections():
                self._segment = self._open()
                self._recover(self._segment)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, events: Sequence[Event], stamps: Sequence[float] = ()) -> None:
        """Write these, in this order and in one piece. Any thread.

        ``stamps``: when each of them happened, in seconds since 1970, if that is not now.

        Raises ``JournalError`` if that cannot be done, of a full disk for instance: then nothing of
        it is in the journal, and the next call tries anew. ``ValueRefused`` for what is no JSON.
        """
        written = [(event, fields_text(event)) for event in events]
        if not written:
            return
        self._demand_same_process()
        with self._mutex:
            segment = self._ready()
            self._put(segment, written, stamps, synced=self._fsync)
            if segment.end >= self._rotate_at:
                self._rotate(segment)

    def find(self, uuid: str) -> RequestStatus | None:
        """A request, open or ended, as long as its lines are kept; None if there is none.

        Any thread. What is not in the present file is looked for in the older ones, which are gone
        through when that happens for the first time: a second or so for each.
        """
        return self._find(lambda segment: segment.request(uuid, logger.warning))

    def find_key(self, key: str) -> str | None:
        """The uuid of the newest request with this key, found as :meth:`find` does it."""
        return self._find(lambda segment: segment.key(key, logger.warning))

    def keeps_all_of(self, incarnation: int) -> bool:
        """Whether every line that this incarnation has written is still here. Any thread.

        Then a request of its that is not found was never submitted.
        """
        self._demand_same_process()
        with self._mutex:
            segments = [self._ready(), *self._older]
        with self._reading:
            for older in segments[1:]:
                self._load_older(older)
            is_whole = not any(each.is_closed or each.is_damaged for each in segments)
            oldest = segments[-1].header
        self._close_dropped()
        # What a file begins with was opened before it, and the incarnations after that within it.
        return is_whole and oldest is not None and oldest.incarnation < incarnation

    def _find(self, look: Callable[[Segment], T | None]) -> T | None:
        self._demand_same_process()
        with self._mutex:
            found = look(self._ready())
            older = tuple(self._older)
        if found is not None:
            return found
        with self._reading:
            for segment in older:
                self._load_older(segment)
                found = None if segment.is_closed else look(segment)
                if found is not None:
                    break
        self._close_dropped()
        return found

    def close(self) -> None:
        """Say that the executor was shut down in order, and let go.

        Twice is fine; in a forked child it is the parent's, and nothing happens.
        """
        if os.getpid() != self._pid:
            return
        with self._mutex:
            if self._is_closed:
                return
            try:
                self._put(self._ready(), [(Closed(), "")], synced=True)
            except JournalError as error:
                logger.warning("%s is closed without saying so: %s", self.path, error)
            self._release()

    def _demand_same_process(self) -> None:
        """Before the lock is asked for, which a thread of the parent's may hold here for ever."""
        if os.getpid() != self._pid:
            raise JournalError(
                f"the journal {self.path} belongs to process {self._pid}, and this one was forked "
                "from it: make an executor of its own here, with a journal of its own"
            )

    # -- with the lock held

    def _ready(self) -> Segment:
        """The file that is written to; raises ``JournalError`` if there is none for us."""
        if self._is_closed:
            raise JournalError(f"the journal {self.path} is closed: open it anew")
        if not self._is_settled and self._segment is not None:
            self._drop([self._segment, *self._older])
            self._segment, self._older = None, []
        if self._segment is None:
            self._segment = self._open()
            self._is_settled = True
        return self._segment

    def _put(
        self,
        segment: Segment,
        written: Sequence[tuple[Event, str]],
        stamps: Sequence[float] = (),
        *,
        synced: bool,
    ) -> None:
        number = self._number
        lines = [
            to_bytes(number + ahead, stamp, event.word, fields)
            for ahead, ((event, fields), stamp) in enumerate(
                zip(written, stamps or [self._now()] * len(written), strict=True)
            )
        ]
        longest = max(map(len, lines))
        if longest > MAX_LINE:
            raise JournalError(
                f"the journal {self.path} takes no line of more than {MAX_LINE} bytes, and this "
                f"one is of {longest}: pass what is large by name, as a file"
            )
        at = segment.end
        self._is_settled = False  # until all of the following is done
        try:
            segment.append(b"".join(lines), synced=synced)
        except JournalError:
            self._is_settled = True
            raise
        for (event, _), raw in zip(written, lines, strict=True):
            segment.index.note(event, place(at, len(raw)))
            at += len(raw)
        self._number = number + len(lines)
        self._is_settled = True

    def _rotate(self, segment: Segment) -> None:
        """Go on in a new file, if that can be done; else in this one, and try again later."""
        places, behind = segment.index.needed(self._segment_bytes // _KEYS_SHARE)
        needed = sum(spot(where)[1] for where in places)
        if 2 * needed > segment.end:
            self._rotate_at = 2 * needed  # else it would be copied again and again
            return
        lost: list[str] = []
        self._is_settled = False
        fresh: Segment | None = None
        try:
            lines = list(segment.lines(places, lost.append))
            header = Header(
                executor=self.executor,
                identity=self.identity,
                incarnation=self.incarnation,
                first=self._number,
                copied=len(lines),
                stamp=self._now(),
                ended=behind,
            )
            rotation.make(self.path, header, lines)
            fresh = self._read_back()
            rotation.shift(self.path)
        except (OSError, JournalError) as error:
            if fresh is not None:
                fresh.close()
            with contextlib.suppress(OSError):
                files.newer(self.path).unlink()
            self._rotate_at = segment.end + self._segment_bytes // _RETRY_SHARE + 1
            self._is_settled = True
            logger.warning("%s cannot be rotated now, and goes on: %s", self.path, error)
            return
        for what in lost:
            logger.error("lost in the rotation of the journal: %s", what)
        fresh.path = self.path
        segment.index.close()
        self._segment = fresh
        self._older.insert(0, segment)
        self._drop(self._older[files.KEPT :])
        del self._older[files.KEPT :]
        for age, each in enumerate(self._older, 1):
            each.path = files.older(self.path, age)
        self._rotate_at = max(self._segment_bytes, 2 * fresh.end)
        self._is_settled = True
        logger.info("%s was rotated: %d lines went along", self.path, len(lines))

    def _read_back(self) -> Segment:
        """The next file, whole."""
        fresh = Segment.open(files.newer(self.path), os.O_RDWR | os.O_APPEND)
        try:
            damage = fresh.load()
            if damage:
                raise JournalError(f"what was written cannot be read back: {damage[0]}")
        except BaseException:
            fresh.close()
            raise
        return fresh

    # -- opening and closing

    def _open(self) -> Segment:
        """The file that is written to, loaded and mended, or begun; and those before it."""
        rotation.tidy(self.path)
        header = Header(
            executor=self.executor,
            identity=self.identity,
            incarnation=self.incarnation,
            first=self._number,
            copied=0,
            stamp=self._now(),
        )
        try:
            if not self.path.exists():
                rotation.make(self.path, header, ())
                rotation.establish(self.path)
        except OSError as error:
            raise files.failure("begun", self.path, error) from error
        segment = Segment.open(self.path, os.O_RDWR | os.O_APPEND)
        try:
            damage = segment.load()
            self._demand_own(segment)
            self.identity = _identity_in(segment) or self.identity
            segment.mend(header)
            self._older = [
                Segment.open(name, os.O_RDONLY)
                for name in (files.older(self.path, age + 1) for age in range(files.KEPT))
                if name.exists()
            ]
        except BaseException:
            segment.close()
            raise
        self.damage += map(str, damage)
        self._lost += sum(each.lines for each in damage)
        self._number = segment.next
        self._rotate_at = self._segment_bytes
        return segment

    def _demand_own(self, segment: Segment) -> None:
        owner = segment.index.executor or (segment.header.executor if segment.header else None)
        if owner not in (None, self.executor):
            raise JournalError(
                f"the journal {self.path} is executor {owner}'s, and this one is called "
                f"{self.executor}: whoever opens it goes on with {owner}'s requests, so call it "
                f"{owner}, or name another file"
            )

    def _recover(self, segment: Segment) -> None:
        """What is open, and the next incarnation."""
        index, history = segment.index, History()
        places = sorted(where for some in index.open.values() for where in some)
        for entry in segment.entries(places, self.damage.append):
            history.apply(entry)
        self.damage += map(str, history.problems)
        self.open_requests = list(history.open_requests())
        in_header = segment.header.incarnation if segment.header else 0
        before = max(self.incarnation, index.incarnation, in_header)
        # Any line that is lost may have opened one more.
        self.incarnation = before + self._lost + 1
        opened = Opened(self.executor, self.incarnation, self.identity)
        self._put(segment, [(opened, fields_text(opened))], synced=True)

    def _load_older(self, segment: Segment) -> None:
        if not segment.is_loaded and not segment.is_closed:
            try:
                for each in segment.load():
                    logger.warning("damage in the journal: %s", each)
            except JournalError as error:
                logger.warning("an older file of the journal is left out: %s", error)
                segment.close()
            segment.index.close()

    def _release(self) -> None:
        self._is_closed = True
        self._drop([self._segment, *self._older] if self._segment else [])
        self._lock.release()

    def _drop(self, segments: Sequence[Segment]) -> None:
        """These are not needed any more, but by whoever is reading them now."""
        self._dropped += segments
        self._close_dropped()

    def _close_dropped(self) -> None:
        if self._reading.acquire(blocking=False):
            try:
                while self._dropped:
                    self._dropped.pop().close()
            finally:
                self._reading.release()


def _identity_in(segment: Segment) -> str | None:
    """Whose lines these are, as the header says or the line of who opened it last.

    The executor's name, where it was opened and no identity was given. None if nobody can tell.
    """
    header, index = segment.header, segment.index
    said = (header.identity if header else None) or index.identity
    return said or index.executor or (header.executor if header else None)


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """A hundred thousand requests that all stay are gone through again and again otherwise.

    Measured: half of the time it takes to read them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
