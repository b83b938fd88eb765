"""How a request ended, in its three forms: the ledger's outcome, the journal's line, the future.

Decided here: how an outcome is written down and read back, so that a future made anew after a
restart ends exactly as the one before it would have: the same value, the failure raised as itself
where it can be, an error of ours of the same class, with the same words and the request it is
about. Pure, but for the future that :func:`settle` sets, on the deliverer's thread.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any, Final

from executor.effects import Error, Failed, Outcome, Value, Withdrawn
from executor.future import Future
from protocol import errors
from protocol.errors import (
    InsufficientSystemResources,
    RequestEnded,
    RequestTimeout,
    TasklineError,
)
from protocol.events import Ended
from protocol.failure import to_exception
from protocol.values import Json

#: Every error of ours, by the name it has in the journal.
_ERRORS: Final[dict[str, type[TasklineError]]] = {
    name: getattr(errors, name) for name in errors.__all__
}


def to_event(
    uuid: str, outcome: Outcome, worker: str | None = None, *, is_dead: bool = False
) -> Ended:
    """The journal's line. ``worker``: who ended it, if one did. ``is_dead``, if it came to nothing.

    What its caller has cancelled never is.
    """
    if isinstance(outcome, Value):
        return Ended(uuid, "success", outcome.value, worker)
    if isinstance(outcome, Failed):
        return Ended(uuid, "failure", outcome.failure, outcome.worker or worker, is_dead)
    if isinstance(outcome, Error):
        return Ended(uuid, "error", _written(outcome.error), worker, is_dead)
    return Ended(uuid, "cancelled", None, worker)


def from_event(ended: Ended) -> Outcome:
    """What a line says. Whatever is in it: a line that makes no sense is an error that says so."""
    if ended.outcome == "success":
        return Value(ended.value)
    if ended.outcome == "failure":
        return Failed(ended.value, ended.worker)
    if ended.outcome == "error":
        return Error(_read(ended.value, ended.uuid))
    return Withdrawn()


def was_cancelled(ended: Ended) -> bool:
    """Whether its caller cancelled it: before it ran, or by force while it ran."""
    if ended.outcome == "cancelled":
        return True
    value = ended.value
    return (
        ended.outcome == "error"
        and isinstance(value, dict)
        and value.get("type") == _TASK_CANCELLED
    )


def settle(future: Future[Any], outcome: Outcome) -> None:
    """Set it, unless it is over already. The deliverer's thread: callbacks are called here."""
    if future.done():
        return
    if isinstance(outcome, Withdrawn):
        future.withdraw()
        return
    try:
        future.begin()
        if isinstance(outcome, Value):
            future.set_result(outcome.value)
        elif isinstance(outcome, Failed):
            future.set_exception(to_exception(outcome.failure, outcome.worker))
        else:
            future.set_exception(outcome.error)
    except concurrent.futures.InvalidStateError:
        pass  # its user has set it meanwhile; not that they should


#: What an error about resources tells besides its words.
_OF_TOO_LITTLE: Final = ("resource", "requested", "available", "source", "hint")
_TASK_CANCELLED: Final = "TaskCancelled"


def _written(error: Exception) -> Json:
    kind = type(error)
    if _ERRORS.get(kind.__name__) is not kind:  # none of ours: its words are all that is kept
        return {"type": "TasklineError", "message": f"{kind.__name__}: {error}"}
    written: dict[str, Json] = {"type": kind.__name__, "message": str(error)}
    if isinstance(error, RequestTimeout):
        written["state"] = error.state
    if isinstance(error, InsufficientSystemResources):
        written |= {name: getattr(error, name) for name in _OF_TOO_LITTLE}
    return written


def _read(value: Json, uuid: str) -> TasklineError:
    written = value if isinstance(value, dict) else {}
    message = str(written.get("message", f"request {uuid} ended with an error that is not told"))
    kind = _ERRORS.get(str(written.get("type")), TasklineError)
    if issubclass(kind, RequestTimeout):
        return kind(message, request_uuid=uuid, state=str(written.get("state", "")))
    if issubclass(kind, InsufficientSystemResources):
        told = {name: written[name] for name in _OF_TOO_LITTLE if name in written}
        return kind(message, request_uuid=uuid, **told)
    if issubclass(kind, RequestEnded):
        return kind(message, request_uuid=uuid)
    try:
        return kind(message)
    except TypeError:  # one that takes more than words to be made
        return TasklineError(message)
