"""The workers heard from: what they offer, how much more they take, when they last spoke.

Decided here: who is known, who counts as dead, and who is sent a request. A native worker is one
process (its boot) with a credit; a taskflow worker is a topic, because its answers name nothing
else: the last answer on a topic wins, as in taskflow's own finder.

Owned by the ledger, on the keeper's thread; time is handed in.
"""

from __future__ import annotations

import difflib
import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from protocol.envelope import Header
from protocol.tickets import Ticket
from protocol.timing import LEASE, WORKER_EXPIRY
from protocol.topology import Dialect, is_addressable

if TYPE_CHECKING:
    from executor.request import Attempt

#: Forgotten workers whose numbers are kept, in case they come back: tickets are never used twice.
MAX_FORGOTTEN: Final = 10_000

_SAMPLES: Final = 8  # of a worker's clock, the latest; the largest of them is the earliest start-by


class Peer:
    """One worker we have heard from."""

    __slots__ = (
        "clocks",
        "credit",
        "dialect",
        "heard",
        "inbox",
        "key",
        "last_ticket",
        "name",
        "open",
        "said",
        "slots",
        "topics",
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
        #: When it last said anything, in our clock.
        self.heard = 0.0
        #: Attempts sent to it and not over, by their handle.
        self.open: dict[Ticket | str, Attempt] = {}
        self.last_ticket = 0
        #: Its clock in the newest answer, in milliseconds: what it said before that is out of date.
        self.said = 0
        #: Latest (its clock − ours), in seconds.
        self.clocks: deque[float] = deque(maxlen=_SAMPLES)

    @property
    def is_native(self) -> bool:
        """Whether it speaks our dialect."""
        return self.dialect == "native"

    @property
    def room(self) -> float:
        """How many more requests it takes now."""
        return float("inf") if self.credit is None else self.credit - len(self.open)

    @property
    def is_leaving(self) -> bool:
        """Whether it has said goodbye: it offers nothing any more, and takes nothing."""
        return self.credit == 0 and not any(self.topics.values())

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

        Each sample is late by the time its message travelled; the largest is off by least.
        """
        return max(0, int((max(self.clocks) + now + window) * 1000))

    @property
    def expiry(self) -> float:
        """How long it may be silent, in seconds."""
        return LEASE if self.is_native else WORKER_EXPIRY


class Directory:
    """All peers. Keeper only."""

    def __init__(self) -> None:
        self._peers: dict[tuple[Dialect, str], Peer] = {}
        #: Those that fell silent or left, the latest ``MAX_FORGOTTEN``. They may come back.
        self._forgotten: dict[tuple[Dialect, str], Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def native(self, boot: str) -> Peer | None:
        """The native worker process of this boot, if it is known."""
        return self._peers.get(("native", boot))

    def taskflow(self, topic: str) -> Peer | None:
        """The taskflow worker of this topic, if it is known."""
        return self._peers.get(("taskflow", topic))

    def touch(self, header: Header | None, now: float) -> Peer | None:
        """Any message from a native worker is a beat. The peer, if it is known."""
        if header is None or header.boot is None:
            return None
        peer = self.native(header.boot)
        if peer is not None:
            peer.heard = now
            if header.clock is not None:
                peer.clocks.append(header.clock / 1000 - now)
                if header.credit is not None and header.clock >= peer.said:
                    peer.credit = header.credit
        return peer

    def spoke(self, peer: Peer, now: float) -> None:
        """A taskflow worker has answered a request: a sign of life of its topic, known or not."""
        peer.heard = now
        key = (peer.dialect, peer.key)
        self._forgotten.pop(key, None)
        self._peers.setdefault(key, peer)

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
            if header.boot is None or header.clock is None or not is_addressable(header.inbox):
                return None, False
            peer = self._find("native", header.boot) or Peer(
                header.boot, "native", header.worker or ""
            )
            if header.clock < peer.said:
                return peer, False
            peer.said = header.clock
            peer.inbox = header.inbox
            peer.credit = header.credit or 0
            peer.slots = header.slots
            if not peer.clocks:  # otherwise it was read when the message came in
                peer.clocks.append(header.clock / 1000 - now)
        key = (peer.dialect, peer.key)
        was_known = key in self._peers
        offered = frozenset(tasks)
        changed = not was_known or peer.topics.get(topic) != offered
        peer.topics[topic] = offered
        peer.heard = now
        if peer.is_leaving and not peer.open:
            self._drop(peer)
            return peer, was_known
        self._forgotten.pop(key, None)
        self._peers[key] = peer
        return peer, changed

    def choose(
        self, task: str, topics: tuple[str, ...], *, named_only: bool
    ) -> tuple[Peer, str] | None:
        """Who gets the next request of this task, and on which topic.

        Whoever has a slot free before those where it would queue, then most room, ties at random.
        Native workers before taskflow ones, which have no bound and would take everything.
        """
        best: list[tuple[Peer, str]] = []
        most: tuple[bool, bool, float] = (False, False, 0.0)
        for peer in self._peers.values():
            if peer.room <= 0 or not (peer.is_native or named_only):
                continue
            topic = peer.offers(task, topics)
            if topic is None:
                continue
            rank = (peer.is_native, len(peer.open) < (peer.slots or 0), peer.room)
            if rank > most or not best:
                best, most = [(peer, topic)], rank
            elif rank == most:
                best.append((peer, topic))
        return random.choice(best) if best else None

    def offered(self, task: str, topics: tuple[str, ...], *, native_only: bool) -> bool:
        """Whether anybody known offers the task, with room or without."""
        return any(
            peer.offers(task, topics) is not None
            for peer in self._peers.values()
            if peer.is_native or not native_only
        )

    def next_expiry(self) -> float | None:
        """When the next peer will have been silent for too long."""
        return min((peer.heard + peer.expiry for peer in self._peers.values()), default=None)

    def forget(self, now: float) -> list[Peer]:
        """Drop those silent for too long (a lease, native; the worker expiry, taskflow)."""
        gone = [peer for peer in self._peers.values() if peer.heard + peer.expiry <= now]
        for peer in gone:
            self._drop(peer)
        return gone

    def drop(self, name: str) -> list[Peer]:
        """Drop the native workers of this name, of whom it is known that they have ended."""
        gone = [peer for peer in self._peers.values() if peer.is_native and peer.name == name]
        for peer in gone:
            self._drop(peer)
        return gone

    def _find(self, dialect: Dialect, key: str) -> Peer | None:
        return self._peers.get((dialect, key)) or self._forgotten.get((dialect, key))

    def _drop(self, peer: Peer) -> None:
        key = (peer.dialect, peer.key)
        self._peers.pop(key, None)
        peer.topics.clear()
        peer.clocks.clear()
        self._forgotten.pop(key, None)
        self._forgotten[key] = peer
        if len(self._forgotten) > MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    def describe(self, task: str, topics: tuple[str, ...], now: float, *, named_only: bool) -> str:
        """What is known that bears on a request nobody takes: one or two sentences."""
        peers = list(self._peers.values())
        if not peers:
            return "no worker has been heard from; start one with: python -m worker MODULE"
        last = min(now - peer.heard for peer in peers)
        heard = f"heard from {len(peers)} worker{'s' * (len(peers) != 1)}, last {last:.1f} s ago"
        known = sorted({name for peer in peers for names in peer.topics.values() for name in names})
        offering = [peer for peer in peers if peer.offers(task, topics)]
        takers = [peer for peer in offering if peer.is_native or named_only]
        if takers:
            count = sum(len(peer.open) for peer in takers)
            return (
                f"{heard}; {len(takers)} of them offer{'s' * (len(takers) == 1)} it, with {count} "
                f"unfinished request{'s' * (count != 1)} of ours: give it a longer timeout, or "
                "start more workers"
            )
        if offering:
            return (
                f"{heard}; only taskflow workers offer it, and they know arguments by name: name "
                "them, or start a worker of ours"
            )
        elsewhere = sorted({t for peer in peers for t in peer.topics if task in peer.topics[t]})
        if elsewhere:
            hint = f"it is offered on topic {', '.join(elsewhere)}: submit to that topic"
            return f"{heard}; {hint}, or start a worker with --topic {topics[0]}"
        near = difflib.get_close_matches(task, known, n=3, cutoff=0.5)
        shown = ", ".join(near or known[:5]) or "nothing"
        more = f" and {len(known) - 5} more" if not near and len(known) > 5 else ""
        word = "the nearest names they offer are" if near else "they offer"
        return f"{heard}; {word} {shown}{more}; start a worker that offers it, or correct the name"
