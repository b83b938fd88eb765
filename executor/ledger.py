"""Every request in flight: ``(ledger, input, now) → effects``. Pure; the keeper owns it.

Decided here: what happens when, to all requests together: who is asked who is there, and what time
brings about. What an answer means is ``answers``' and ``verdicts``', what the coming and going of
workers means ``attendance``'s, who is sent a request ``dispatching``'s and ``directory``'s, what
follows an attempt ``rounds``', how a cancel ends ``withdrawals``', where requests wait ``book``'s;
the words of errors are ``words``'. Not decided here: how anything
is sent or written down, and what a future is.

The rules, in short (native dialect, sections 4, 5, 7 and 8):

* A request waits here until a worker that offers its task has credit; nothing waits in the broker.
* Each dispatch is an attempt with an automaton of its own. The first end of the present round wins;
  whatever comes after it is counted and receipted.
* A worker gives a request back, proves by its digest that it never had it, or is silent for a
  lease: the request waits again, at the front. After ``MAX_ATTEMPTS`` lost runs it ends as
  ``WorkerLost``. One that is to start at most once is sent again only on its worker's own word.
* A run that ended its process is followed by a new round; after ``MAX_CRASHES`` it ends as
  ``PoisonTask``.
* A failure that the request's own policy covers is followed by a new round as well, once it has
  waited: a round like a first one, which expires if nobody starts it, and can be cancelled.
* A cancel or an expiry of what has been sent ends when every attempt ever sent is proven unable to
  start; until then the workers are told.
* It is sent no sooner than its own limits let it: how many of its task start in a period, how many
  are out. Lanes of other tasks go on meanwhile.
* A request may have a time before which it is offered to nobody: it is held apart until then, and
  its clocks run from there.
* Expiry: an explicit timeout runs from submit. Without one, a native request expires only after
  ``REQUEST_TIMEOUT`` in which no live worker offers its task; one that can go to taskflow's workers
  only, ``REQUEST_TIMEOUT`` after submit, as taskflow's do. What has run does not expire any more.
* taskflow's workers answer questions from the pool that runs their tasks, so one that is busy is
  silent: what runs there ends as lost only after ``TASKFLOW_SILENCE``.
* What has changed for good is recorded before anything is done about it.

No input costs more than the logarithm of what is in flight, but for a walk over the workers, and
over what is open at the one that a digest or a silence is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from executor import restoring, words
from executor.answers import Answers
from executor.attendance import Attendance
from executor.book import Book
from executor.dispatching import Dispatching
from executor.effects import Begin, Effect, Error, Publish, Superseded
from executor.lanes import LaneKey, in_turn
from executor.letters import Letters
from executor.request import Attempt, Order, Request
from executor.rounds import Rounds
from executor.succession import Succession
from executor.timers import CANCEL, EXPIRY
from executor.verdicts import Word
from executor.withdrawals import Withdrawals
from protocol.envelope import HELD
from protocol.messages import Answer, Dropped, Held, Release, Response
from protocol.parcel import Parcel, Received, Refused
from protocol.states import TERMINAL
from protocol.timing import (
    FIRST_CALL_WAIT,
    KEEP,
    KEEP_JOURNALED,
    NOTIFY_PERIOD,
    REQUEST_TIMEOUT,
    TASKFLOW_SILENCE,
)
from protocol.topology import Dialect, Names

if TYPE_CHECKING:
    from protocol.history import RequestStatus


class Ledger:
    """All requests of one executor. Keeper only."""

    def __init__(
        self,
        executor: str,
        exchange: str,
        topics: tuple[str, ...],
        dialects: Sequence[Dialect] = ("native",),
        private: str | None = None,
        *,
        incarnation: int = 1,
        keeps_journal: bool = False,
        patience: float = REQUEST_TIMEOUT,
    ) -> None:
        """``private``: the topic of the executor's own workers, if it has any. ``patience``:
        seconds for which a request without a time of its own waits while nobody offers its task.
        """
        self._topics = topics
        self._names = {dialect: Names(dialect, exchange) for dialect in dialects}
        #: Seconds for which workers keep what they have for us while we are silent.
        self._keep = KEEP_JOURNALED if keeps_journal else KEEP
        letters = Letters(self._names, executor, incarnation, self._keep)
        self._book = book = Book(letters, speaks_native="native" in self._names)
        self._withdrawals = Withdrawals(book)
        self._rounds = rounds = Rounds(book, self._withdrawals)
        self._dispatching = dispatching = Dispatching(book, self._withdrawals, incarnation)
        self._answers = Answers(book, rounds, self._withdrawals, dispatching, incarnation)
        self._attendance = Attendance(book, rounds, dispatching, self._names, topics, self._keep)
        self.directory = book.directory
        #: What happened that changed nothing: late, double, unknown or illegal answers, by reason.
        self.counts = book.counts
        self._requests = book.requests
        self._lanes = book.lanes
        self._lanes.patience = patience
        self._timers = book.timers
        self._receipts = book.receipts
        #: When native and taskflow's workers are next asked who is there.
        self._next_call = self._next_notify = 0.0
        self._call_wait = FIRST_CALL_WAIT
        self._private = private
        self._succession = Succession(
            executor, incarnation, book.directory, keeps_journal=keeps_journal
        )

    def __len__(self) -> int:
        """How many requests are open."""
        return len(self._requests)

    # inputs -----------------------------------------------------------------------------------

    def restored(self, statuses: Iterable[RequestStatus], now: float, wall: float) -> list[Effect]:
        """What the journal says is open, before anything else. ``wall``: its clock's present time.

        Nothing is sent because of it: whoever had a request is asked, and has one lease to answer.
        """
        touched: dict[LaneKey, None] = {}
        starts: list[tuple[float, Order]] = []
        for status in statuses:
            request = restoring.request_of(status, self.directory, now, wall)
            self._requests[request.order.uuid] = request
            if request.has_run and not request.is_withdrawn:
                self._book.out.append(Begin(request.order.uuid))
            starts += [(when, request.order) for when in restoring.starts_of(status, now, wall)]
            if request.current or request.elder:
                self._book.throttle.occupies(request)
            for attempt in request.attempts:
                self._book.know(request, attempt)
                if attempt.startable and attempt is not request.current:
                    self._timers.set(attempt.closes, attempt.uuid, attempt.number)
            if request.phase == "CANCELLING":
                self._withdrawals.cancel_again(request, now)
                continue
            in_doubt = restoring.may_have_run(status, wall, self._keep)
            newest = request.newest
            if request.order.mode == "amo" and in_doubt and newest is not None:
                error = words.worker_lost(request, newest, now)
                self._book.resolve(request, Error(error), now)
                continue
            self._book.start_clock(request, now)
            if request.current or request.elder:
                continue
            if (key := self._book.wait(request, now)) is not None:
                touched[key] = None
        for when, order in sorted(starts, key=itemgetter(0)):
            self._book.throttle.started(order, when)
        return self._served(touched, now)

    def submitted(self, orders: Iterable[Order], now: float) -> list[Effect]:
        """New requests, in the order they were submitted."""
        touched: dict[LaneKey, None] = {}
        for order in orders:
            request = self._book.open(order, now)
            self._book.start_clock(request, now)
            if (key := self._book.wait(request, now)) is not None:
                touched[key] = None
        return self._served(touched, now)

    def withdrawn(self, uuid: str, now: float) -> list[Effect]:
        """Its future was cancelled before anything was sent: it never runs."""
        request = self._requests.get(uuid)
        if request is None:
            return []
        was_chosen = bool(request.attempts)
        self._book.close(request)
        if was_chosen:  # but stopped at the door: the worker never heard of it
            self._dispatching.fill(now)
        return self._book.take()

    def cancelled(self, uuid: str, force: bool, now: float) -> list[Effect]:
        """Its caller has cancelled it; with ``force`` a run of it is to be ended."""
        request = self._requests.get(uuid)
        if request is None:
            return []
        self._withdrawals.cancel(request, now, force=force)
        if uuid not in self._requests:
            self._dispatching.fill(now)
        return self._book.take()

    def heard(self, deliveries: Iterable[Received | Refused], now: float) -> list[Effect]:
        """What the listener took from the broker, in order."""
        frees = False
        for delivery in deliveries:
            if isinstance(delivery, Refused):
                self._answers.refused(delivery, now)
                frees = True
                continue
            header = delivery.envelope.header
            self._attendance.touch(header, now)
            message = delivery.message
            if isinstance(message, Response):
                self._answers.response(delivery.envelope, message, now)
                frees |= message.state in TERMINAL
                continue
            frees = True
            if isinstance(message, Answer):
                self._attendance.answered(message, header, now)
                if (error := self._succession.hears(header, now)) is not None:
                    self._book.out.append(Superseded(error))
            elif header is not None and header.boot is not None:
                if isinstance(message, Release):
                    self._answers.release(header.boot, message, now)
                elif isinstance(message, Dropped):
                    self._answers.dropped(header.boot, message, now)
                elif isinstance(message, Held):
                    self._answers.held(header.boot, header.clock or 0, message, now)
        if frees:
            self._dispatching.fill(now)
        self._book.post(now)
        return self._book.take()

    def undeliverable(self, parcel: Parcel, why: str, now: float) -> list[Effect]:
        """The broker does not take this message, and will not: a request in it comes to nothing.

        Whatever else it was is said again, or nobody waits for it.
        """
        self._answers.undeliverable(parcel, why, now)
        self._dispatching.fill(now)
        self._book.post(now)
        return self._book.take()

    def gone(self, worker: str, now: float) -> list[Effect]:
        """The process of the native worker of this name has ended: no need to wait for a lease."""
        self._attendance.ended(worker, now)
        self._dispatching.fill(now)
        return self._book.take()

    def hopeless(self, reason: str, now: float) -> list[Effect]:
        """The private workers cannot work: what nobody else offers ends now, and from now on."""
        self._book.hopeless = reason
        self._lanes.patience = -math.inf
        return self.tick(now)

    def consuming(self, now: float) -> list[Effect]:
        """The listener has (again) begun to consume: ask everybody who is there."""
        self._attendance.excuse(now)
        self._next_call = self._next_notify = now
        self._call_wait = FIRST_CALL_WAIT
        return self.tick(now)

    def listening(self, is_listening: bool, now: float) -> None:
        """Whether what is sent to us arrives, as far as is known; at first it is taken to."""
        self._attendance.listening(is_listening, now)

    def stood_still(self, since: float, until: float) -> None:
        """In that time this process took nothing of what was sent to us: nobody was silent."""
        self._attendance.stood_still(since, until)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: ask, forget, expire, dispatch again."""
        self._ask(now)
        self._attendance.forget(now)
        self._run_timers(now)
        due = self._book.take_due(now)
        self._expire_unoffered(now)
        self._dispatching.fill(now)
        if any(key.must_stop for key in due):
            self._dispatching.refuse_limits(now)
        self._book.post(now)
        return self._book.take()

    def ignore(self, name: str, now: float, *, is_ignored: bool) -> None:
        """To the machine, or worker, of this name nothing more is sent, or again; with the next
        tick, at the latest.
        """
        names = self.directory.ignored
        self.directory.ignore(names | {name} if is_ignored else names - {name})
        self._lanes.note_offers(now)
        self._next_call = min(self._next_call, now)

    def leaving(self) -> list[Effect]:
        """We are about to end: receipts that were still gathering leave at once."""
        self._book.post(math.inf)
        return self._book.take()

    def next_deadline(self) -> float:
        """When ``tick`` has something to do at the latest."""
        times = (
            self._timers.next,
            self._book.later.next_due(),
            self._book.throttle.next_wake(),
            self._attendance.next_expiry(),
            self._lanes.next_expiry(),
            self._receipts.next,
        )
        return min(self._next_call, self._next_notify, *(t for t in times if t is not None))

    def state_of(self, uuid: str) -> str | None:
        """The state of an open request; None if there is none."""
        request = self._requests.get(uuid)
        return request.state if request else None

    def can_stop(self, uuid: str) -> bool:
        """False if it runs where nobody can end it: on a worker's threads, at a taskflow worker."""
        request = self._requests.get(uuid)
        running = (request.current or request.elder) if request else None
        return running is None or not running.is_running or running.peer.can_stop

    # asking -----------------------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        """Ask who is there: native workers all at once, taskflow's on each topic's queue.

        A call that nobody hears yet is gone, so the first follow each other quickly; what waits in
        a topic's queue is answered when somebody comes, so that one keeps taskflow's period.
        """
        book = self._book
        if now >= self._next_call:
            self._next_call = now + self._call_wait
            self._call_wait = min(2 * self._call_wait, NOTIFY_PERIOD)
            if "native" in self._names:
                book.out.append(Publish(book.letters.call()))
        if now >= self._next_notify:
            self._next_notify = now + NOTIFY_PERIOD
            if "taskflow" in self._names:
                book.out += [Publish(book.letters.notify(topic)) for topic in self._topics]

    # waiting ----------------------------------------------------------------------------------

    def _served(self, touched: Iterable[LaneKey], now: float) -> list[Effect]:
        wake = self._book.throttle.next_wake()
        if wake is not None and wake <= now:  # others may go as well, and perhaps before these
            self._dispatching.fill(now)
        else:
            for key in in_turn(touched):
                self._dispatching.serve(key, now)
        if any(key.must_stop for key in touched):
            self._dispatching.refuse_limits(now)
        return self._book.take()

    # time -------------------------------------------------------------------------------------

    def _run_timers(self, now: float) -> None:
        for uuid, about in self._timers.take_due(now):
            request = self._requests.get(uuid)
            if request is None:
                continue
            if about == EXPIRY:
                if request.phase == "OPEN" and request.has_expired(now):
                    self._withdrawals.expire(request, now)
            elif about == CANCEL:
                self._withdrawals.tell_again(request, now)
            else:
                attempt = next((a for a in request.attempts if a.number == about), None)
                if attempt is not None and attempt.peer.is_native:
                    self._start_by_passed(request, attempt, now)
                elif attempt is not None and attempt.is_running:
                    self._silent(request, attempt, now)

    def _start_by_passed(self, request: Request, attempt: Attempt, now: float) -> None:
        """No clock of ours proves anything of what is waited for: its worker has to say so.

        But one that knows no digests never will; nor one that is there in name alone, and has not
        answered anything yet: it had a lease more for it, in which we would have heard it. If its
        digest has named the attempt, that lease begins with its last word; but there is no third,
        or who only says so would be waited for without end. (What may start once at most stays
        there all the same: there is no other proof.)
        """
        if now < attempt.closes:  # at the same boot, something later was sent
            self._timers.set(attempt.closes, attempt.uuid, attempt.number)
            return
        if attempt.pass_start_by(is_newest=attempt is request.newest):
            self._withdrawals.settle(request, now)
        elif attempt is request.current and not attempt.is_running:
            if attempt.peer.understands(HELD):
                since = attempt.closes
                if attempt.is_named:
                    since = max(since, min(attempt.peer.heard, since + attempt.peer.expiry))
                until = self._attendance.due(attempt.peer, since, now)
                if attempt.peer.is_proven or request.order.mode == "amo":
                    return
                if now < until:
                    self._timers.set(until, attempt.uuid, attempt.number)
                    return
            self.counts["start_by_passed"] += 1
            attempt.peer.doubt(attempt)  # its digest may yet say that it runs
            attempt.peer.has_failed = True
            attempt.give_up(boot_is_gone=True)
            self._rounds.is_over(attempt, "lost")
            word: Word = "lost" if request.order.mode == "amo" else "never"
            self._rounds.next(request, attempt, word, now)

    def _silent(self, request: Request, attempt: Attempt, now: float) -> None:
        """It runs on a taskflow topic that had fallen silent; perhaps it has spoken since."""
        until = attempt.peer.heard + TASKFLOW_SILENCE
        if now < until:
            self._timers.set(until, attempt.uuid, attempt.number)
        else:
            error = words.worker_lost(request, attempt, now)
            self._book.resolve(request, Error(error), now)

    def _expire_unoffered(self, now: float) -> None:
        for lane in self._lanes.overdue(now):
            if self._book.hopeless is None and self._private_are_busy():
                lane.unoffered_since = now  # they learn what more to offer between two tasks
                continue
            while self._lanes.is_overdue(lane, now):
                self._withdrawals.expire(lane.first, now)

    def _private_are_busy(self) -> bool:
        """Whether there are private workers, and each is at work."""
        own = [peer for peer in self.directory if self._private in peer.topics]
        return bool(own) and all(len(peer.open) >= (peer.slots or 1) for peer in own)
