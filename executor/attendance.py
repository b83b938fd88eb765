"""Workers come, go, and fall silent: what that means for what they hold of ours.

Decided here: what an answer (NOTIFY) changes, what is given up when a worker is silent for a lease
or has provably ended, and what the journal is told of workers. Who is known and who is forgotten,
the directory decides. Keeper only.
"""

from __future__ import annotations

import math
from collections.abc import Container

from executor.book import Book
from executor.dispatching import Dispatching
from executor.effects import Crowd, Record
from executor.peer import Peer
from executor.rounds import Rounds
from protocol.envelope import Header
from protocol.events import WorkerGone, WorkerSeen
from protocol.messages import Answer
from protocol.timing import COMING_BACK, TASKFLOW_SILENCE
from protocol.topology import Dialect


class Attendance:
    """Which workers are there."""

    def __init__(
        self,
        book: Book,
        rounds: Rounds,
        dispatching: Dispatching,
        dialects: Container[Dialect],
        topics: tuple[str, ...],
        keep: float,
    ) -> None:
        """``keep``: seconds of our silence after which workers drop what they hold for us."""
        self._book = book
        self._rounds = rounds
        self._directory = book.directory
        self._dispatching = dispatching
        self._dialects = dialects
        self._topics = topics
        self._keep = keep
        #: How many there were when that was last told.
        self._crowd = 0
        #: When anybody was last heard from.
        self._heard: float | None = None
        self._is_listening = True
        #: Since when we hear, as far as is known.
        self._hears_since = -math.inf
        #: Since when and until when we took nothing, the last time.
        self._stood_still = 0.0, 0.0

    def excuse(self, now: float) -> None:
        """We hear again: since anybody was last heard from, the silence was our own.

        What was given up for it, and waits still, is waited for again where it was. The others
        tried as we did, each at its own moments and further apart the longer it took: they may need
        as long again, ``COMING_BACK`` at most. A silence is excused like this once, not with each
        outage in it, so that whoever has died is noticed though the broker comes and goes.
        """
        since, self._heard = self._heard, now
        if since is not None:
            self._wait_longer(since, now)

    def stood_still(self, since: float, until: float) -> None:
        """We took nothing of what was sent to us in that time, as if it had not been.

        Unlike in an outage it is known when that began: it is excused whenever it is so, and no
        silence before it.
        """
        stopped, went_on = self._stood_still
        self._stood_still = stopped if since == went_on else since, until  # more of the same
        if self._heard is not None:
            self._heard += until - since
        self._wait_longer(since, until)

    def _wait_longer(self, since: float, until: float) -> None:
        """The silence in that time was our own."""
        grace = min(until - since, COMING_BACK)
        for peer in self._directory.excuse(since, until, grace):
            was_there = peer.is_in_time(since)
            for attempt in list(peer.doubtful.values()):
                request = self._book.requests[attempt.uuid]
                if request.phase == "OPEN" and attempt is request.newest:
                    self._rounds.take_back(request, attempt, until)
                    peer.grace = grace if was_there else 0.0

    def listening(self, is_listening: bool, now: float) -> None:
        """Whether what is sent to us arrives. While it does not, nobody's silence is his own."""
        if is_listening and not self._is_listening:
            self._hears_since = now
            self.excuse(now)
        self._is_listening = is_listening

    def due(self, peer: Peer, since: float, now: float) -> float:
        """When it has had a lease to say something, from ``since`` on, that we would have heard."""
        if not self._is_listening:
            return now + peer.expiry
        since = max(since, self._hears_since)
        stopped, went_on = self._stood_still
        return since + peer.expiry + max(0.0, went_on - max(stopped, since))

    def next_expiry(self) -> float | None:
        """When somebody will have been silent for too long; None as long as nobody can be."""
        return self._directory.next_expiry() if self._is_listening else None

    def forget(self, now: float) -> None:
        """Those silent for too long are not waited for any more."""
        if not self._is_listening:
            return
        for peer in self._directory.forget(now):
            self._lost(peer, now)
            self._left(peer, now)

    def ended(self, worker: str, now: float) -> None:
        """The process of the native worker of this name has ended."""
        for peer in self._directory.named(worker):
            self._bury(peer, now)

    def touch(self, header: Header | None, now: float) -> None:
        """Any message from a native worker is a beat.

        What it was sent before a silence of ``keep``, it has perhaps dropped since: it may not have
        heard from us either. (We did not run, or knew that we could not hear, or it had been given
        up already.) That it lacks it now does not prove that it never ran.
        """
        self._heard = now
        if header is None or header.boot is None:
            return
        peer = self._directory.native(header.boot)
        if peer is not None and peer.spoke <= now - self._keep:
            for attempt in peer.attempts:
                attempt.may_be_dropped |= attempt.sent <= now - self._keep
        self._directory.touch(header, now)

    def answered(self, answer: Answer, header: Header | None, now: float) -> None:
        """NOTIFY: here, on this topic, with these tasks; perhaps in place of one that has ended."""
        dialect: Dialect = "native" if header else "taskflow"
        if dialect not in self._dialects or answer.topic not in self._topics:
            self._book.counts["answer_for_others"] += 1
            return
        if not self._directory.has_room(answer.topic, answer.tasks, header):
            self._book.counts["too_many_workers"] += 1
            return
        peer, changed = self._directory.heard(answer.topic, answer.tasks, header, now)
        if peer is None:
            self._book.counts["incomplete_answer"] += 1
            return
        if header is not None and header.replaces is not None and header.replaces != peer.key:
            before = self._directory.find(header.replaces)
            if before is not None and not before.is_dead:
                self._bury(before, now)
        if not peer.topics:
            self._left(peer, now)
        elif changed:
            self._came(peer, now)

    def _came(self, peer: Peer, now: float) -> None:
        """It is there, or offers something else than before."""
        noted = (sorted(peer.topics), peer.slots)
        if noted != peer.noted:
            peer.noted = noted
            boot = peer.key if peer.is_native else None
            seen = WorkerSeen(peer.name, peer.dialect, boot, *noted)
            self._book.out.append(Record(seen))
        self._note_offers(now)

    def _left(self, peer: Peer, now: float) -> None:
        """It is not there any more."""
        if peer.noted is not None:
            peer.noted = None
            gone = WorkerGone(peer.name, peer.key if peer.is_native else None)
            self._book.out.append(Record(gone))
        self._note_offers(now)

    def _note_offers(self, now: float) -> None:
        self._book.lanes.note_offers(now)
        self._dispatching.refuse_limits(now)
        if len(self._directory) != self._crowd:
            self._crowd = len(self._directory)
            self._book.out.append(Crowd(self._crowd))

    def _bury(self, peer: Peer, now: float) -> None:
        """Its process has provably ended: what it had not started, it never will."""
        self._directory.bury(peer)
        self._lost(peer, now)
        self._left(peer, now)

    def _lost(self, peer: Peer, now: float) -> None:
        """A peer fell silent, or ended. taskflow's are not sent again: they would run it twice."""
        for attempt in peer.attempts:
            request = self._book.requests.get(attempt.uuid)
            if request is None:  # ended just now, by another attempt here
                continue
            if peer.is_native:
                peer.has_failed = True
                self._rounds.give_up(request, attempt, now, is_gone=peer.is_dead)
            elif attempt.is_running:
                self._book.timers.set(peer.heard + TASKFLOW_SILENCE, attempt.uuid, attempt.number)
