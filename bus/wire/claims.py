"""The thread that claims names at a broker, so that of many processes one has them.

A claim is a value under a name for so many seconds of the broker's own clock. Redis and the brokers
of our own can set a name if it is free; RabbitMQ and a folder cannot (``demand_place``). Decided
here: how long a caller waits, what is tried again, and that a claim of which nobody knows whether
it was made is taken back. Not decided here: what a claim is for (``executor.unique``).

The connection belongs to one thread of its own, which starts with the first claim: a caller waits
for it, but no longer than ``CLAIM_TIMEOUT``, whatever the broker does. What many callers want at
once is claimed in one round trip. A value is another one for each request, so that to claim again
after a line broke in the middle is harmless: the name has our value, or it has not.

*Owed* is what is to be taken back: claims whose caller was told that there is none, or whose
request was not submitted after all. It is taken back before anything else is claimed, so that who
tries again does not meet himself. What is still owed when the thread ends, because the broker does
not answer, ends by itself after its seconds; so does the oldest beyond ``MAX_OWED``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from bus.wire import deadlines
from bus.wire.backoff import Backoff
from bus.wire.broker import Broker
from bus.wire.mailbox import Mailbox
from bus.wire.urls import BrokerUrl
from protocol.claim import Found, Wanted
from protocol.errors import BrokerError, BrokerUnavailable, ConfigurationError

logger = logging.getLogger("taskline.bus.wire.claims")

MAX_OWED: Final = 10_000  # claims
_TRIES: Final = 2  # the connection there is may have been lost unnoticed; then on a fresh one
_LOOKS: Final = 5  # at a name that was another's, and free again before we could see whose

_NOWHERE: Final = {
    "amqp": (
        "RabbitMQ keeps messages only, and has nothing that is set if it is free, so that nobody "
        "could say which of two executors was first"
    ),
    "filesystem": (
        "the folder is laid out as taskflow's peers know it, for messages only, and has no place "
        "for a claim"
    ),
}


def demand_place(url: BrokerUrl, what: str) -> None:
    """Raises ``ConfigurationError`` if nothing can be claimed at this broker.

    ``what`` was asked for, for the error.
    """
    if url.kind in _NOWHERE:
        raise ConfigurationError(
            f"{what} cannot be had on {url.shown}: {_NOWHERE[url.kind]}; use redis:// or local:// "
            "for it, or submit through one executor, whose key= alone joins what is the same"
        )


@dataclass(slots=True, eq=False)
class _Ask:
    """What a caller wants, and where it waits."""

    wanted: Wanted
    answer: concurrent.futures.Future[Found] = field(default_factory=concurrent.futures.Future)


@dataclass(frozen=True, slots=True)
class _Release:
    """A claim that is not needed after all."""

    name: str
    value: str


class Claims:
    """One for each executor. Any thread may claim and release; ``stop`` may be called twice."""

    def __init__(self, url: BrokerUrl, *, name: str) -> None:
        """``name``: the thread's, which starts with the first claim."""
        self._url = url
        self._broker = Broker(url)
        self._mailbox: Mailbox[_Ask | _Release | None] = Mailbox()
        #: Guards the start of the thread and its end. Re-entrant, because a signal handler may
        #: submit in the middle of it.
        self._lock = threading.RLock()
        self._is_started = self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        #: Names and values to be taken back. The thread's own, as all that follows.
        self._owed: dict[tuple[str, str], None] = {}
        self._used = 0.0
        self._backoff = Backoff()
        self._next_try = 0.0

    def claim(self, wanted: Wanted) -> Found:
        """Claim a name if it is free; what is there now: our own value if it is ours.

        Raises ``BrokerUnavailable`` if the broker has not said so within ``CLAIM_TIMEOUT``: then it
        is not claimed, or will be taken back.
        """
        ask = _Ask(wanted)
        with self._lock:
            if self._is_stopped:
                raise BrokerUnavailable(self._words("the executor is shut down"))
            if not self._is_started:
                self._is_started = True
                self._thread.start()
            self._mailbox.put(ask)
        try:
            return ask.answer.result(deadlines.CLAIM_TIMEOUT)
        except concurrent.futures.TimeoutError:
            if ask.answer.cancel():  # before the thread could answer: it takes it back
                waited = f"it did not answer within {deadlines.CLAIM_TIMEOUT:.0f} s"
                raise BrokerUnavailable(self._words(waited)) from None
            return ask.answer.result()
        except BaseException:  # an interrupt: nobody will hear the answer
            if not ask.answer.cancel() and ask.answer.exception() is None:
                self.release(wanted.name, wanted.value)
            raise

    def release(self, name: str, value: str) -> None:
        """Take a claim back, before anything that is claimed from now on. Returns at once."""
        self._mailbox.put(_Release(name, value))

    def stop(self, timeout: float) -> None:
        """End the thread; what is owed is tried once more, for about so many seconds at most."""
        with self._lock:
            self._is_stopped = True
        if not self._thread.is_alive():
            return
        self._mailbox.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._broker.abort()  # out of whatever it waits for
            self._thread.join(deadlines.CLOSING)

    # the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            wait = self._next_try - time.monotonic() if self._owed else deadlines.CLAIM_IDLE
            items = self._mailbox.take(max(0.0, wait))
            is_ending = None in items
            for item in items:
                if isinstance(item, _Release):
                    self._owe(item.name, item.value)
            asks = [item for item in items if isinstance(item, _Ask)]
            if asks or (self._owed and (is_ending or time.monotonic() >= self._next_try)):
                self._serve(asks)
            elif not items and time.monotonic() - self._used >= deadlines.CLAIM_IDLE:
                self._broker.close()  # a line that is not looked after would be found dead one day
        self._broker.close()
        if self._owed:
            logger.warning(
                "%d keys could not be given back to %s; they end after their seconds",
                len(self._owed),
                self._url.shown,
            )

    def _serve(self, asks: list[_Ask]) -> None:
        """Answer these; before, take back what is owed."""
        asks = [ask for ask in asks if not ask.answer.cancelled()]
        for left in reversed(range(_TRIES)):
            try:
                self._serve_once(asks)
            except Exception as error:
                self._broker.close()
                if left and not isinstance(error, BrokerUnavailable):
                    continue
                self._fail(asks, error)
            else:
                self._backoff.reset()
            break
        self._used = time.monotonic()

    def _serve_once(self, asks: list[_Ask]) -> None:
        if not self._broker.is_open:
            self._broker.open()
        for name, value in list(self._owed):
            self._broker.release(name, value)
            self._owed.pop((name, value), None)
        waiting: list[_Ask] = []
        for ask in asks:
            if ask.answer.cancelled():  # perhaps after it was made, by the try before
                self._owe(ask.wanted.name, ask.wanted.value)
            else:
                waiting.append(ask)
        for _ in range(_LOOKS):
            if not waiting:
                return
            found = self._broker.claim([ask.wanted for ask in waiting])
            open_still: list[_Ask] = []
            for ask, one in zip(waiting, found, strict=True):
                if one is None:
                    open_still.append(ask)
                elif not _answer(ask, one):
                    self._owe(ask.wanted.name, ask.wanted.value)
            waiting = open_still
        for ask in waiting:
            self._owe(ask.wanted.name, ask.wanted.value)
            said = f"under {ask.wanted.name!r} is something that says nothing and does not end"
            _fail_one(ask, BrokerUnavailable(self._words(f"{said}: delete it there")))

    def _fail(self, asks: list[_Ask], error: Exception) -> None:
        self._next_try = time.monotonic() + self._backoff.next()
        unavailable = BrokerUnavailable(self._words(f"{type(error).__name__}: {error}"))
        unavailable.__cause__ = error
        for ask in asks:
            if not ask.answer.done() or ask.answer.cancelled():
                # Perhaps it was made, and only the answer was lost.
                self._owe(ask.wanted.name, ask.wanted.value)
                _fail_one(ask, unavailable)

    def _owe(self, name: str, value: str) -> None:
        self._owed[name, value] = None
        while len(self._owed) > MAX_OWED:
            self._owed.pop(next(iter(self._owed)))

    def _words(self, found: str) -> str:
        return (
            f"claiming a key at {self._url.shown} failed: {found}; nothing was submitted, and the "
            "claim is taken back if it was made: submit again when the broker is there"
        )


def _answer(ask: _Ask, found: Found) -> bool:
    """Tell its caller; False if that has gone and left a claim of ours behind."""
    try:
        ask.answer.set_result(found)
    except concurrent.futures.InvalidStateError:
        return found.value != ask.wanted.value
    return True


def _fail_one(ask: _Ask, error: BrokerError) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        ask.answer.set_exception(error)
