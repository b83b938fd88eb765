"""A request found again: by its uuid, or by the key its caller gave it.

Decided here: where it is looked for (among those open, then in the journal, or without one in the
memory of what has ended), what a key stands for, and when it is free. A key names one call: the
same task with the same arguments, whatever its version and options. It stands for the request that
was submitted with it first, open or ended, success or failure, for as long as that is remembered; a
request that was cancelled leaves its key to the next submission, which is a new request.

Any thread; ``join`` and ``submitted`` with the engine's door held, so that of many who submit with
one key at once one is first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

from executor import outcomes
from executor.effects import Outcome, Withdrawn
from executor.future import Future
from executor.memory import Memory
from executor.outcomes import was_cancelled
from executor.turn import Requests
from protocol.errors import ConfigurationError, TaskCancelled, UnknownRequest
from protocol.history import RequestStatus
from protocol.values import Json, dumps

#: What ``submit`` does with a key that stands for a request: return its future, or refuse.
OnConflict: TypeAlias = Literal["join", "reject"]

#: What of a REQUEST's body makes it another call.
_CALL: Final = ("task_cls", "task_name", "action", "args", "arguments", "result", "failures")


class Book(Protocol):
    """What a journal is asked for. Any thread."""

    def find(self, uuid: str, /) -> RequestStatus | None:
        """The request of this uuid, open or ended."""

    def find_key(self, key: str, /) -> str | None:
        """The uuid of the request of this key."""

    def keeps_all_of(self, incarnation: int, /) -> bool:
        """Whether every request that this incarnation has submitted would be found."""


class Recall:
    """Looks in all places."""

    def __init__(
        self,
        requests: Requests,
        journal: Book | None,
        memory: Memory,
        make: Callable[[str, str], Future[Any]],
    ) -> None:
        """``make``: a new future, of this uuid and task."""
        self._requests = requests
        self._journal = journal
        self._memory = memory
        self._make = make

    def future(self, uuid: str) -> Future[Any]:
        """The future of an open request, or one that ended as the request did.

        Raises ``UnknownRequest``.
        """
        for _ in range(2):  # it may end while we look
            if (live := self._live(uuid)) is not None:
                return live
            if (done := self._done(uuid)) is not None:
                return done
        raise UnknownRequest(
            f"request {uuid} is not known here: it is not open, and "
            + (
                "not among those that ended last; an executor with a journal knows them all"
                if self._journal is None
                else "not in the journal, where the ends of long ago may have been left out"
            )
        )

    def join(self, key: str, task: str, body: Json) -> Future[Any] | None:
        """The future of the request this key stands for; None if the key is free.

        Raises ``ConfigurationError`` if it stands for another call.
        """
        found = self._holder(key)
        if found is None:
            return None
        future, call = found
        if call != fingerprint(body):
            raise ConfigurationError(
                f"key={key!r} stands for request {future.uuid} already, which calls another task "
                f"or has other arguments than {task} here: a key names one call; take a key that "
                "says what is different"
            )
        return future

    def holder(self, key: str) -> Future[Any] | None:
        """The same, whatever it calls."""
        found = self._holder(key)
        return None if found is None else found[0]

    def has_left(self, uuid: str) -> bool | None:
        """Whether this request left its key to another; None if it is not known here."""
        try:
            future = self.future(uuid)
        except UnknownRequest:
            return None
        if future.cancelled():
            return True
        return future.done() and isinstance(future.exception(), TaskCancelled)

    def would_know(self, incarnation: int) -> bool:
        """Whether a request that this incarnation submitted is known here for certain.

        Without a journal that is never so: what has ended is forgotten one day.
        """
        return self._journal is not None and self._journal.keeps_all_of(incarnation)

    def submitted(self, uuid: str, key: str, body: Json) -> None:
        """This key stands for this request from now on; a journal finds it in its line."""
        if self._journal is None:
            self._memory.submitted(uuid, key, fingerprint(body))

    def _holder(self, key: str) -> tuple[Future[Any], str] | None:
        """The request a key stands for, and the fingerprint of its call."""
        found = self._key(key)
        if found is None:
            return None
        uuid, call = found
        try:
            future = self.future(uuid)
        except UnknownRequest:  # forgotten at this very moment
            return None
        return None if future.cancelled() else (future, call)  # perhaps not settled yet

    def _live(self, uuid: str) -> Future[Any] | None:
        entry = self._requests.open.get(uuid)
        return entry.future if entry is not None else self._requests.unsettled.get(uuid)

    def _done(self, uuid: str) -> Future[Any] | None:
        if self._journal is None:
            remembered = self._memory.find(uuid)
            if remembered is None:
                return None
            future = remembered.future()
            if future is not None or remembered.ended is None:
                return future
            future = self._make(uuid, remembered.task)
            future.remember(remembered.submitted, [(remembered.stamp, remembered.ended)])
            return self._ended(future, outcomes.from_event(remembered.ended))
        status = self._journal.find(uuid)
        if status is None:
            return None
        if status.ended is None and not status.is_cancelled:
            return None
        future = self._make(uuid, status.submitted.task)
        future.remember(status.stamp, status.steps, status.submitted.repeats)
        ended = status.ended
        return self._ended(future, Withdrawn() if ended is None else outcomes.from_event(ended))

    def _ended(self, future: Future[Any], outcome: Outcome) -> Future[Any]:
        outcomes.settle(future, outcome)
        return future

    def _key(self, key: str) -> tuple[str, str] | None:
        """The uuid a key stands for, and the fingerprint of its call."""
        if self._journal is None:
            return self._memory.find_key(key)
        uuid = self._journal.find_key(key)
        status = None if uuid is None else self._journal.find(uuid)
        if uuid is None or status is None:
            return None
        if status.ended is not None and was_cancelled(status.ended):
            return None
        return uuid, fingerprint(status.submitted.body)


def fingerprint(body: Json) -> str:
    """What makes a REQUEST this call and no other, in 32 hex digits.

    The order of named arguments does not matter, nor does the task's version.
    """
    call = {name: body[name] for name in _CALL if name in body} if isinstance(body, dict) else body
    return hashlib.blake2b(dumps(_sorted(call)).encode(), digest_size=16).hexdigest()


def _sorted(value: Json) -> Json:
    """The same with all names in order; at most ``values.MAX_DEPTH`` deep."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(member) for member in value]
    return value
