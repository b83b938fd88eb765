"""The workers heard from: what they offer, how much more they take, when they last spoke.

Decided here: who is known, who counts as dead, and who is sent a request. A native worker is one
process (its boot) with a credit; a taskflow worker is a topic, because its answers name nothing
else: the last answer on a topic wins, as in taskflow's own finder.

On a broker without signatures anybody can say that he is a worker. Whoever has answered under the
uuid of a request has read it, and is *proven*: no guess brings that about. While somebody proven is
there, nobody else is given more than one request, nor any that was lost twice; and what a message
says with an older clock than was heard already is no sign of life: it may be a copy.

What a request says it needs is promised once: of what a worker has told to be free for us, all that
it was sent and may still hold is taken off. Who runs it keeps to that as well, and gives back what
others were quicker with.

Who falls silent for a lease is forgotten, but not its tickets and its inbox: it may come back. Who
holds something that is waited for is watched even if it has told us nothing of itself yet: a worker
known from the journal, or one that spoke up again about a run.

Owned by the ledger, on the keeper's thread; time is handed in.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from protocol.envelope import BATCH, CAPS, RESOURCES, STOPS, Header
from protocol.resources import NOTHING, NodeReport, Requirements, Resources, report_from_json
from protocol.tickets import Ticket
from protocol.timing import BEAT, CLOCK_RATE_DRIFT, MAX_BEAT, WORKER_EXPIRY, lease
from protocol.topology import Dialect, is_addressable

if TYPE_CHECKING:
    from executor.request import Attempt

#: Forgotten workers whose numbers are kept, in case they come back: tickets are never used twice.
MAX_FORGOTTEN: Final = 10_000

#: Worker processes that are known at once, and what the names of all they offer may take together,
#: in bytes: a stranger can say that he is as many as he likes.
MAX_KNOWN: Final = 10_000
#: Of those, so many that have not answered a request yet: each is looked at for each dispatch.
MAX_STRANGERS: Final = 1_000
MAX_OFFERED: Final = 32 * 1024 * 1024

_NAME: Final = 64  # bytes a name takes besides its letters
_SAMPLES: Final = 8  # of a worker's clock, the latest; the largest of them is the earliest start-by


class Peer:
    """One worker we have heard from."""

    __slots__ = (
        "_ahead",
        "beat",
        "caps",
        "clocks",
        "credit",
        "dialect",
        "doubtful",
        "forgotten",
        "grace",
        "has_failed",
        "heard",
        "inbox",
        "is_dead",
        "is_ignored",
        "is_proven",
        "key",
        "last_ticket",
        "latest",
        "name",
        "noted",
        "open",
        "report",
        "said",
        "slots",
        "spoke",
        "told",
        "topics",
        "used",
    )

    def __init__(self, key: str, dialect: Dialect, name: str) -> None:
        #: Its boot (native) or its topic (taskflow).
        self.key = key
        self.dialect: Dialect = dialect
        self.name = name
        #: ``{topic: wire names of the tasks offered on it}``.
        self.topics: dict[str, frozenset[str]] = {}
        #: Routing key of its inbox; None for taskflow.
        self.inbox: str | None = None
        #: Unfinished requests it takes; None: as many as one likes (taskflow).
        self.credit: int | None = None
        self.slots: int | None = None
        #: Kinds and abilities it announced; None: none yet, and those it had before are meant.
        self.caps: frozenset[str] | None = None
        #: Seconds within which it is heard from.
        self.beat = BEAT
        #: When it last said anything, in our clock; and the same without the time in which nobody
        #: could be heard, from which its lease counts.
        self.spoke = 0.0
        self.heard = 0.0
        #: When we forgot it for its silence.
        self.forgotten = 0.0
        #: Seconds it may be silent beyond its lease: it may still be on its way back to the broker.
        self.grace = 0.0
        #: Its process has provably ended: nothing more is sent there.
        self.is_dead = False
        #: It has answered a request, which it must have read for that.
        self.is_proven = False
        #: What it tells of its machine; None: nothing, or it has not answered yet.
        self.report: NodeReport | None = None
        #: What of that is promised to what is open or doubtful here.
        self.used = NOTHING
        #: Nothing more is sent there, as its user has asked.
        self.is_ignored = False
        #: It was sent a request, and has not answered in time.
        self.has_failed = False
        #: Attempts sent to it that are waited for, or that it says it has: these use its credit.
        self.open: dict[Ticket | str, Attempt] = {}
        #: Those given up, of which it has not said since whether it has them.
        self.doubtful: dict[Ticket | str, Attempt] = {}
        #: Topics and slots as they were last noted in the journal; None: not there, or gone.
        self.noted: tuple[list[str], int | None] | None = None
        self.last_ticket = 0
        #: The highest that was heard of its clock, in milliseconds.
        self.latest = -1
        #: Its clock in the newest answer, in milliseconds: what it said before that is out of date.
        self.said = 0
        #: The same of the newest digest.
        self.told = 0
        #: Latest samples of its clock: (its clock − ours), in seconds, plus what a slow clock may
        #: fall back in the time until then, so that an older one counts for less.
        self.clocks: deque[float] = deque(maxlen=_SAMPLES)
        #: The largest of them, which is off by least.
        self._ahead = 0.0

    @property
    def is_native(self) -> bool:
        """Whether it speaks our dialect."""
        return self.dialect == "native"

    @property
    def room(self) -> float:
        """How many more requests it takes now."""
        return float("inf") if self.credit is None else self.credit - len(self.open)

    @property
    def trust(self) -> int:
        """How sure it is that somebody is there who does what he is sent."""
        return 2 if self.is_proven else 0 if self.has_failed else 1

    @property
    def is_leaving(self) -> bool:
        """Whether it has said goodbye: it offers nothing any more, and takes nothing."""
        return self.credit == 0 and not any(self.topics.values())

    @property
    def can_stop(self) -> bool:
        """Whether it can end a task that runs, as far as is known."""
        return self.is_native and (self.caps is None or STOPS in self.caps)

    @property
    def takes_batches(self) -> bool:
        """Whether it has said that it reads several messages as one."""
        return self.caps is not None and self.understands(BATCH)

    def understands(self, kind: str) -> bool:
        """Whether it announced this kind beyond taskflow's; at a worker that is there at all."""
        if not self.is_native or self.is_dead:
            return False
        return kind.lower() in (CAPS if self.caps is None else self.caps)

    def is_in_time(self, now: float) -> bool:
        """Whether it has been heard from within its beat. taskflow's workers have none."""
        return not self.is_native or now - self.heard <= self.beat

    def suits(
        self,
        named_only: bool,
        must_stop: bool,
        needs: Requirements | None = None,
        worker: str | None = None,
    ) -> bool:
        """Whether it can take what has these needs, now or later (see ``lanes.LaneKey``)."""
        if self.is_ignored or (worker is not None and worker != self.name):
            return False
        if needs is not None and not self.could_hold(needs):
            return False
        return self.can_stop if must_stop else self.is_native or named_only

    def could_hold(self, needs: Requirements) -> bool:
        """Whether its machine is large enough, and may be interrupted only where that may be."""
        report = self.report
        return (
            report is not None
            and self.caps is not None
            and RESOURCES in self.caps
            and (needs.preemptible or not report.preemptible)
            and report.have.holds(needs.amount)
        )

    @property
    def free(self) -> Resources:
        """What of its machine is left for us."""
        if self.report is None:
            return NOTHING
        told = self.report.free
        return (self.report.have if told is None else told).minus(self.used)

    @property
    def node(self) -> str | None:
        """The name of its machine, if it tells that."""
        return None if self.report is None else self.report.node

    @property
    def attempts(self) -> list[Attempt]:
        """Those sent to it of which something may still be there."""
        return [*self.open.values(), *self.doubtful.values()]

    def find(self, ticket: Ticket) -> Attempt | None:
        """The one of these under this ticket."""
        return self.open.get(ticket) or self.doubtful.get(ticket)

    def take(self, attempt: Attempt) -> None:
        """It has this one, or is about to."""
        handle = attempt.handle
        if attempt.needs is not None and not (handle in self.open or handle in self.doubtful):
            self.used = self.used.plus(attempt.needs)
        self.doubtful.pop(handle, None)
        self.open[handle] = attempt

    def doubt(self, attempt: Attempt) -> None:
        """Whether it has this one, nobody knows."""
        if self.open.pop(attempt.handle, None) is not None:
            self.doubtful[attempt.handle] = attempt

    def drop(self, attempt: Attempt) -> None:
        """Nothing of this one is there any more, or is of any interest."""
        handle = attempt.handle
        was_open = self.open.pop(handle, None) is not None
        was_doubtful = self.doubtful.pop(handle, None) is not None
        if attempt.needs is not None and (was_open or was_doubtful):
            self.used = self.used.minus(attempt.needs)

    def offers(self, task: str, topics: Iterable[str]) -> str | None:
        """The first of these topics on which it offers the task."""
        for topic in topics:
            if task in self.topics.get(topic, ()):
                return topic
        return None

    def next_ticket(self, incarnation: int) -> Ticket:
        """A ticket of its own for one more dispatch."""
        self.last_ticket += 1
        return Ticket(incarnation, self.last_ticket)

    def start_by(self, now: float, window: float) -> int:
        """``now + window`` in the worker's own clock, in milliseconds, rather early than late.

        Each sample is late by the time its message travelled; the largest is off by least. But a
        slow clock has fallen back since: by as much as it may, an old sample counts for less.
        """
        return max(0, int((self._ahead - now * CLOCK_RATE_DRIFT + now + window) * 1000))

    def read_clock(self, clock: int, now: float) -> None:
        """Its clock says that, in milliseconds; one more sample."""
        self.clocks.append(clock / 1000 - now + now * CLOCK_RATE_DRIFT)
        self._ahead = max(self.clocks)

    @property
    def expiry(self) -> float:
        """How long it may be silent, in seconds."""
        return lease(self.beat) if self.is_native else WORKER_EXPIRY

    @property
    def silent_at(self) -> float:
        """When it will have been silent for too long."""
        return self.heard + self.expiry + self.grace

    def speaks(self, now: float) -> None:
        """It has been heard from."""
        self.spoke = now
        self.lives(now)

    def lives(self, now: float) -> None:
        """It has a lease from now on."""
        self.heard = now
        self.grace = 0.0


class _Best:
    """Those of the highest rank, of all that were added."""

    __slots__ = ("_found", "_rank")

    def __init__(self) -> None:
        self._rank: tuple[bool, bool, int, float] = (False, False, 0, 0.0)
        self._found: list[tuple[Peer, str]] = []

    def add(self, rank: tuple[bool, bool, int, float], peer: Peer, topic: str) -> None:
        """One more."""
        if rank > self._rank or not self._found:
            self._rank, self._found = rank, [(peer, topic)]
        elif rank == self._rank:
            self._found.append((peer, topic))

    def one(self) -> tuple[Peer, str] | None:
        """One of them, by chance."""
        found = self._found
        return random.choice(found) if len(found) > 1 else found[0] if found else None


class Directory:
    """All peers. Keeper only."""

    def __init__(self) -> None:
        self._peers: dict[tuple[Dialect, str], Peer] = {}
        #: Those that fell silent or left, the latest ``MAX_FORGOTTEN``. They may come back.
        self._forgotten: dict[tuple[Dialect, str], Peer] = {}
        #: What the names of all they offer take, in bytes, near enough.
        self._offered = 0
        #: Machines, or workers, by name, to which nothing more is sent.
        self._ignored: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many have told what they offer."""
        return sum(1 for peer in self._peers.values() if peer.topics)

    def __iter__(self) -> Iterator[Peer]:
        return (peer for peer in self._peers.values() if peer.topics)

    def native(self, boot: str) -> Peer | None:
        """The native worker process of this boot, if it is known or watched."""
        return self._peers.get(("native", boot))

    def find(self, boot: str) -> Peer | None:
        """The same, if it was known once."""
        return self._find("native", boot)

    def taskflow(self, topic: str) -> Peer | None:
        """The taskflow worker of this topic, if it is known."""
        return self._peers.get(("taskflow", topic))

    def touch(self, header: Header | None, now: float) -> Peer | None:
        """Any message from a native worker is a beat. The peer, if it is known.

        But for one that was said before what has been heard already, or is a copy of that: it is
        late, and tells nothing of its clock either.
        """
        if header is None or header.boot is None:
            return None
        peer = self.native(header.boot)
        clock = header.clock
        if peer is None or clock is None:
            return peer
        if clock > peer.latest:
            peer.speaks(now)
            peer.latest = clock
            peer.read_clock(clock, now)
            if header.beat is not None:
                peer.beat = min(header.beat / 1000, MAX_BEAT)
        if header.credit is not None and clock >= max(peer.said, peer.latest):
            peer.credit = header.credit
        return peer

    def has_room(self, topic: str, tasks: Collection[str], header: Header | None) -> bool:
        """Whether what an answer says can be remembered: so many workers, or names, are not."""
        boot = topic if header is None else header.boot or ""
        peer = self._peers.get(("taskflow" if header is None else "native", boot))
        before = 0 if peer is None else _weight(peer.topics.get(topic, ()))
        if self._offered - before + _weight(tasks) > MAX_OFFERED:
            return False
        if peer is not None or len(self._peers) < min(MAX_STRANGERS, MAX_KNOWN):
            return True
        strangers = sum(bool(peer.topics) and not peer.is_proven for peer in self._peers.values())
        return strangers < MAX_STRANGERS and len(self._peers) < MAX_KNOWN

    def watch(self, peer: Peer, now: float) -> None:
        """It holds something that is waited for: it lives for a lease from now, known or not."""
        peer.lives(now)
        key = (peer.dialect, peer.key)
        self._forgotten.pop(key, None)
        self._peers.setdefault(key, peer)

    def remember(
        self, dialect: Dialect, key: str, name: str, inbox: str | None, now: float
    ) -> Peer:
        """One that the journal knows; watched from now on, unless it is known otherwise."""
        peer = self._find(dialect, key)
        if peer is None:
            peer = Peer(key, dialect, name)
            peer.inbox = inbox
            self.watch(peer, now)
        return peer

    def heard(
        self, topic: str, tasks: Iterable[str], header: Header | None, now: float
    ) -> tuple[Peer | None, bool]:
        """A NOTIFY answer: who gave it, and whether it is new or offers something else than before.

        None for a native answer that lacks what a request needs to be addressed to it. An answer
        that another has overtaken changes nothing. Whoever says goodbye and has nothing of ours is
        forgotten at once.
        """
        if header is None:
            peer = self._find("taskflow", topic) or Peer(topic, "taskflow", topic)
        else:
            if header.boot is None or header.clock is None or not _is_own(header):
                return None, False
            peer = self._find("native", header.boot) or Peer(
                header.boot, "native", header.worker or ""
            )
            if header.clock < peer.said or peer.is_dead:
                return peer, False
            if header.clock <= peer.latest and ("native", peer.key) not in self._peers:
                return peer, False  # a copy of what it said before it fell silent
            peer.said = header.clock
            peer.latest = max(header.clock, peer.latest)
            peer.inbox = header.inbox
            peer.credit = header.credit or 0
            peer.slots = header.slots
            peer.caps = frozenset(header.caps or ())
            peer.report = _report(header, peer.report)
            peer.is_ignored = not self._ignored.isdisjoint((peer.node, peer.name))
            peer.beat = min(header.beat / 1000, MAX_BEAT) if header.beat else BEAT
            if not peer.clocks:  # otherwise it was read when the message came in
                peer.read_clock(header.clock, now)
        key = (peer.dialect, peer.key)
        was_known = key in self._peers
        offered = frozenset(tasks)
        changed = not was_known or peer.topics.get(topic) != offered
        self._offered += _weight(offered) - _weight(peer.topics.get(topic, ()))
        peer.topics[topic] = offered
        if not (was_known and peer.is_native):  # otherwise it was noted when the message came in
            peer.speaks(now)
        if peer.is_leaving and not peer.open:
            self._drop(peer)
            return peer, was_known
        self._forgotten.pop(key, None)
        self._peers[key] = peer
        return peer, changed

    def choose(
        self,
        task: str,
        topics: tuple[str, ...],
        now: float,
        *,
        named_only: bool,
        must_stop: bool = False,
        only_proven: bool = False,
        needs: Requirements | None = None,
        worker: str | None = None,
        spared: Container[Peer] = (),
    ) -> tuple[Peer, str] | None:
        """Who gets the next request of this task, and on which topic.

        Only who is in time. Of one whose beat is missing nobody knows whether it reads what it is
        sent: a dead one looks idle for a lease, and while the broker is away all are silent. What
        one of them has lost would wait in another's inbox until the broker is back, beside the
        first one's, and run twice.

        Whoever has a slot free before those where it would queue, then the proven, then most room,
        ties at random. Native workers before taskflow ones, which have no bound and would take
        everything. With ``must_stop`` only who can end a task that runs, with ``worker`` only who
        is called so. With ``needs`` only where all of that is free, and nobody who is ``spared``
        for somebody else who needs more.

        While somebody proven offers it, with room or without, nobody else gets a second request
        before he has answered the first, or, with ``only_proven``, this one.
        """
        best, trusted = _Best(), _Best()
        is_anybody_proven = False
        for peer in self._peers.values():
            has_room = peer.room > 0
            if needs is not None and has_room:
                has_room = peer not in spared and peer.free.holds(needs.amount)
            if not (has_room or (peer.is_proven and not is_anybody_proven)):
                continue
            if not peer.suits(named_only, must_stop, needs, worker):
                continue
            topic = peer.offers(task, topics)
            if topic is None or not peer.is_in_time(now):
                continue
            is_anybody_proven |= peer.is_proven
            if has_room:
                has_slot = len(peer.open) < (peer.slots or 0)
                rank = (peer.is_native, has_slot, peer.trust, peer.room)
                best.add(rank, peer, topic)
                if peer.is_proven or not (only_proven or peer.open):
                    trusted.add(rank, peer, topic)
        return trusted.one() if is_anybody_proven else best.one()

    def roomiest(
        self, task: str, topics: tuple[str, ...], now: float, needs: Requirements
    ) -> Peer | None:
        """Of those who could hold this, and have not room for it now, who has most of it free."""
        found = [
            peer
            for peer in self._peers.values()
            if peer.suits(named_only=False, must_stop=False, needs=needs)
            and peer.is_in_time(now)
            and peer.offers(task, topics) is not None
        ]
        return max(found, key=lambda peer: (peer.free.cores, peer.free.memory), default=None)

    def ignore(self, names: Iterable[str]) -> None:
        """To these machines, or workers, by name, nothing more is sent; to all others again."""
        self._ignored = frozenset(names)
        for peer in (*self._peers.values(), *self._forgotten.values()):
            peer.is_ignored = not self._ignored.isdisjoint((peer.node, peer.name))

    @property
    def ignored(self) -> frozenset[str]:
        """Those."""
        return self._ignored

    def offered(
        self,
        task: str,
        topics: tuple[str, ...],
        *,
        named_only: bool,
        must_stop: bool = False,
        needs: Requirements | None = None,
        worker: str | None = None,
    ) -> bool:
        """Whether anybody who suits offers the task, with room or without."""
        return any(
            peer.offers(task, topics) is not None
            for peer in self._peers.values()
            if peer.suits(named_only, must_stop, needs, worker)
        )

    def next_expiry(self) -> float | None:
        """When the next peer will have been silent for too long."""
        return min((peer.silent_at for peer in self._peers.values()), default=None)

    def forget(self, now: float) -> list[Peer]:
        """Drop those silent for too long (a lease, native; the worker expiry, taskflow)."""
        gone = [peer for peer in self._peers.values() if peer.silent_at <= now]
        for peer in gone:
            peer.forgotten = now
            self._drop(peer)
        return gone

    def excuse(self, since: float, now: float, grace: float) -> list[Peer]:
        """The silence since then was our own; of who was there until then it may last longer.

        By ``grace`` seconds. Returns those forgotten for it.
        """
        for peer in self._peers.values():
            if peer.is_in_time(since):
                peer.grace = max(peer.grace, grace)
            peer.heard += now - since
        return [p for p in self._forgotten.values() if p.forgotten > since and not p.is_dead]

    def named(self, name: str) -> list[Peer]:
        """The native workers of this name that have told us of themselves, and have not ended."""
        known = [*self._peers.values(), *self._forgotten.values()]
        return [p for p in known if p.name == name and p.caps is not None and not p.is_dead]

    def bury(self, peer: Peer) -> None:
        """Its process has provably ended: it never comes back."""
        peer.is_dead = True
        self._drop(peer)

    def _find(self, dialect: Dialect, key: str) -> Peer | None:
        return self._peers.get((dialect, key)) or self._forgotten.get((dialect, key))

    def _drop(self, peer: Peer) -> None:
        key = (peer.dialect, peer.key)
        self._peers.pop(key, None)
        self._offered -= sum(map(_weight, peer.topics.values()))
        peer.topics.clear()
        peer.clocks.clear()
        self._forgotten.pop(key, None)
        self._forgotten[key] = peer
        if len(self._forgotten) > MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]


def _is_own(header: Header) -> bool:
    """Whether the inbox it names is that process' own, and not another's or an executor's."""
    inbox = header.inbox
    return is_addressable(inbox) and str(inbox).endswith(f".{header.boot}")


def _weight(tasks: Collection[str]) -> int:
    return sum(map(len, tasks)) + _NAME * len(tasks)


def _report(header: Header, before: NodeReport | None) -> NodeReport | None:
    """What it tells of its machine now; what is free for us is not told to everybody, and stays."""
    report = None if header.node is None else report_from_json(header.node)
    if report is None or report.free is not None or before is None:
        return report
    return replace(report, free=before.free)
