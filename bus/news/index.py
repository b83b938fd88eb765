"""Where in a file the lines of each request are, so that the file itself need not be in memory.

Decided here: which lines are needed to know all of what is open, and hence go along into the next
file (:meth:`Index.needed`); which ended requests with a key do; what is remembered of the others,
which is a number and its lines' places, some fifty bytes each.

It goes by a line's beginning (``line.PREFIX``) and parses only what is rare. What a line *means*
is ``protocol.history``'s: of a request's lines all are kept, fitting or not, and folded when it is
asked for.

Not thread-safe: the journal's lock is around it.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bus.news.line import MAX_LINE, to_entry
from bus.news.open_jobs import OpenJobs
from bus.news.scan import Line
from protocol.errors import MessageRefused
from protocol.events import (
    Cancelled,
    Closed,
    Discarded,
    Dispatched,
    Ended,
    Event,
    Opened,
    Over,
    Progress,
    Round,
    Running,
    Submitted,
    WorkerGone,
    WorkerSeen,
)

MAX_KEYS: Final = 10_000  # ended requests with a key that go along into the next file

#: The key of a request, where nothing but numbers and the like is between it and the line's end: a
#: member of an argument that is called so is followed by a brace. One that JSON must escape is not
#: found by it.
_KEY: Final = re.compile(
    rb',"key":"([^"\\]*)"(?:,"[a-z_]+":(?:-?[0-9][0-9.e+-]*|true|false|null))*,"c":"[0-9a-f]{8}"\}$'
)
_KEY_STARTS: Final = b',"key":'
#: What a line may have near its end: a request that repeats a dead letter, the end of one. Where it
#: is something else that is found, parsing it costs a moment.
_RARE: Final = {b"submitted": b',"repeats":"', b"ended": b',"dead":true'}
_NEAR: Final = 256  # bytes

_BLOCK: Final = 16_384  # hashes that are sorted in at once
_LENGTH_BITS: Final = MAX_LINE.bit_length()
_LENGTH: Final = (1 << _LENGTH_BITS) - 1

#: A line's place: its offset and its length, in one int that sorts by the offset.
Place = int


def place(offset: int, length: int) -> Place:
    """``length`` with the line end."""
    return offset << _LENGTH_BITS | length


def spot(where: Place) -> tuple[int, int]:
    """Offset and length, as they were put in."""
    return where >> _LENGTH_BITS, where & _LENGTH


class Index:
    """One file."""

    def __init__(self) -> None:
        #: Of each open request, in the order in which they were submitted.
        self.open: dict[str, array[int]] = {}
        #: Of each key of an open request the newest one's uuid.
        self.open_keys: dict[str, str] = {}
        #: Requests that have ended, by outcome.
        self.outcomes: Counter[str] = Counter()
        #: The highest incarnation that was opened.
        self.incarnation = 0
        #: The executor's name and identity, as it was opened last.
        self.executor: str | None = None
        self.identity: str | None = None
        self._key_of: dict[str, str] = {}
        self._opened: list[Place] = []
        self._workers: dict[tuple[str, str | None], Place] = {}
        self._jobs = OpenJobs()
        #: Of each ended request: how many lines it has, and then their places.
        self._places = array("Q")
        #: Hash of a uuid, or of a key → where in that array its request begins.
        self._by_uuid = _Table()
        self._by_key = _Table()
        #: Keys whose request has ended, and how: the newest ends, the oldest of them first.
        self._ended_keys: dict[str, str] = {}
        #: Dead letters: where in ``_places`` each begins, and how it ended.
        self._dead: dict[str, tuple[int, str]] = {}
        #: Of those that are none any more: the line that says so.
        self._last: dict[str, Place] = {}

    def add(self, line: Line) -> None:
        """A line that was read."""
        word, uuid, outcome = line.match.group(2, 3, 4)
        where = place(line.offset, len(line.raw) + 1)
        if uuid is not None and word == b"discarded":
            self._seen_to(uuid.decode(), where)
        elif (rare := _RARE.get(word)) is not None and rare in line.raw[-_NEAR:]:
            self._parsed(line, where)
        elif uuid is not None and word != b"submitted":
            how = outcome.decode() if outcome is not None and word == b"ended" else None
            self._about(uuid.decode(), where, how)
        elif uuid is not None and (at := line.raw.rfind(_KEY_STARTS)) < 0:
            self._submitted(uuid.decode(), None, where)
        elif uuid is not None and (key := _KEY.match(line.raw, at)) is not None:
            self._submitted(uuid.decode(), key[1].decode(), where)
        else:
            self._parsed(line, where)

    def _parsed(self, line: Line, where: Place) -> None:
        try:
            self.note(to_entry(line.raw).event, where)
        except MessageRefused:
            pass  # of a later version, and about no request: whoever reads it is told

    def note(self, event: Event, where: Place) -> None:
        """A line with this event, just written or read."""
        if isinstance(event, Submitted):
            self._submitted(event.uuid, event.key, where)
            if event.repeats is not None:
                self._seen_to(event.repeats, where)
        elif isinstance(event, Ended):
            self._about(event.uuid, where, event.outcome, is_dead=event.dead)
        elif isinstance(event, Discarded):
            self._seen_to(event.uuid, where)
        elif isinstance(event, Opened):
            self._opened = [where]
            self._workers.clear()
            self.executor = event.executor
            self.identity = event.identity
            self.incarnation = max(self.incarnation, event.incarnation)
        elif isinstance(event, Closed):
            self._opened.append(where)
        elif isinstance(event, WorkerSeen):
            self._workers[event.worker, event.boot] = where
        elif isinstance(event, WorkerGone):
            self._workers.pop((event.worker, event.boot), None)
        elif isinstance(event, (Dispatched, Running, Progress, Over, Round, Cancelled)):
            self._about(event.uuid, where, None)
        else:
            self._jobs.note(event, where)

    def find(self, uuid: str) -> Sequence[Place]:
        """The places of a request's lines, in their order; none if it is not here.

        One that has ended is found by a hash: who reads the lines sees whether it is the one.
        """
        found = self.open.get(uuid) or self._ended(self._by_uuid.find(hash(uuid)))
        last = self._last.get(uuid)
        return found if last is None else [*found, last]

    def find_key(self, key: str) -> Sequence[Place]:
        """The same, of the newest request with this key."""
        uuid = self.open_keys.get(key)
        return self.open[uuid] if uuid else self._ended(self._by_key.find(hash(key)))

    def needed(self, key_bytes: int) -> tuple[list[Place], Counter[str]]:
        """The lines that go along into the next file, in their order; and by outcome, who does not.

        Those of the executor, of the workers that are there, of every open request and job and
        every dead letter; and of ended requests with a key the newest, up to ``MAX_KEYS`` and
        ``key_bytes``.
        """
        found = [*self._opened, *self._workers.values(), *self._jobs.needed()]
        for places in self.open.values():
            found.extend(places)
        behind = Counter(self.outcomes)
        dead = set()
        for start, outcome in self._dead.values():
            found.extend(self._ended(start))
            behind[outcome] -= 1
            dead.add(start)
        for key, outcome in reversed(self._ended_keys.items()):
            at = self._by_key.find(hash(key))
            if at in dead:
                continue
            taken = self._ended(at)
            key_bytes -= sum(spot(where)[1] for where in taken)
            if key_bytes < 0:
                break
            found.extend(taken)
            behind[outcome] -= 1
        return sorted(set(found)), behind

    def close(self) -> None:
        """The file is not written to any more: what is open has gone along into the next one."""
        self.open = {}
        self.open_keys = {}
        self._key_of = {}
        self._ended_keys = {}
        self._dead = {}
        self._jobs = OpenJobs()

    def _submitted(self, uuid: str, key: str | None, where: Place) -> None:
        places = self.open.setdefault(uuid, array("Q"))
        places.append(where)
        if key is not None and len(places) == 1:
            self.open_keys[key] = uuid
            self._key_of[uuid] = key
            self._ended_keys.pop(key, None)

    def _seen_to(self, uuid: str, where: Place) -> None:
        """A line by which this is no dead letter any more, if it was one."""
        if self._dead.pop(uuid, None) is not None:
            self._last[uuid] = where

    def _about(
        self, uuid: str, where: Place, outcome: str | None, *, is_dead: bool = False
    ) -> None:
        """A line about a request that was submitted; of any other it is nothing here."""
        places = self.open.get(uuid)
        if places is None:
            return
        places.append(where)
        if outcome is None:
            return
        start = len(self._places)
        self._places.append(len(places))
        self._places.extend(places)
        self._by_uuid.add(hash(uuid), start)
        self.outcomes[outcome] += 1
        if is_dead:
            self._dead[uuid] = start, outcome
        del self.open[uuid]
        key = self._key_of.pop(uuid, None)
        if key is None:
            return
        if self.open_keys.get(key) == uuid:
            del self.open_keys[key]
            self._by_key.add(hash(key), start)
            self._ended_keys[key] = outcome
            if len(self._ended_keys) > MAX_KEYS:
                del self._ended_keys[next(iter(self._ended_keys))]

    def _ended(self, start: int | None) -> Sequence[Place]:
        return () if start is None else self._places[start + 1 : start + 1 + self._places[start]]


class _Table:
    """Hash → number, sixteen bytes each: sorted arrays, and a few thousand not sorted in yet."""

    def __init__(self) -> None:
        self._blocks: list[tuple[array[int], array[int]]] = []
        self._recent: dict[int, int] = {}

    def add(self, hashed: int, number: int) -> None:
        """The newest counts."""
        self._recent[hashed] = number
        if len(self._recent) >= _BLOCK:
            hashes = array("q", sorted(self._recent))
            self._blocks.append((hashes, array("Q", map(self._recent.__getitem__, hashes))))
            self._recent = {}

    def find(self, hashed: int) -> int | None:
        if hashed in self._recent:
            return self._recent[hashed]
        for hashes, numbers in reversed(self._blocks):
            near = bisect_left(hashes, hashed)
            if near < len(hashes) and hashes[near] == hashed:
                return numbers[near]
        return None
