"""The requests in flight, and what is done to one of them: it waits again, is settled, ends.

Decided here: how a verdict is carried out, and how a request is cancelled, expires and comes to its
end (native dialect, section 5). Not decided here: who is sent what (``dispatching``), what a
message says (``answers``). What is to be done about it is gathered in ``out``, which the ledger
hands out after each input. Keeper only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from executor import settling, words
from executor.directory import Directory
from executor.effects import (
    Begin,
    Effect,
    Error,
    Failed,
    Outcome,
    Publish,
    Record,
    Resolve,
    Rest,
    Value,
    Withdrawn,
)
from executor.lanes import LaneKey, Lanes, key_of
from executor.later import Later
from executor.letters import Letters
from executor.receipts import Receipts
from executor.request import Attempt, Order, Request
from executor.throttle import Throttle
from executor.timers import CANCEL, Timers
from executor.verdicts import Verdict, Word, is_retried, verdict
from protocol.errors import PoisonTask, TasklineError
from protocol.events import Over, OverReason, Round, RoundCause, Running
from protocol.failure import parse as parse_failure
from protocol.failure import without_arguments
from protocol.retry import TIME_LIMIT_NAMES
from protocol.timing import REQUEST_TIMEOUT
from protocol.values import Json

#: Requests that come due in one turn: about 10 ms of work. The others follow in the next.
MOST_DUE: Final = 2_000


#: What a word is called in the journal, where it begins a round.
_CAUSES: Final[dict[Word, RoundCause]] = {
    "failure": "failure",
    "limit": "limit",
    "crash": "crash",
    "stopped": "stopped",
}


class Book:
    """All requests of one executor, with whatever belongs to them."""

    def __init__(self, letters: Letters, *, speaks_native: bool) -> None:
        #: Whether native workers are among those asked.
        self.speaks_native = speaks_native
        #: What is to be done about the present input, in order.
        self.out: list[Effect] = []
        #: What happened that changed nothing: late, double, unknown or illegal answers, by reason.
        self.counts: Counter[str] = Counter()
        self.letters = letters
        self.directory = Directory()
        self.requests: dict[str, Request] = {}
        #: Uuids, by the other names of their rounds at peers that know no tickets.
        self._by_name: dict[str, str] = {}
        self.lanes = Lanes(self.directory)
        #: Requests whose time has not come.
        self.later = Later()
        #: Which of those that wait their own limits let go.
        self.throttle = Throttle()
        #: Expiries, next CANCELs, passed start-bys and silences.
        self.timers = Timers(self.requests)
        self.receipts = Receipts()
        #: Why no private worker will ever come; None while one may.
        self.hopeless: str | None = None
        #: What was found for those of a lane that expire now: the same for all of them.
        self._found: dict[LaneKey, str] = {}

    def take(self) -> list[Effect]:
        """What is to be done about the input that was just worked through."""
        out, self.out = self.out, []
        self._found.clear()
        return out

    def open(self, order: Order, now: float) -> Request:
        """One more."""
        request = self.requests[order.uuid] = Request(order, now)
        return request

    def about(self, correlation_id: str | None) -> Request | None:
        """The open request that a message of this correlation id is about."""
        name = correlation_id or ""
        return self.requests.get(name) or self.requests.get(self._by_name.get(name, ""))

    def know(self, request: Request, attempt: Attempt) -> None:
        """An attempt was added: what is said under its name is about this request."""
        name, uuid = attempt.name, request.order.uuid
        if name != uuid and name not in self._by_name:
            self._by_name[name] = uuid
            request.names.append(name)

    def start_clock(self, request: Request, now: float) -> None:
        """Have it expire at its time, if that runs at all."""
        request.deadline = self._deadline(request, now)
        if request.deadline is not None:
            self.timers.set(request.deadline, request.order.uuid)

    def _deadline(self, request: Request, now: float) -> float | None:
        timeout = request.order.timeout
        if timeout is not None and not request.has_run:
            return request.ready_since + timeout
        if request.is_pending_at_taskflow or not (self.speaks_native or request.has_run):
            return max(now, request.ready_since) + REQUEST_TIMEOUT
        return request.deadline

    # waiting ----------------------------------------------------------------------------------

    def wait(self, request: Request, now: float, *, in_front: bool = False) -> LaneKey | None:
        """Have it wait in its lane, which is returned; None if its time has not come.

        Then it is held until ``request.not_before``, and offered to nobody.
        """
        self.throttle.frees(request)
        if request.is_due(now):
            self.later.leave(request)
            return self.lanes.enter(request, now, in_front=in_front)
        self.lanes.leave(request)
        self.later.hold(request)
        return None

    def take_due(self, now: float) -> list[LaneKey]:
        """Those whose time has come wait from now on, behind those that wait already.

        Returned are their lanes. So many at a time that nothing else has to wait for it.
        """
        due = islice(self.later.take_due(now), MOST_DUE)
        return list({self.lanes.enter(request, now): None for request in due})

    def _wait_no_more(self, request: Request) -> None:
        self.later.leave(request)
        self.lanes.leave(request)

    # going on ---------------------------------------------------------------------------------

    def next(
        self,
        request: Request,
        attempt: Attempt,
        word: Word,
        now: float,
        said: Mapping[str, Json] | None = None,
    ) -> None:
        """Do what this word about the attempt means. ``said``: the data of an end."""
        decision = verdict(request, word, self._names(request, word, said))
        if decision is Verdict.SETTLE:
            if word not in ("never", "over", "lost"):
                self.counts["fenced"] += 1
            self.settle(request, now)
        elif decision is Verdict.AGAIN:
            request.lost += word == "lost"
            self.wait_again(request, now)
        elif decision is Verdict.ROUND:
            request.crashes += word == "crash"
            request.rounds += 1
            request.lost = 0
            request.base = request.next_number
            self._record_round(request, attempt, word, said)
            self.wait_again(request, now)
        elif decision is Verdict.RETRY:
            self._retry(request, attempt, word, now, said)
        else:
            request.lost += word == "lost"
            outcome = _outcome(request, attempt, word, decision, said or {}, now)
            self.resolve(request, outcome, now, attempt.peer.name)

    def next_after_run(
        self,
        request: Request,
        attempt: Attempt,
        word: Word,
        now: float,
        said: Mapping[str, Json] | None = None,
    ) -> None:
        """The same of a word that implies that it ran."""
        request.deadline = None
        retries = request.retries
        self.next(request, attempt, word, now, said)
        if request.order.uuid in self.requests and request.retries == retries:
            self.has_run(request, now)

    def is_retried(self, request: Request, word: Word, said: Mapping[str, Json]) -> bool:
        """Whether this end of a run is followed by another round, if nothing newer stands."""
        return is_retried(request, word, self._names(request, word, said))

    def _names(
        self, request: Request, word: Word, said: Mapping[str, Json] | None
    ) -> Sequence[str]:
        """The classes of what a run came to, if anybody asks for them."""
        if request.order.retries is None:
            return ()
        if word == "limit":
            return TIME_LIMIT_NAMES
        return parse_failure(said.get("result")).type_names if said else ()

    def _retry(
        self,
        request: Request,
        attempt: Attempt,
        word: Word,
        now: float,
        said: Mapping[str, Json] | None,
    ) -> None:
        """It has failed, and its policy gives it another round: as if it were submitted then.

        It has not run yet, so it expires if nobody starts it in time, and can be cancelled.
        """
        policy = request.order.retries
        assert policy is not None
        request.retries += 1
        request.rounds += 1
        request.lost = 0
        request.base = request.next_number
        request.has_run = False
        delay = policy.wait(request.order.uuid, request.retries)
        request.not_before = now + delay
        self._record_round(request, attempt, word, said, delay)
        self.out.append(Rest(request.order.uuid))
        request.deadline = None
        request.deadline = self._deadline(request, now)
        self.wait_again(request, now)

    def _record_round(
        self,
        request: Request,
        attempt: Attempt,
        word: Word,
        said: Mapping[str, Json] | None,
        delay: float = 0.0,
    ) -> None:
        """A new round begins, because of what this attempt came to."""
        line = Round(
            request.order.uuid,
            request.base,
            request.crashes,
            request.retries,
            _CAUSES.get(word, ""),
            attempt.number,
            without_arguments(said.get("result")) if said else None,
            delay,
        )
        self.out.append(Record(line))

    def has_run(self, request: Request, now: float) -> None:
        """A worker has started it: it does not expire any more, and is cancelled by force only.

        But what is waited for at a taskflow worker has no other clock than its expiry.
        """
        if request.is_pending_at_taskflow:
            if request.has_expired(now):  # and that ran out while something else was settled
                request.deadline = now + REQUEST_TIMEOUT
                self.timers.set(request.deadline, request.order.uuid)
        elif request.deadline is not None:
            request.deadline = None
            if request.order.uuid in self.lanes:  # for another attempt, and by another clock now
                self.lanes.enter(request, now, in_front=True)
        if not request.has_run:
            request.has_run = True
            if not request.is_withdrawn:
                self.out.append(Begin(request.order.uuid))

    def wait_again(self, request: Request, now: float) -> None:
        """For the next attempt, at the front of its lane: it has waited already.

        Who has set ``request.not_before`` to a later time has it wait for that first. While an
        earlier attempt runs after all it waits for that one, and nothing new is sent.
        """
        request.phase = "OPEN"
        if request.elder is None:
            self.wait(request, now, in_front=True)
        if request.deadline is not None:  # its timer may have run while a worker had it
            self.timers.set(request.deadline, request.order.uuid)

    def give_up(self, request: Request, attempt: Attempt, now: float, *, is_gone: bool) -> None:
        """Nothing is heard of it: it is not waited for any more. ``is_gone``: it is not there."""
        was_waited_for = attempt is request.current
        was_waited_for_again = not was_waited_for and attempt is request.elder
        attempt.give_up(boot_is_gone=is_gone)
        attempt.peer.doubt(attempt)
        if is_gone:
            attempt.peer.drop(attempt)
        if was_waited_for:
            if attempt.startable:
                self.timers.set(attempt.closes, attempt.uuid, attempt.number)
            self.is_over(attempt, "lost")
            self.next(request, attempt, "lost", now)
        elif was_waited_for_again:
            self.is_over(attempt, "lost")
            self.superseded(request, attempt, "lost", now, {})
        else:
            self.settle(request, now)

    def take_back(self, request: Request, attempt: Attempt, now: float) -> None:
        """Given up too early: its worker's lease decides again, and nothing new is sent till then.

        Something newer may have been sent already; that goes on.
        """
        attempt.given_up = False
        if attempt.is_running and attempt.is_noted_lost:
            self.runs(attempt)
        request.lost = max(0, request.lost - 1)
        self._wait_no_more(request)
        self.throttle.occupies(request)
        attempt.peer.take(attempt)
        self.directory.watch(attempt.peer, now)

    def superseded(
        self, request: Request, attempt: Attempt, word: Word, now: float, said: Mapping[str, Json]
    ) -> None:
        """This word about an attempt that a newer one has followed; ``said``: the data of an end.

        It settles something, unless it was the last that was waited for.
        """
        uuid = request.order.uuid
        waits = uuid in self.lanes or uuid in self.later
        is_waited_for = request.current or request.elder or waits
        if request.phase == "OPEN" and not is_waited_for:
            self.next(request, attempt, word, now, said)
            return
        request.lost += word == "lost"
        is_end = word in ("crash", "stopped", "failure", "limit")
        if is_end and not attempt.given_up:  # else the journal has it
            self.is_over(attempt, "dropped")
        if is_end or word == "dropped":
            self.counts["fenced"] += 1
        self.settle(request, now)

    def reopen(self, request: Request, now: float) -> None:
        """It was started after all, while it was about to expire."""
        request.phase = "OPEN"
        newest = request.newest
        if newest is None or newest.has_ended:
            self.wait_again(request, now)
        elif newest.given_up and newest.peer.is_dead:
            self.next(request, newest, "lost", now)
        elif newest.given_up:
            self.take_back(request, newest, now)

    def runs(self, attempt: Attempt) -> None:
        """It does; in the journal that takes back that it was lost."""
        attempt.is_noted_lost = False
        self.out.append(Record(Running(attempt.uuid, attempt.number)))

    def is_over(self, attempt: Attempt, reason: OverReason) -> None:
        """It will not answer any more."""
        attempt.is_noted_lost = reason == "lost"
        self.out.append(Record(Over(attempt.uuid, attempt.number, reason)))

    # cancelling and expiring ------------------------------------------------------------------

    def cancel(self, request: Request, now: float, *, force: bool) -> None:
        """Its caller has cancelled it; without force, or before it ran, that is its outcome."""
        request.is_withdrawn |= not (force and request.has_run)
        request.is_forced |= force
        request.phase = "CANCELLING"
        self._end_or_tell(request, now)

    def cancel_again(self, request: Request, now: float) -> None:
        """It was cancelled before we were started again: the workers are told again."""
        self._end_or_tell(request, now)

    def expire(self, request: Request, now: float) -> None:
        """Its time is up: it ends once no worker can start it any more."""
        if not settling.is_settled(request):
            request.phase = "EXPIRING"
        self._end_or_tell(request, now)

    def settle(self, request: Request, now: float) -> None:
        """Something was proven about an attempt of it: perhaps it can end."""
        if request.phase != "OPEN" and settling.is_settled(request):
            self._end_settled(request, now)

    def tell_again(self, request: Request, now: float) -> None:
        """CANCEL, if it is still time for it."""
        if request.phase != "OPEN" and now >= request.cancel_at:
            self._tell(request, now)

    def _end_or_tell(self, request: Request, now: float) -> None:
        self._wait_no_more(request)
        if settling.is_settled(request):
            self._end_settled(request, now)
        else:
            request.cancels = 0
            self._tell(request, now)

    def _tell(self, request: Request, now: float) -> None:
        peers = settling.to_be_told(request)
        if not peers:
            return
        request.cancels += 1
        self.out += [Publish(self.letters.cancel(request, peer)) for peer in peers]
        request.cancel_at = now + settling.wait(request)
        self.timers.set(request.cancel_at, request.order.uuid, CANCEL)

    def _end_settled(self, request: Request, now: float) -> None:
        if request.phase == "CANCELLING":
            outcome: Outcome = Withdrawn()
            if not request.is_withdrawn:
                outcome = Error(words.cancelled(request))
        else:
            outcome = Error(self._expired(request, now))
        self.resolve(request, outcome, now)

    def _expired(self, request: Request, now: float) -> TasklineError:
        waits = request.phase == "OPEN" and request.current is None
        if not waits:
            return words.expired(request, words.sent_in_vain(request.attempts[-1], now), now)
        if self.hopeless is not None:
            return words.unloadable(request, self.hopeless)
        return words.expired(request, self._what_is_found(request, now), now)

    def _what_is_found(self, request: Request, now: float) -> str:
        """In words; once for all of a lane, because looking for near names is slow."""
        key = key_of(request)
        found = self._found.get(key)
        if found is None:
            obstacle = self.throttle.obstacle(key, now)
            found = self._found[key] = words.describe(self.directory, key, now, obstacle)
        return found

    # ending -----------------------------------------------------------------------------------

    def resolve(
        self, request: Request, outcome: Outcome, now: float, worker: str | None = None
    ) -> None:
        """It is over: whoever was sent it may forget it."""
        self.close(request)
        for attempt in request.attempts:
            if attempt.ticket is not None:
                self.receipts.add(attempt.peer, (attempt.ticket,), now)
        is_dead = _is_dead(request, outcome)
        self.out.append(Resolve(request.order.uuid, outcome, worker, is_dead))

    def close(self, request: Request) -> None:
        """Nothing here knows it any more."""
        del self.requests[request.order.uuid]
        for name in request.names:
            del self._by_name[name]
        for attempt in request.attempts:
            attempt.peer.drop(attempt)
            attempt.close()
        self._wait_no_more(request)
        self.throttle.frees(request)

    def post(self, now: float) -> None:
        """Send the receipts whose time has come."""
        for peer, tickets in self.receipts.leaving(now):
            self.out.append(Publish(self.letters.receipt(peer, tickets)))


def _is_dead(request: Request, outcome: Outcome) -> bool:
    """Whether somebody should see to it: it is poison, or was to be retried and came to nothing."""
    if request.phase == "CANCELLING" or isinstance(outcome, (Value, Withdrawn)):
        return False
    is_poison = isinstance(outcome, Error) and isinstance(outcome.error, PoisonTask)
    return is_poison or request.order.retries is not None


def _outcome(
    request: Request,
    attempt: Attempt,
    word: Word,
    decision: Verdict,
    said: Mapping[str, Json],
    now: float,
) -> Outcome:
    if decision is Verdict.VALUE:
        return Value(said["result"])
    if decision is Verdict.FAILED:
        return Failed(said.get("result"), attempt.peer.name)
    if decision is Verdict.TIME_LIMIT:
        return Error(words.time_limit(request, attempt))
    if decision is Verdict.POISON:
        told = str(parse_failure(said.get("result")).text)
        return Error(words.poison(request, attempt, told))
    if decision is Verdict.RESULT_LOST:
        return Error(words.result_lost(request, attempt))
    if word == "lost":
        return Error(words.worker_lost(request, attempt, now))
    return Error(words.stopped(request, attempt))
