"""A request is cancelled, or its time runs out: when that is its end, and who is told until then.

Decided here: that it ends once every attempt ever sent is settled (``settling``), that workers are
told until it is, and what its caller reads (native dialect, section 5). Keeper only.
"""

from __future__ import annotations

from executor import settling, words
from executor.book import Book
from executor.effects import Error, Outcome, Publish, Withdrawn
from executor.lanes import key_of
from executor.request import Request
from executor.timers import CANCEL
from protocol.errors import TasklineError


class Withdrawals:
    """Of the requests in a book."""

    def __init__(self, book: Book) -> None:
        self._book = book

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
        self._book.wait_no_more(request)
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
        self._book.out += [Publish(self._book.letters.cancel(request, peer)) for peer in peers]
        request.cancel_at = now + settling.wait(request)
        self._book.timers.set(request.cancel_at, request.order.uuid, CANCEL)

    def _end_settled(self, request: Request, now: float) -> None:
        if request.phase == "CANCELLING":
            outcome: Outcome = Withdrawn()
            if not request.is_withdrawn:
                outcome = Error(words.cancelled(request))
        else:
            outcome = Error(self._expired(request, now))
        self._book.resolve(request, outcome, now)

    def _expired(self, request: Request, now: float) -> TasklineError:
        waits = request.phase == "OPEN" and request.current is None
        if not waits:
            return words.expired(request, words.sent_in_vain(request.attempts[-1], now), now)
        if self._book.hopeless is not None:
            return words.unloadable(request, self._book.hopeless)
        too_large = words.insufficient(request, key_of(request), self._book.directory)
        if too_large is not None:
            return too_large
        return words.expired(request, self._what_is_found(request, now), now)

    def _what_is_found(self, request: Request, now: float) -> str:
        """In words; once for all of a lane, because looking for near names is slow."""
        key = key_of(request)
        found = self._book.found.get(key)
        if found is None:
            obstacle = self._book.throttle.obstacle(key, now)
            found = self._book.found[key] = words.describe(self._book.directory, key, now, obstacle)
        return found
