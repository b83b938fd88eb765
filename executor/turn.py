"""What one turn of the keeper comes to: lines, messages and ends, in the order they are done.

Decided here: what becomes of an effect whose future has been cancelled meanwhile. Its dispatch is
dropped with its line, before anything is written; the beginning of its run, and its end, find it
cancelled, and so will the journal say. Everything else is the ledger's to decide, and the keeper's
to do. Keeper's thread; nothing is written, sent or set here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from executor import outcomes
from executor.effects import (
    Begin,
    Dispatch,
    Effect,
    Error,
    Outcome,
    Publish,
    Record,
    Resolve,
    Rest,
    Superseded,
    Tell,
    Withdrawn,
)
from executor.future import Future
from protocol.errors import ExecutorSuperseded, ResultLost
from protocol.events import Ended, Event, Progress
from protocol.parcel import Parcel
from protocol.values import Json, dumps

#: More than a line has around a value, in bytes.
_AROUND: Final = 4096


@dataclass(slots=True, eq=False)
class Open:
    """An open request, as the client's side knows it: its future and who listens to its events."""

    future: Future[Json]
    on_progress: Callable[[float, dict[str, Json]], object] | None = None
    on_event: Callable[[str, dict[str, Json]], object] | None = None
    #: Which of the executors on this engine it was submitted to.
    via: object = None


class Requests:
    """Every request whose future may still be asked for, by uuid: open, or not settled yet."""

    __slots__ = ("ended", "open", "unsettled")

    def __init__(self, ended: Callable[[Ended, Future[Json]], None] | None = None) -> None:
        #: In the order they were submitted. A caller adds before it puts the order; the deliverer
        #: removes what it has set, the keeper what was cancelled.
        self.open: dict[str, Open] = {}
        #: Cancelled, and not yet proven that no worker will start it. Keeper only, but for reading.
        self.unsettled: dict[str, Future[Json]] = {}
        #: Told of each end: the line, and its future, not set yet. Keeper's thread.
        self.ended = ended

    def __len__(self) -> int:
        return len(self.open) + len(self.unsettled)

    def entries(self, via: object = None) -> list[Open]:
        """Those that are open: all, or those of one executor. Any thread."""
        entries = self.open.copy().values()  # other threads add and remove meanwhile
        return [entry for entry in entries if via is None or entry.via is via]


class Asked(Protocol):
    """What the ledger is told of what was found at the door."""

    def withdrawn(self, uuid: str, now: float, /) -> list[Effect]:
        """It was cancelled before its first dispatch was done."""

    def cancelled(self, uuid: str, force: bool, now: float, /) -> list[Effect]:
        """It was cancelled before it was known to run."""


def _uuid_of(effect: Effect) -> str | None:
    """The request it is about, if it is about one."""
    if isinstance(effect, Record):
        return getattr(effect.event, "uuid", None)
    if isinstance(effect, Publish):
        return effect.parcel.envelope.correlation_id
    return getattr(effect, "uuid", None)


class Turn:
    """Gathered first, then done by the keeper: ``lines``, ``close()``, ``parcels``, ``news``."""

    __slots__ = (
        "_cancelled",
        "_ended",
        "_progress",
        "_requests",
        "_rests",
        "_settled",
        "crowd",
        "lines",
        "news",
        "parcels",
        "superseded",
    )

    def __init__(self, requests: Requests, cancelled: Iterable[str] = ()) -> None:
        """``cancelled``: of which the callers have said so in this turn."""
        self._requests = requests
        self._cancelled = cancelled
        self._ended: set[str] = set()
        #: Of which the run has failed, and another follows.
        self._rests: set[str] = set()
        #: The futures of what was cancelled before, and is settled now.
        self._settled: dict[str, Future[Json]] = {}
        #: The journal's, written before anything below is done.
        self.lines: list[Event] = []
        self.parcels: list[Parcel] = []
        #: For the deliverer: what running tasks said, and ends as (uuid, outcome).
        self.news: list[Tell | tuple[str, Outcome]] = []
        #: How far tasks said they are, each with how many lines came before it.
        self._progress: list[tuple[int, Progress]] = []
        #: How many workers are known now, if that has changed.
        self.crowd: int | None = None
        #: Why nothing more will be done for us, if that was found out now.
        self.superseded: ExecutorSuperseded | None = None

    def gather(self, effects: Iterable[Effect], ledger: Asked, now: float) -> None:
        """Take these up, and what the ledger makes of those that turn out to be cancelled."""
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            if self._ended and _uuid_of(effect) in self._ended:
                continue  # decided before the ledger knew that it had ended
            if isinstance(effect, Resolve):
                self._resolve(effect)
            elif isinstance(effect, Dispatch):
                if effect.attempt == 1 and self._is_cancelled(effect.uuid):
                    todo.extend(ledger.withdrawn(effect.uuid, now))
                    self._resolve(Resolve(effect.uuid, Withdrawn()))
                else:
                    self.lines.append(effect.event)
                    self.parcels.append(effect.parcel)
            elif isinstance(effect, Record):
                self.lines.append(effect.event)
            elif isinstance(effect, Begin):
                self._rests.discard(effect.uuid)
                if not self._begins(effect.uuid):
                    todo.extend(ledger.cancelled(effect.uuid, False, now))
            elif isinstance(effect, Publish):
                self.parcels.append(effect.parcel)
            elif isinstance(effect, Rest):
                self._rests.add(effect.uuid)
            elif isinstance(effect, Tell):
                self.news.append(effect)
                if (said := effect.progress) is not None:
                    self._progress.append((len(self.lines), Progress(effect.uuid, *said)))
            elif isinstance(effect, Superseded):
                self.superseded = effect.error
            else:
                self.crowd = effect.workers

    def happened(self) -> Iterator[Event]:
        """The lines, and between them how far tasks said they are."""
        at = 0
        for before, said in self._progress:
            yield from self.lines[at:before]
            yield said
            at = before
        yield from self.lines[at:]

    def shed(self, most: int) -> bool:
        """Let what a line of ``most`` bytes cannot hold end as lost; whether there was any."""
        shed: dict[str, Outcome] = {}
        for n, line in enumerate(self.lines):
            if isinstance(line, Ended) and line.outcome in ("success", "failure"):
                size = len(dumps(line.value)) + _AROUND
                if size > most:
                    error = ResultLost(
                        f"request {line.uuid} has ended, and its result of {size / 2**20:.1f} MiB "
                        f"is larger than the {most / 2**20:.0f} MiB a journal's line can hold: "
                        "have the task put it into a file, and return its name",
                        request_uuid=line.uuid,
                    )
                    shed[line.uuid] = Error(error)
                    self.lines[n] = outcomes.to_event(
                        line.uuid, Error(error), line.worker, is_dead=line.dead
                    )
        for n, news in enumerate(self.news):
            if isinstance(news, tuple) and news[0] in shed:
                self.news[n] = (news[0], shed[news[0]])
        return bool(shed)

    def close(self, stamp: float) -> None:
        """The lines are written: what they say is so for the futures as well.

        What its caller has cancelled is not open any more, and what is run again waits. ``stamp``:
        seconds since 1970.
        """
        requests = self._requests
        for line in self.lines:
            uuid = getattr(line, "uuid", None)
            if uuid is None:
                continue
            entry = requests.open.get(uuid)
            future = entry.future if entry is not None else requests.unsettled.get(uuid)
            if future is None:
                future = self._settled.get(uuid)
            if future is not None:
                future.note(stamp, line)
        for uuid in self._rests:
            if (entry := requests.open.get(uuid)) is not None:
                entry.future.rest()
        for uuid in self._cancelled:
            entry = requests.open.get(uuid)
            if entry is None or uuid in self._ended or not entry.future.cancelled():
                continue  # it runs, and is to be stopped; or it has ended, and the deliverer knows
            requests.unsettled[uuid] = entry.future
            requests.open.pop(uuid, None)

    def _is_cancelled(self, uuid: str) -> bool:
        entry = self._requests.open.get(uuid)
        if entry is None:
            return True
        if not entry.future.cancelled():
            return False
        entry.future.begin()  # tells those who wait on several futures
        return True

    def _begins(self, uuid: str) -> bool:
        """Whether its future agrees to run, so that it is cancelled by force only from now on."""
        entry = self._requests.open.get(uuid)
        if entry is None:
            return uuid not in self._requests.unsettled
        return entry.future.begin() or not entry.future.cancelled()

    def _resolve(self, effect: Resolve) -> None:
        """One end: the line says what the future agreed to."""
        uuid, outcome = effect.uuid, effect.outcome
        requests = self._requests
        self._ended.add(uuid)
        self._rests.discard(uuid)
        entry = requests.open.get(uuid)
        future = entry.future if entry is not None else requests.unsettled.pop(uuid, None)
        if entry is None and future is not None:
            self._settled[uuid] = future
        # One that expired before it was sent is still cancellable until this moment.
        if future is not None and not isinstance(outcome, Withdrawn):
            outcome = outcome if future.begin() or not future.cancelled() else Withdrawn()
        ended = outcomes.to_event(uuid, outcome, effect.worker, is_dead=effect.is_dead)
        self.lines.append(ended)
        if future is not None and requests.ended is not None:
            requests.ended(ended, future)
        if entry is not None:
            self.news.append((uuid, outcome))
