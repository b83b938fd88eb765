"""What workers say about attempts, and what it does to them (native dialect, section 4).

Decided here: which attempt an answer is about, what is nonsense, what is fenced, what is receipted
at once. What it means for the request, ``verdicts`` says and ``rounds`` does. Keeper only.

An answer that ends something is receipted, but only the tickets it names: what else was sent there
may still be answered. All of a request's tickets are receipted when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from executor import words
from executor.book import Book
from executor.digest import Digest
from executor.dispatching import Dispatching
from executor.effects import Error, Tell
from executor.peer import Peer
from executor.request import Attempt, Request
from executor.rounds import Rounds
from executor.verdicts import Word
from executor.withdrawals import Withdrawals
from protocol import envelope
from protocol.envelope import Envelope, Header
from protocol.errors import IllegalTransition, MessageRefused
from protocol.messages import Dropped, Held, Release, Response
from protocol.parcel import Parcel, Refused
from protocol.states import EVENT, FAILURE, PENDING, RUNNING, SUCCESS
from protocol.tickets import Ticket, parse
from protocol.values import Json

#: How a FAILURE ended, by what the header says; anything else is the task's own.
_ENDS: Final[dict[str | None, Word]] = {"limit": "limit", "crash": "crash", "stopped": "stopped"}


class Answers:
    """Works through one message at a time."""

    def __init__(
        self,
        book: Book,
        rounds: Rounds,
        withdrawals: Withdrawals,
        dispatching: Dispatching,
        incarnation: int,
    ) -> None:
        """``incarnation``: ours, at present."""
        self._book = book
        self._rounds = rounds
        self._withdrawals = withdrawals
        self._dispatching = dispatching
        self._incarnation = incarnation

    # RESPONSE ---------------------------------------------------------------------------------

    def response(self, around: Envelope, said: Response, now: float) -> None:
        """RESPONSE: it runs, it said something, it ended."""
        book = self._book
        header = around.header
        tickets = self._tickets(header.tickets) if header else []
        request = book.about(around.correlation_id)
        if request is None:
            book.counts["late_or_unknown"] += 1
            if said.state in (SUCCESS, FAILURE):
                self._receipt(header, tickets, now)
            return
        attempt = _attempt_of(request, around, tickets, said)
        if attempt is None or (around.is_foreign and attempt.peer.is_native):
            book.counts["not_sent_there"] += 1
            return
        attempt.peer.is_proven = True
        if not attempt.peer.is_native:
            book.directory.watch(attempt.peer, now)
        if said.state == EVENT:
            self._event(request, attempt, said, now)
        elif said.state == RUNNING:
            self._runs(request, attempt, now)
        elif said.state in (SUCCESS, FAILURE):
            self._ended(request, attempt, header, tickets, said, now)
        else:
            book.counts["illegal_transition"] += 1

    def _event(self, request: Request, attempt: Attempt, said: Response, now: float) -> None:
        data = said.data
        if attempt.has_ended:
            self._book.counts["late_or_unknown"] += 1
        elif "event_type" not in data:
            self._book.counts["empty_event"] += 1
        else:
            self._runs(request, attempt, now)  # who says something runs
            is_open = request.order.uuid in self._book.requests
            if attempt.number < request.base:
                self._book.counts["fenced"] += 1
            elif is_open and request.order.wants_events and not request.is_withdrawn:
                tell = Tell(request.order.uuid, data["event_type"], data["details"])
                self._book.out.append(tell)

    def _runs(
        self, request: Request, attempt: Attempt, now: float, *, is_digest: bool = False
    ) -> None:
        """It runs; a digest says so of this moment, so its worker is there to end it."""
        book = self._book
        if attempt.has_ended:
            book.counts["late_or_unknown"] += 1
            return
        is_news = attempt.run()
        if is_news:
            self._rounds.runs(attempt)
        if attempt.number < request.base:
            self._withdrawals.settle(request, now)
            return
        self._rounds.has_run(request, now)
        returns = attempt.given_up and not attempt.peer.is_dead and (is_news or is_digest)
        if request.phase == "EXPIRING" and (is_news or returns):
            if returns and attempt is not request.newest:
                self._rounds.take_back(request, attempt, now)
            self._rounds.reopen(request, now)
        elif request.phase == "OPEN" and returns:
            self._rounds.take_back(request, attempt, now)
        else:
            self._withdrawals.settle(request, now)

    def _ended(
        self,
        request: Request,
        attempt: Attempt,
        header: Header | None,
        tickets: Sequence[Ticket],
        said: Response,
        now: float,
    ) -> None:
        book = self._book
        attempt.peer.drop(attempt)
        word: Word = "success" if said.state == SUCCESS else "failure"
        if said.state == FAILURE and header is not None:
            word = _ENDS.get(header.end, "failure")
        data = said.data
        if word == "success" and "result" not in data:
            # taskflow's schema lets a SUCCESS without a result through; its engine dies of it.
            book.counts["result_missing"] += 1
            word, data = "failure", {"result": words.no_result()}
        if attempt.number < request.base:
            attempt.fence()
            book.counts["fenced"] += 1
            self._withdrawals.settle(request, now)
        elif attempt.has_ended:
            book.counts["double"] += 1
        else:
            if header is not None and header.end is not None and attempt.run():
                self._rounds.runs(attempt)  # its RUNNING was lost, or not worth a message
            attempt.end(said.state)
            self._counts(request, attempt, word, data, now)
        if request.order.uuid in book.requests:
            self._receipt(header, tickets, now)

    def _counts(
        self, request: Request, attempt: Attempt, word: Word, data: Mapping[str, Json], now: float
    ) -> None:
        """An end of the present round, the first of this attempt."""
        if attempt is not request.newest and self._is_run_again(request, word, data):
            self._rounds.superseded(request, attempt, word, now, data)
            return
        if attempt is not request.newest or attempt.given_up:
            self._book.counts["late_but_first"] += 1
        self._rounds.next_after_run(request, attempt, word, now, data)

    def _is_run_again(self, request: Request, word: Word, said: Mapping[str, Json]) -> bool:
        """Whether this end is none: what was sent since is the next run, and stands."""
        if word in ("crash", "stopped"):
            return True
        return request.phase == "OPEN" and self._rounds.is_retried(request, word, said)

    def refused(self, refused: Refused, now: float) -> None:
        """A reply that is no message.

        If it is about a request of ours that its peer cannot answer better, the request ends with
        what was found: nothing is left hanging by a bad answer.
        """
        book = self._book
        request = book.about(refused.correlation_id)
        if request is None or refused.kind != envelope.RESPONSE:
            return
        current = request.current
        if current is None or (current.ticket is not None and not current.is_running):
            return  # it waits, or its start-by will have it wait again
        if refused.is_foreign and current.peer.is_native:
            return  # anybody's word
        if current.name != refused.correlation_id:
            return  # about a round that is past
        current.end(FAILURE)
        current.peer.drop(current)
        failure = words.unreadable(refused.reason, refused.detail)
        self._rounds.next(request, current, "failure", now, {"result": failure})

    def undeliverable(self, parcel: Parcel, why: str, now: float) -> None:
        """A message of ours that the broker does not take.

        A request that it has not taken at all has not arrived, and would not anywhere else. One
        that was only to be sent again may have: its worker's digests go on telling of that one.
        """
        around = parcel.envelope
        request = self._book.about(around.correlation_id)
        if request is None or around.kind != envelope.REQUEST:
            return
        header = around.header
        tickets = self._tickets(header.tickets) if header else []
        boot = header.boot if header else None
        attempt = request.find(boot, tickets, name=around.correlation_id)
        if attempt is None or attempt.resends or attempt.is_running or attempt.has_ended:
            return
        if request.phase == "OPEN" and attempt is request.newest:
            error = words.undeliverable(request, len(parcel.body), why)
            self._book.resolve(request, Error(error), now)
        else:
            self._never(request, attempt, now)

    # RELEASE, DROPPED, HELD -------------------------------------------------------------------

    def release(self, boot: str, said: Release, now: float) -> None:
        """RELEASE: these were never started there and never will be."""
        book = self._book
        peer = book.directory.find(boot)
        for text, _ in said.items:
            for ticket in self._tickets(text):
                attempt = peer.find(ticket) if peer is not None else None
                if attempt is None:
                    book.counts["release_of_unknown"] += 1
                else:
                    self._never(book.requests[attempt.uuid], attempt, now)

    def dropped(self, boot: str, said: Dropped, now: float) -> None:
        """DROPPED: these ran to their end, and nothing of it is left."""
        peer = self._book.directory.find(boot)
        if peer is None:
            self._book.counts["late_or_unknown"] += 1
            return
        tickets = self._tickets(said.tickets)
        for ticket in tickets:
            self._dropped(peer.find(ticket), now)
        self._forget(peer, tickets, now)

    def held(self, boot: str, clock: int, said: Held, now: float) -> None:
        """HELD: all that is there. What it lacks after its start-by never was, and never will be.

        An older one than the last tells nothing that this has not told since.
        """
        book = self._book
        peer = book.directory.find(boot)
        if peer is None:
            book.counts["held_of_unknown"] += 1
            return
        if clock < peer.told:
            book.counts["held_overtaken"] += 1
            return
        try:
            digest = Digest(said)
        except MessageRefused as refusal:
            book.counts[refusal.reason] += 1
            return
        peer.told = clock
        for attempt in peer.attempts:
            if attempt.ticket is None:
                continue
            request = book.requests.get(attempt.uuid)
            if request is None:  # this digest has ended it, by another attempt
                continue
            where = digest.where(attempt.ticket)
            attempt.may_be_dropped &= where is None
            if where in ("queued", "running", "ended"):
                peer.take(attempt)
            if where == "queued":
                self._queued(request, attempt, now)
            elif where == "dropped":
                self._dropped(attempt, now)
            elif where is not None:
                self._runs(request, attempt, now, is_digest=True)
            elif clock >= attempt.start_by:
                self._absent(request, attempt, now)
            else:
                self._dispatching.send_again(request, attempt, clock)
        given = (
            (incarnation, (first, min(last, peer.last_ticket)))
            if incarnation == self._incarnation
            else (incarnation, (first, last))
            for incarnation, (first, last) in digest.dropped()
            if self._was_given(peer, Ticket(incarnation, first))
        )
        book.receipts.add_spans(peer, given, now)

    def _queued(self, request: Request, attempt: Attempt, now: float) -> None:
        try:
            attempt.queue()
        except IllegalTransition:
            self._book.counts["illegal_transition"] += 1
            return
        attempt.is_named = True
        is_waiting_again = attempt is request.newest and attempt.given_up and not attempt.is_running
        if request.phase == "OPEN" and is_waiting_again and not attempt.peer.is_dead:
            self._rounds.take_back(request, attempt, now)

    def _absent(self, request: Request, attempt: Attempt, now: float) -> None:
        """It is not there, and will not be started any more."""
        if attempt.may_be_dropped and not attempt.is_running:
            self._rounds.give_up(request, attempt, now, is_gone=True, reason="dropped")
        else:
            self._never(request, attempt, now)

    def _never(self, request: Request, attempt: Attempt, now: float) -> None:
        is_newest = attempt is request.newest
        ran = attempt.is_running
        is_news = attempt.never(is_newest=is_newest)
        attempt.peer.drop(attempt)
        if not is_news:
            return
        self._rounds.is_over(attempt, "dropped" if ran else "never")
        if is_newest:
            self._rounds.next(request, attempt, "over" if ran else "never", now)
        else:
            self._rounds.superseded(request, attempt, "over" if ran else "never", now, {})

    def _dropped(self, attempt: Attempt | None, now: float) -> None:
        book = self._book
        if attempt is None:
            book.counts["late_or_unknown"] += 1
            return
        request = book.requests[attempt.uuid]
        attempt.peer.drop(attempt)
        if not attempt.drop():
            book.counts["double"] += 1
            return
        self._rounds.is_over(attempt, "dropped")
        if attempt is not request.newest:
            self._rounds.superseded(request, attempt, "dropped", now, {})
            return
        self._rounds.next_after_run(request, attempt, "dropped", now)

    # which --------------------------------------------------------------------------------------

    def _tickets(self, text: str | None) -> list[Ticket]:
        try:
            return parse(text or "")
        except MessageRefused as refusal:
            self._book.counts[refusal.reason] += 1
            return []

    def _receipt(self, header: Header | None, tickets: Sequence[Ticket], now: float) -> None:
        peer = self._peer(header)
        if peer is not None:
            self._forget(peer, tickets, now)

    def _forget(self, peer: Peer, tickets: Sequence[Ticket], now: float) -> None:
        """It may forget these, as far as they are its own and nothing of them is waited for.

        An answer names tickets as it likes: what it says of a request that is unknown must cost no
        other one its result. And who is told that a ticket is over which it has not been given yet
        takes all below it for over too, in a while, and is deaf to what is sent under them.
        """
        given = [ticket for ticket in tickets if self._was_given(peer, ticket)]
        over = [ticket for ticket in given if peer.find(ticket) is None]
        if len(over) < len(tickets):
            self._book.counts["receipt_not_due"] += 1
        self._book.receipts.add(peer, over, now)

    def _was_given(self, peer: Peer, ticket: Ticket) -> bool:
        """Whether this process may have been sent it. Of earlier incarnations nobody knows."""
        if ticket.incarnation == self._incarnation:
            return ticket.number <= peer.last_ticket
        return ticket.incarnation < self._incarnation

    def _peer(self, header: Header | None) -> Peer | None:
        if header is None or header.boot is None:
            return None
        return self._book.directory.find(header.boot)


def _attempt_of(
    request: Request, around: Envelope, tickets: Sequence[Ticket], said: Response
) -> Attempt | None:
    """The attempt it is about.

    A worker that could not read a request cannot name its ticket: its refusal, a FAILURE without a
    header, is about the attempt that has not been answered.
    """
    if around.header is not None:
        return request.find(around.header.boot, tickets)
    attempt = request.find(None, name=around.correlation_id)
    current = request.current
    if attempt is None and said.state == FAILURE and request.state == PENDING:
        return current if current is not None and current.ticket is not None else None
    return attempt
