"""What the journal knows of a request, as the ledger holds it: a request with its attempts.

Decided here: what is believed after a restart (native dialect, section 8). Every attempt is where
it was, under the same ticket at the same worker process, which is watched for one lease from now;
what was proven before stays proven, and nothing is concluded from the time in between. What was
not to be started before a certain time is not, by the wall clock as it is now. Whether a request
left before its sender was killed, no line says: its worker's first digest does. Pure; the ledger
asks, on the keeper's thread, before anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.directory import Directory
from executor.request import Attempt, Order, Request, start_by_passes
from protocol.errors import ConfigurationError
from protocol.rate import Rate, parse_rate
from protocol.resources import Resources, requirements_from_json
from protocol.retry import from_json as retry_from_json
from protocol.states import FAILURE
from protocol.tickets import parse
from protocol.timing import START_WINDOW
from protocol.values import rewritten

if TYPE_CHECKING:
    from protocol.history import AttemptStatus, RequestStatus


def request_of(status: RequestStatus, directory: Directory, now: float, wall: float) -> Request:
    """The request, with its attempts entered where they are open. ``wall``: the journal's clock."""
    submitted = status.submitted
    order = Order(
        submitted.uuid,
        submitted.task,
        rewritten(submitted.body).encode("ascii"),
        tuple(submitted.topics),
        submitted.named_only,
        submitted.timeout,
        wants_events=True,  # whoever joins it by its key may listen
        mode=submitted.mode,
        time_limit=submitted.time_limit,
        soft_time_limit=submitted.soft_time_limit,
        key=submitted.key,
        not_before=_here(submitted.not_before, now, wall),
        eta=submitted.not_before,
        priority=submitted.priority,
        rate=_rate(submitted.rate),
        max_running=submitted.max_running,
        retries=retry_from_json(submitted.retries),
        needs=requirements_from_json(submitted.resources),
        worker=submitted.to,
    )
    request = Request(order, now - max(0.0, wall - status.stamp))
    request.base = status.base
    request.crashes = status.crashes
    request.retries = status.retries
    request.rounds += status.crashes + status.retries
    request.not_before = _here(status.not_before, now, wall)
    needs = None if order.needs is None else order.needs.amount
    for known in status.attempts:
        is_last = known is status.attempts[-1]
        attempt = _attempt(known, directory, now, needs, is_last=is_last)
        request.add(attempt)
        if attempt.number >= status.base and attempt.given_up:
            request.lost += 1
    request.has_run = status.has_run
    if status.cancelled is not None:
        request.phase = "CANCELLING"
        request.is_forced = status.cancelled.force
        request.is_withdrawn = status.is_cancelled
    return request


def starts_of(status: RequestStatus, now: float, wall: float) -> list[float]:
    """When it was dispatched, in our clock, if its task may be started only so often."""
    if status.submitted.rate is None:
        return []
    return [now - max(0.0, wall - attempt.stamp) for attempt in status.attempts]


def _here(moment: float | None, now: float, wall: float) -> float | None:
    """A moment by the wall clock, in the executor's."""
    return None if moment is None else now + moment - wall


def _rate(text: str | None) -> Rate | None:
    """As it was written; None for one that a later version may have written."""
    try:
        return None if text is None else parse_rate("the journal", text)
    except ConfigurationError:
        return None


def may_have_run(status: RequestStatus, wall: float, keep: float) -> bool:
    """Whether a newest attempt that nobody waits for, or can be asked about, was perhaps started.

    Its worker dropped whatever it held for us after ``keep`` seconds of our silence.
    """
    if not status.attempts:
        return False
    newest = status.attempts[-1]
    if newest.over is not None:
        return newest.is_running or newest.over != "never"
    return not newest.is_running and wall - newest.stamp >= keep


def _attempt(
    known: AttemptStatus,
    directory: Directory,
    now: float,
    needs: Resources | None,
    *,
    is_last: bool,
) -> Attempt:
    """``is_last``: what was lost last may have been taken back since, and has one more lease."""
    event = known.event
    is_native = event.dialect == "native"
    key = (event.boot or "") if is_native else event.topic
    peer = directory.remember(event.dialect, key, event.worker, event.inbox, now, event.beat)
    attempt = Attempt(
        event.uuid,
        event.attempt,
        peer,
        parse(event.ticket or "")[0] if is_native else None,
        sent=now,
        window=START_WINDOW,
        start_by=event.start_by or 0,
        closes=start_by_passes(now, START_WINDOW),
        base=event.base,
        needs=needs,
    )
    attempt.dispatch()
    if known.is_running:
        attempt.run()
    if known.over == "never":
        attempt.never(is_newest=True)
    elif known.over == "dropped":
        attempt.end(FAILURE)
    elif known.over == "lost" and not is_last:
        attempt.give_up()
        attempt.is_noted_lost = True
    if not attempt.has_ended:
        peer.take(attempt)
        if attempt.given_up:
            peer.doubt(attempt)
    return attempt
