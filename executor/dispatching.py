"""Who is sent a request, and when again: credit, tickets, start-bys.

Decided here: when a request that waits is sent, under which attempt, ticket and start-by, and when
the same attempt is sent once more (native dialect, sections 3 and 7). Whom among the workers, the
directory decides; in which order requests wait, the lanes. Keeper only.
"""

from __future__ import annotations

from collections.abc import Container

from executor import words
from executor.book import Book
from executor.candidates import Candidates
from executor.effects import Dispatch, Error, Publish
from executor.lanes import LaneKey
from executor.peer import Peer
from executor.request import Attempt, Request, start_by_passes
from executor.withdrawals import Withdrawals
from protocol.envelope import HELD
from protocol.events import Dispatched
from protocol.timing import BEAT, CLOCK_MARGIN, REQUEST_TIMEOUT, RESERVE_AFTER, START_WINDOW


class Dispatching:
    """Sends what waits, as far as there is credit."""

    def __init__(self, book: Book, withdrawals: Withdrawals, incarnation: int) -> None:
        self._book = book
        self._withdrawals = withdrawals
        self._incarnation = incarnation
        #: Machines that nothing else that needs room is sent to, until there is room for these.
        self._kept: dict[LaneKey, Peer] = {}

    def fill(self, now: float) -> None:
        """Use the credit there is, one lane after the other in turn."""
        lanes = self._book.lanes
        self._book.throttle.forget_wakes()
        occupied = lanes.occupied()
        if self._kept:
            waiting = set(occupied)
            self._kept = {key: peer for key, peer in self._kept.items() if key in waiting}
        for key in occupied:
            if self.serve(key, now):
                lanes.had_turn(key)

    def serve(self, key: LaneKey, now: float) -> bool:
        """Dispatch from one lane while somebody takes it, and its limits let it.

        Returns whether anything was.
        """
        book = self._book
        lane = book.lanes.lane(key)
        candidates: Candidates | None = None
        served = False
        while lane.waiting:
            request = lane.first
            # Its timer has not run yet; or it was given back, and no time is left for another try.
            if request.has_expired(now + (CLOCK_MARGIN if request.attempts else 0.0)):
                self._withdrawals.expire(request, now)
                candidates = None  # there may be more room
                continue
            if not book.throttle.admits(key, now):
                break
            if candidates is None:
                candidates = book.directory.candidates(key.want, now, self._kept_from(key))
            # Lost once it may go to a newcomer: perhaps all who are proven are dead by now.
            chosen = candidates.choose(only_proven=request.lost > 1)
            if chosen is None:
                if key.needs is not None and now - request.ready_since >= RESERVE_AFTER:
                    self._keep_room(key, now)
                break
            self._kept.pop(key, None)
            book.lanes.leave(request)
            self._dispatch(request, *chosen, now)
            served = True
        return served

    def _kept_from(self, key: LaneKey) -> Container[Peer]:
        """The machines that are kept for others whose turn is not after this one's."""
        if not self._kept or key.needs is None:
            return ()
        return [p for k, p in self._kept.items() if k != key and k.priority >= key.priority]

    def _keep_room(self, key: LaneKey, now: float) -> None:
        """It has waited for long: or what needs less, and comes later, would be quicker for ever.

        Nothing more that says what it needs is sent to one machine, until there is room on it.
        """
        kept = self._kept.get(key)
        directory = self._book.directory
        if kept is not None and kept.is_in_time(now) and kept.suits(key.want):
            return
        taken = [peer for other, peer in self._kept.items() if other != key]
        peer = directory.roomiest(key.want, now)
        if peer is not None and peer not in taken:
            self._kept[key] = peer
        else:
            self._kept.pop(key, None)

    def refuse_limits(self, now: float) -> None:
        """End what has a limit, where somebody offers the task but nobody could keep that."""
        book = self._book
        for key in book.lanes.only_unstoppable():
            lane = book.lanes.lane(key)
            while lane.waiting:
                request = lane.first
                error = words.limit_refused(request, key, book.directory)
                book.resolve(request, Error(error), now)

    def send_again(self, request: Request, attempt: Attempt, clock: int) -> None:
        """A digest of this time at its worker lacks it: lost, or still under way, so harmless.

        After a beat, then after two, four … in the worker's own clock, until its start-by. But at
        once what was sent by an executor that was killed: it may have got no further than to write
        that down, and a worker that has been asked by us does not serve what comes from that one.
        """
        if request.phase != "OPEN" or attempt is not request.current or attempt.is_running:
            return
        sent = attempt.sent_there
        if sent is None:
            attempt.sent_there = clock
        elif clock < sent + attempt.peer.beat * 1000 * 2**attempt.resends:
            return
        else:
            attempt.resends += 1
        self._book.counts["request_sent_again"] += 1
        topic = request.order.topics[0]
        self._book.out.append(Publish(self._book.letters.request(request, attempt, topic)))

    def _dispatch(self, request: Request, peer: Peer, topic: str, now: float) -> None:
        book = self._book
        order = request.order
        left = START_WINDOW if request.deadline is None else max(0.0, request.deadline - now)
        window = min(left, START_WINDOW)
        attempt = Attempt(
            order.uuid,
            request.next_number,
            peer,
            peer.next_ticket(self._incarnation) if peer.is_native else None,
            sent=now,
            window=window,
            base=request.base,
            needs=None if order.needs is None else order.needs.amount,
        )
        if peer.is_native:
            attempt.start_by = peer.start_by(now, window)
            attempt.sent_there = attempt.start_by - int(window * 1000)
            attempt.closes = start_by_passes(now, window)
            for earlier in request.at(peer) if request.attempts else ():
                attempt.start_by = max(attempt.start_by, earlier.start_by)
                attempt.closes = max(attempt.closes, earlier.closes)
            if not peer.understands(HELD):  # it will never say that it does not have it
                book.timers.set(attempt.closes, order.uuid, attempt.number)
            elif not peer.is_proven:  # perhaps nobody is there who would
                book.timers.set(attempt.closes + peer.expiry, order.uuid, attempt.number)
        elif request.deadline is None:  # taskflow's meaning, from the moment it is taskflow's
            request.deadline = now + REQUEST_TIMEOUT
            book.timers.set(request.deadline, order.uuid)
        attempt.dispatch()
        book.throttle.goes(request, now)
        request.add(attempt)
        book.know(request, attempt)
        peer.take(attempt)
        event = Dispatched(
            order.uuid,
            attempt.number,
            request.base,
            peer.dialect,
            topic,
            peer.name,
            boot=peer.key if peer.is_native else None,
            inbox=peer.inbox,
            ticket=str(attempt.ticket) if attempt.ticket else None,
            start_by=attempt.start_by if peer.is_native else None,
            beat=peer.beat if peer.is_native and peer.beat != BEAT else None,
        )
        parcel = book.letters.request(request, attempt, topic)
        book.out.append(Dispatch(order.uuid, attempt.number, parcel, event))
