"""What follows when an attempt has come to something: another, a new round, or the end.

Decided here: how a verdict (``verdicts``) is carried out, what is waited for again, and what the
journal is told of attempts and rounds (native dialect, section 5). Not decided here: what a message
says (``answers``), whose silence is too long (``attendance``). Keeper only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from executor import words
from executor.book import Book
from executor.effects import Begin, Error, Failed, Outcome, Record, Rest, Value
from executor.request import Attempt, Request
from executor.verdicts import Verdict, Word, is_retried, verdict
from executor.withdrawals import Withdrawals
from protocol.events import Over, OverReason, Round, RoundCause, Running
from protocol.failure import parse as parse_failure
from protocol.failure import without_arguments
from protocol.retry import MEMORY_LIMIT_NAMES, TIME_LIMIT_NAMES
from protocol.timing import REQUEST_TIMEOUT
from protocol.values import Json

#: What a word is called in the journal, where it begins a round.
_CAUSES: Final[dict[Word, RoundCause]] = {
    "failure": "failure",
    "limit": "limit",
    "crash": "crash",
    "stopped": "stopped",
}


class Rounds:
    """Of the requests in a book."""

    def __init__(self, book: Book, withdrawals: Withdrawals) -> None:
        self._book = book
        self._withdrawals = withdrawals

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
                self._book.counts["fenced"] += 1
            self._withdrawals.settle(request, now)
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
            self._book.resolve(request, outcome, now, attempt.peer.name)

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
        if request.order.uuid in self._book.requests and request.retries == retries:
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
            return MEMORY_LIMIT_NAMES if _is_of_memory(said) else TIME_LIMIT_NAMES
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
        self._book.out.append(Rest(request.order.uuid))
        request.deadline = None
        request.deadline = self._book.deadline_of(request, now)
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
        self._book.out.append(Record(line))

    def has_run(self, request: Request, now: float) -> None:
        """A worker has started it: it does not expire any more, and is cancelled by force only.

        But what is waited for at a taskflow worker has no other clock than its expiry.
        """
        if request.is_pending_at_taskflow:
            if request.has_expired(now):  # and that ran out while something else was settled
                request.deadline = now + REQUEST_TIMEOUT
                self._book.timers.set(request.deadline, request.order.uuid)
        elif request.deadline is not None:
            request.deadline = None
            if (
                request.order.uuid in self._book.lanes
            ):  # for another attempt, and by another clock now
                self._book.lanes.enter(request, now, in_front=True)
        if not request.has_run:
            request.has_run = True
            if not request.is_withdrawn:
                self._book.out.append(Begin(request.order.uuid))

    def wait_again(self, request: Request, now: float) -> None:
        """For the next attempt, at the front of its lane: it has waited already.

        Who has set ``request.not_before`` to a later time has it wait for that first. While an
        earlier attempt runs after all it waits for that one, and nothing new is sent.
        """
        request.phase = "OPEN"
        if request.elder is None:
            self._book.wait(request, now, in_front=True)
        if request.deadline is not None:  # its timer may have run while a worker had it
            self._book.timers.set(request.deadline, request.order.uuid)

    def give_up(
        self,
        request: Request,
        attempt: Attempt,
        now: float,
        *,
        is_gone: bool,
        reason: OverReason = "lost",
    ) -> None:
        """Nothing is heard of it: it is not waited for any more. ``is_gone``: it is not there."""
        was_waited_for = attempt is request.current
        was_waited_for_again = not was_waited_for and attempt is request.elder
        attempt.give_up(boot_is_gone=is_gone)
        attempt.peer.doubt(attempt)
        if is_gone:
            attempt.peer.drop(attempt)
        if was_waited_for:
            if attempt.startable:
                self._book.timers.set(attempt.closes, attempt.uuid, attempt.number)
            self.is_over(attempt, reason)
            self.next(request, attempt, "lost", now)
        elif was_waited_for_again:
            self.is_over(attempt, reason)
            self.superseded(request, attempt, "lost", now, {})
        else:
            self._withdrawals.settle(request, now)

    def take_back(self, request: Request, attempt: Attempt, now: float) -> None:
        """Given up too early: its worker's lease decides again, and nothing new is sent till then.

        Something newer may have been sent already; that goes on.
        """
        attempt.given_up = False
        if attempt.is_running and attempt.is_noted_lost:
            self.runs(attempt)
        request.lost = max(0, request.lost - 1)
        self._book.wait_no_more(request)
        self._book.throttle.occupies(request)
        attempt.peer.take(attempt)
        self._book.directory.watch(attempt.peer, now)

    def superseded(
        self, request: Request, attempt: Attempt, word: Word, now: float, said: Mapping[str, Json]
    ) -> None:
        """This word about an attempt that a newer one has followed; ``said``: the data of an end.

        It settles something, unless it was the last that was waited for.
        """
        uuid = request.order.uuid
        waits = uuid in self._book.lanes or uuid in self._book.later
        is_waited_for = request.current or request.elder or waits
        if request.phase == "OPEN" and not is_waited_for:
            self.next(request, attempt, word, now, said)
            return
        request.lost += word == "lost"
        is_end = word in ("crash", "stopped", "failure", "limit")
        if is_end and not attempt.given_up:  # else the journal has it
            self.is_over(attempt, "dropped")
        if is_end or word == "dropped":
            self._book.counts["fenced"] += 1
        self._withdrawals.settle(request, now)

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
        self._book.out.append(Record(Running(attempt.uuid, attempt.number)))

    def is_over(self, attempt: Attempt, reason: OverReason) -> None:
        """It will not answer any more."""
        attempt.is_noted_lost = reason == "lost"
        self._book.out.append(Record(Over(attempt.uuid, attempt.number, reason)))


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
        if _is_of_memory(said):
            told = str(parse_failure(said.get("result")).text)
            return Error(words.memory_limit(request, attempt, told))
        return Error(words.time_limit(request, attempt))
    if decision is Verdict.POISON:
        told = str(parse_failure(said.get("result")).text)
        return Error(words.poison(request, attempt, told))
    if decision is Verdict.RESULT_LOST:
        return Error(words.result_lost(request, attempt))
    if word == "lost":
        return Error(words.worker_lost(request, attempt, now))
    return Error(words.stopped(request, attempt))


def _is_of_memory(said: Mapping[str, Json] | None) -> bool:
    """Whether the limit at which it was ended is that of its memory, and not of its time."""
    names = parse_failure(said.get("result")).type_names if said else ()
    return names[:1] == MEMORY_LIMIT_NAMES[:1]
