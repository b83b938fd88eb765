"""The workers heard from: what they offer, how much more they take, when they last spoke.

Decided here: who is known, and who counts as dead. Who of them is sent a request, ``candidates``
decide. A native worker is one
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

import heapq
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace
from typing import Final

from executor.candidates import Candidates
from executor.peer import Peer, Want
from protocol.envelope import Header
from protocol.resources import NodeReport, report_from_json
from protocol.timing import BEAT, MAX_BEAT
from protocol.topology import Dialect, is_addressable

#: Forgotten workers whose numbers are kept, in case they come back: tickets are never used twice.
MAX_FORGOTTEN: Final = 10_000

#: Worker processes that are known at once, and what the names of all they offer may take together,
#: in bytes: a stranger can say that he is as many as he likes.
MAX_KNOWN: Final = 10_000
#: Of those, so many that have not answered a request yet: each is looked at for each dispatch.
MAX_STRANGERS: Final = 1_000
MAX_OFFERED: Final = 32 * 1024 * 1024

#: Entries about silences that may lie about, beside one for each peer and as many again.
SPARE: Final = 64

_NAME: Final = 64  # bytes a name takes besides its letters


class Directory:
    """All peers. Keeper only."""

    def __init__(self) -> None:
        self._peers: dict[tuple[Dialect, str], Peer] = {}
        #: Those that fell silent or left, the latest ``MAX_FORGOTTEN``. They may come back.
        self._forgotten: dict[tuple[Dialect, str], Peer] = {}
        #: When each will have been silent for too long, or some time before: who is heard from
        #: stays where he is until he is the next. Some are dropped by now; see ``next_expiry``.
        self._silences: list[tuple[float, int, Peer]] = []
        self._number = 0  # of the latest of these: peers themselves are never compared
        #: How many have told what they offer.
        self._present = 0
        #: What the names of all they offer take, in bytes, near enough.
        self._offered = 0
        #: Machines, or workers, by name, to which nothing more is sent.
        self._ignored: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many have told what they offer."""
        return self._present

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
            before = peer.silent_at
            peer.speaks(now)
            peer.latest = clock
            peer.read_clock(clock, now)
            if header.beat is not None:
                peer.beat = min(header.beat / 1000, MAX_BEAT)
            if peer.silent_at < before:
                self._note_silence(peer)
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
        self._note_silence(peer)

    def remember(
        self,
        dialect: Dialect,
        key: str,
        name: str,
        inbox: str | None,
        now: float,
        beat: float | None = None,
    ) -> Peer:
        """One that the journal knows; watched from now on, unless it is known otherwise.

        ``beat``: its own, if that is not the usual one.
        """
        peer = self._find(dialect, key)
        if peer is None:
            peer = Peer(key, dialect, name)
            peer.inbox = inbox
            peer.beat = beat or peer.beat
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
            before = peer.silent_at
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
            if peer.silent_at < before:
                self._note_silence(peer)
        key = (peer.dialect, peer.key)
        was_known = key in self._peers
        self._present += not peer.topics
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
        if changed:
            self._note_silence(peer)
        return peer, changed

    def candidates(self, want: Want, now: float, spared: Container[Peer] = ()) -> Candidates:
        """Who may be sent what is wanted, at this moment, the best first.

        Nobody who is ``spared`` for somebody else who needs more, if it says what it needs.
        """
        return Candidates(self._peers.values(), want, now, spared)

    def roomiest(self, want: Want, now: float) -> Peer | None:
        """Of those who could take what is wanted once they have room, who has most of it free."""
        found = [
            peer
            for peer in self._peers.values()
            if peer.suits(want)
            and peer.is_in_time(now)
            and peer.offers(want.task, want.topics) is not None
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

    def offered(self, want: Want) -> bool:
        """Whether anybody who suits offers the task, with room or without."""
        return any(
            peer.offers(want.task, want.topics) is not None
            for peer in self._peers.values()
            if peer.suits(want)
        )

    def is_anybody_proven(self) -> bool:
        """Whether one of those who are known has answered a request."""
        return any(peer.is_proven for peer in self._peers.values())

    def next_expiry(self) -> float | None:
        """When the next peer will have been silent for too long."""
        silences = self._silences
        while silences:
            when, number, peer = silences[0]
            if self._peers.get((peer.dialect, peer.key)) is not peer:
                heapq.heappop(silences)
            elif peer.silent_at > when:  # heard from since
                heapq.heapreplace(silences, (peer.silent_at, number, peer))
            else:
                return when
        return None

    def forget(self, now: float) -> list[Peer]:
        """Drop those silent for too long (a lease, native; the worker expiry, taskflow)."""
        gone = []
        while (when := self.next_expiry()) is not None and when <= now:
            _, _, peer = heapq.heappop(self._silences)
            peer.forgotten = now
            self._drop(peer)
            gone.append(peer)
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

    def _note_silence(self, peer: Peer) -> None:
        """It is known from now on, or will have been silent for too long sooner than before."""
        self._number += 1
        heapq.heappush(self._silences, (peer.silent_at, self._number, peer))
        if len(self._silences) > 2 * len(self._peers) + SPARE:
            known = enumerate(self._peers.values())
            self._silences = [(peer.silent_at, number, peer) for number, peer in known]
            heapq.heapify(self._silences)
            self._number = len(self._silences)

    def _find(self, dialect: Dialect, key: str) -> Peer | None:
        return self._peers.get((dialect, key)) or self._forgotten.get((dialect, key))

    def _drop(self, peer: Peer) -> None:
        key = (peer.dialect, peer.key)
        self._peers.pop(key, None)
        self._offered -= sum(map(_weight, peer.topics.values()))
        self._present -= bool(peer.topics)
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
