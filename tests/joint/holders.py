"""Who is known to hold what: as an executor has heard it, and for as long as that counts.

A dispatch is *confirmed* when a digest lists it, or the first word of its run arrives; until its
worker gives it back, throws its result away, denies it, is silent for a lease, or has ended.
``promises`` tells what is heard, and asks whether what is sent elsewhere is confirmed.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from protocol import tickets
from protocol.envelope import Header
from protocol.events import Dispatched, Over
from protocol.messages import Dropped, Held, Release, Response
from protocol.parcel import Received
from protocol.states import EVENT, FAILURE, RUNNING
from protocol.timing import BEAT, lease

#: Less than any two moments of a walk are apart, in seconds.
_MOMENT = 1e-3

#: A boot and a ticket of the present executor there.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sent:
    """One dispatch."""

    uuid: str
    attempt: int


class Holders:
    """What the present executor has heard."""

    def __init__(self) -> None:
        self._sent_as: dict[Place, Sent] = {}
        #: When each cannot be started any more, in its worker's clock.
        self._start_by: dict[Place, int] = {}
        self._confirmed: dict[Place, Sent] = {}
        #: Those of them that run or have ended, as far as the executor can know.
        self._running: set[Place] = set()
        #: Whose end has been heard: an older digest that says that it runs is old news.
        self._ended: set[Place] = set()
        #: Proven not to have been started, or to be thrown away, whatever is heard of them later.
        self._closed: set[Sent] = set()
        #: Said to run, or listed, once: a RUNNING that comes now may be a copy of long ago.
        self._ran: set[Place] = set()
        #: Boots that are known to have ended: what still comes of them changes nothing.
        self._dead: set[str] = set()
        #: When each was heard last, its beat, the highest of its clock, and that of its newest
        #: digest. What is not newer than was heard already may be a copy, and is no sign of life.
        self._heard: dict[str, float] = {}
        self._beats: dict[str, float] = {}
        self._latest: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def of(self, boot: str, ticket: str) -> Sent | None:
        """The dispatch under this ticket, if it is not closed."""
        sent = self._sent_as.get((boot, ticket))
        return None if sent in self._closed else sent

    def written(self, event: Dispatched | Over) -> None:
        """A line of the journal."""
        sent = Sent(event.uuid, event.attempt)
        if isinstance(event, Dispatched):
            assert event.boot is not None
            assert event.ticket is not None
            self._sent_as[event.boot, event.ticket] = sent
            self._start_by[event.boot, event.ticket] = event.start_by or 0
        elif event.reason != "lost":
            self._closed.add(sent)

    def anew(self) -> None:
        """Another executor, which knows nothing of the one before."""
        for memory in (self._sent_as, self._start_by, self._confirmed, self._told, self._latest):
            memory.clear()
        self._ran.clear()
        self._running.clear()
        self._ended.clear()

    def restarted(self, knows: Container[Sent]) -> None:
        """The executor begins again, and knows by its journal that these run."""
        self._latest.clear()
        self._running = {place for place in self._running if self._sent_as.get(place) in knows}

    def who_has(self, sent: Sent, now: float, *, but: str | None, runs: bool = False) -> str | None:
        """The boot that is confirmed to have this, or to run it, and lives within its lease."""
        for place, held in self._confirmed.items():
            boot, _ = place
            if runs and place not in self._running:
                continue
            if held == sent and boot != but and not self._is_out(boot, now):
                return boot
        return None

    def gone(self, boot: str) -> None:
        """This process has ended, and the executor knows."""
        self._dead.add(boot)
        self._forget(boot)

    def heard(self, received: Received, now: float) -> None:
        """The executor takes this from the broker."""
        header = received.envelope.header
        if header is None or header.boot is None:
            return
        if header.replaces is not None:  # as true from one that has ended since
            self.gone(header.replaces)
        if header.boot in self._dead:
            return
        boot, message = header.boot, received.message
        if self._is_out(boot, now):
            self._forget(boot)  # what it holds has been given up, until it says so again
        if header.clock is not None and header.clock > self._latest.get(boot, -1):
            self._heard[boot] = now
            self._latest[boot] = header.clock
            if header.beat is not None:
                self._beats[boot] = header.beat / 1000
        if isinstance(message, Response):
            self._answered(boot, header, message)
        elif isinstance(message, Held):
            if (header.clock or 0) >= self._told.get(boot, 0):  # else another has overtaken it
                self._told[boot] = header.clock or 0
                self._listed(boot, message, header.clock or 0)
        elif isinstance(message, Release):
            for text, _ in message.items:
                self._deny(boot, text)
        elif isinstance(message, Dropped):
            self._deny(boot, message.tickets)

    def _answered(self, boot: str, header: Header, message: Response) -> None:
        assert header.tickets is not None
        if message.state == FAILURE:
            self._deny(boot, header.tickets)
            self._ended.update((boot, str(ticket)) for ticket in tickets.parse(header.tickets))
        elif message.state in (RUNNING, EVENT) and (boot, header.tickets) not in self._ran:
            self._confirm(boot, header.tickets, runs=True)

    def _listed(self, boot: str, held: Held, clock: int) -> None:
        """What it lacks past its start-by is proven not to have been started, whatever comes of it.

        (As a REQUEST that comes after that, for one that runs there as an earlier attempt.)
        """
        self._forget(boot)
        listed: set[str] = set()
        for text, runs in ((held.queued, False), (held.running, True), (held.ended, True)):
            for ticket in tickets.parse(text) if text else ():
                listed.add(str(ticket))
                self._confirm(boot, str(ticket), runs=runs)
        for place, start_by in self._start_by.items():
            if place[0] == boot and start_by <= clock and place[1] not in listed:
                self._closed.add(self._sent_as[place])

    def _confirm(self, boot: str, ticket: str, *, runs: bool) -> None:
        self._ran.add((boot, ticket))
        sent = self.of(boot, ticket)
        if sent is not None:
            self._confirmed[boot, ticket] = sent
            if runs and (boot, ticket) not in self._ended:
                self._running.add((boot, ticket))

    def _deny(self, boot: str, text: str) -> None:
        for ticket in tickets.parse(text):
            self._confirmed.pop((boot, str(ticket)), None)
            self._running.discard((boot, str(ticket)))

    def _forget(self, boot: str) -> None:
        for place in [place for place in self._confirmed if place[0] == boot]:
            del self._confirmed[place]
            self._running.discard(place)

    def _is_out(self, boot: str, now: float) -> bool:
        """Whether it has been silent for a lease."""
        until = self._heard.get(boot, now) + lease(self._beats.get(boot, BEAT))
        return now >= until - _MOMENT
