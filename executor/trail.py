"""What became of a request, as its future tells it: each attempt, and all that happened, in order.

Decided here: what the events of one request come to for whoever holds its future. They are the
journal's (``protocol.events``), with or without a journal, so what is told here is what a journal
says. Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from protocol.events import Dispatched, Ended, Event, Over, Round, Running, to_fields
from protocol.failure import parse as parse_failure
from protocol.values import Json

#: An event, and when it was written: seconds since 1970.
Step = tuple[float, Event]

#: Fields that say nothing new to who holds the future.
_LEFT_OUT: Final = ("uuid",)


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened to a request."""

    #: Seconds since 1970, by the executor's wall clock.
    stamp: float
    #: The event's word in the journal: ``submitted``, ``dispatched``, ``running``, ``over``,
    #: ``round``, ``cancelled``, ``ended``.
    what: str
    #: What it says, as in the journal; of ``submitted`` the task's name, and what it repeats.
    details: dict[str, Json]


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """A request that was sent to a worker: once for each time."""

    #: From 1, in the order in which they were sent.
    number: int
    #: Of which asked execution, from 1: a retry, or a run that ended its process, begins another.
    round: int
    #: The worker's name.
    worker: str
    #: When it was sent, when its worker said that it runs, when it was known to have ended, in
    #: seconds since 1970; None: not so far, or never told.
    sent: float
    began: float | None = None
    ended: float | None = None
    #: What came of it; None while it is waited for. ``success``, ``failure``, ``error``,
    #: ``cancelled``: the request's end. ``failure`` and ``limit`` with a retry to follow,
    #: ``crash``, ``stopped``: its run was followed by another one. ``never``: its worker gave it
    #: back; ``lost``: its worker was; ``dropped``: its result was. ``superseded``: another one's
    #: end counted.
    how: str | None = None
    #: The failure or error, as ``ValueError: no such file``; None where there was none.
    error: str | None = None


def history_of(
    task: str, submitted: float, steps: Iterable[Step], repeats: str | None = None
) -> tuple[Happened, ...]:
    """All of it, from its submission on. ``repeats``: the dead letter it is a repetition of."""
    first: dict[str, Json] = {"task": task}
    if repeats is not None:
        first["repeats"] = repeats
    told = [Happened(submitted, "submitted", first)]
    for stamp, event in steps:
        details = to_fields(event)
        for name in _LEFT_OUT:
            details.pop(name, None)
        told.append(Happened(stamp, event.word, details))
    return tuple(told)


def attempts_of(steps: Iterable[Step]) -> tuple[AttemptInfo, ...]:
    """Each attempt as it is now, in the order in which they were sent."""
    found: dict[int, AttemptInfo] = {}
    bases = [1]
    for stamp, event in steps:
        if isinstance(event, (Dispatched, Round)) and event.base > bases[-1]:
            bases.append(event.base)
        if isinstance(event, Dispatched):
            number = event.attempt
            found[number] = AttemptInfo(number, len(bases), event.worker, stamp)
        elif isinstance(event, Running):
            _change(found, event.attempt, began=stamp, how=None, ended=None)
        elif isinstance(event, Over):
            _change(found, event.attempt, how=event.reason, ended=stamp)
        elif isinstance(event, Round):
            if event.attempt is not None:
                error = _failure(event.failure)
                _change(found, event.attempt, how=event.cause, ended=stamp, error=error)
            _close(found, stamp, "superseded")
        elif isinstance(event, Ended):
            ender = _ender(found, event)
            if ender is not None:
                _change(found, ender, how=event.outcome, ended=stamp, error=_error(event))
            _close(found, stamp, "cancelled" if event.outcome == "cancelled" else "superseded")
    return tuple(found.values())


def worker_of(steps: Iterable[Step]) -> str | None:
    """Who ended it; while it is open who has it; else who ran it last. None: nobody."""
    steps = list(steps)
    for _, event in reversed(steps):
        if isinstance(event, Ended) and event.worker is not None:
            return event.worker
    attempts = attempts_of(steps)
    for chosen in (
        [one for one in attempts if one.how is None],
        [one for one in attempts if one.began is not None],
    ):
        if chosen:
            return chosen[-1].worker
    return None


def _change(
    found: dict[int, AttemptInfo],
    number: int,
    *,
    how: str | None,
    ended: float | None,
    began: float | None = None,
    error: str | None = None,
) -> None:
    one = found.get(number)
    if one is not None:
        first = one.began if one.began is not None else began
        found[number] = replace(one, began=first, ended=ended, how=how, error=error)


def _close(found: dict[int, AttemptInfo], stamp: float, how: str) -> None:
    """None of them is waited for any more."""
    for one in found.values():
        if one.how is None:
            found[one.number] = replace(one, ended=stamp, how=how)


def _ender(found: dict[int, AttemptInfo], event: Ended) -> int | None:
    """The attempt whose end is the request's: the newest that this worker has not answered."""
    if event.worker is None:
        return None
    for one in reversed(found.values()):
        if one.worker == event.worker and one.how in (None, "lost"):
            return one.number
    return None


def _error(event: Ended) -> str | None:
    if event.outcome == "failure":
        return _failure(event.value)
    if event.outcome == "error" and isinstance(event.value, dict):
        return f"{event.value.get('type')}: {event.value.get('message')}"
    return None


def _failure(value: Json) -> str:
    told = parse_failure(value)
    names: Sequence[str] = told.type_names
    kind = names[0] if names else "an exception of unknown type"
    return f"{kind}: {told.text}" if told.text else kind
