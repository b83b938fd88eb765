"""The sentences of the errors that end a request: what was done, what was found, what to do next.

Decided here: nothing but words. Pure; the ledger asks for them, on the keeper's thread.
"""

from __future__ import annotations

import difflib

from executor.directory import Directory
from executor.lanes import LaneKey
from executor.peer import Peer
from executor.request import Attempt, Request
from protocol.errors import (
    ExecutorSuperseded,
    InsufficientSystemResources,
    LimitRefused,
    MemoryLimitExceeded,
    MessageUndeliverable,
    PoisonTask,
    RequestTimeout,
    ResultLost,
    TaskCancelled,
    TasksUnloadable,
    TimeLimitExceeded,
    WorkerLost,
)
from protocol.failure import FailureDict, from_text
from protocol.resources import KINDS, Resources
from protocol.size import in_words
from protocol.states import PENDING


def expired(request: Request, found: str, now: float) -> RequestTimeout:
    """Nobody started it in time. ``found``: what is known that bears on it."""
    order = request.order
    state = PENDING if request.phase == "EXPIRING" else request.state
    held = request.ready_since - request.submitted
    since = f", which began {held:.1f} s after it was submitted" if held else ""
    text = (
        f"request {order.uuid} ({order.task}) expired after {now - request.ready_since:.1f} s in "
        f"{state}{since}, on topics {list(order.topics)}: {found}"
    )
    return RequestTimeout(text, request_uuid=order.uuid, state=state)


def superseded(executor: str, ours: int, newest: int, worker: str | None) -> ExecutorSuperseded:
    """Two run under one identity."""
    return ExecutorSuperseded(
        f"executor {executor} is not served any more: {worker or 'a worker'} serves a newer one of "
        f"that identity (incarnation {newest}, this is {ours}), which goes on with another copy of "
        "the same journal; see which of the two is to run, end the other, and use a journal in "
        "one place only"
    )


def sent_in_vain(attempt: Attempt, now: float) -> str:
    """What is known of one that was sent, and not started."""
    found = (
        f"it was sent to {attempt.peer.name} {now - attempt.sent:.1f} s ago, which has not said "
        "that it started"
    )
    if not attempt.peer.is_native:
        found += " and, being a taskflow worker, may still run it"
    return f"{found}; give it a longer timeout, or start more workers"


def unloadable(request: Request, reason: str) -> TasksUnloadable:
    """No private worker will ever come, and nobody else offers it."""
    return TasksUnloadable(f"{_named(request)} cannot run: {reason}")


def limit_refused(request: Request, key: LaneKey, directory: Directory) -> LimitRefused:
    """It has a limit, and all who offer it cannot end a run."""
    names = sorted({peer.name for peer in directory if peer.offers(key.task, key.topics)})
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    order = request.order
    limits = [
        f"{name}={limit:g}"
        for name, limit in (
            ("time_limit", order.time_limit),
            ("soft_time_limit", order.soft_time_limit),
        )
        if limit is not None
    ]
    return LimitRefused(
        f"{_named(request)} has {' and '.join(limits)}, which only a worker with --pool processes "
        f"can keep; it is offered by {shown} alone, where a running task cannot be ended: start "
        "such a worker, or leave the limit out"
    )


def insufficient(
    request: Request, key: LaneKey, directory: Directory
) -> InsufficientSystemResources | None:
    """More than any machine has of those that offer it; None if that is not why it waits.

    Told is what is short at all of them, or, if each has enough of something else, at the largest.
    """
    needs = key.needs
    offering = [
        peer
        for peer in directory
        if peer.offers(key.task, key.topics) and peer.suits(key.want._replace(needs=None))
    ]
    if needs is None or not offering or any(peer.could_hold(needs) for peer in offering):
        return None
    telling = [(peer, peer.report.have) for peer in offering if peer.report is not None]
    ordinary = [(p, have) for p, have in telling if needs.preemptible or not _can_go(p)]
    if not telling or not ordinary:
        what = "tells what it has" if not telling else "is safe from being taken away"
        resource = "resources" if not telling else "preemptible"
        hint = (
            "start workers with --pool processes, which tell what their machine has"
            if not telling
            else "start a worker without --preemptible, or say preemptible=True"
        )
        short, source, available = None, offering[0].name, None
        found = f"none of the {len(offering)} workers that offer it {what}"
    else:
        peer, have = max(ordinary, key=lambda each: _size(each[1], needs.amount))
        short = have.shortage(needs.amount)
        if short is None:  # it has it all, and does not speak of it yet
            return None
        resource, source, available = short.resource, peer.name, short.available
        hint = "ask for less, or start a worker on a larger machine"
        found = f"the most that one worker has is {short.available_words}, on {source}"
        if len(offering) > 1:
            found += f", of {len(offering)} that offer it"
    wanted = str(needs.amount) if short is None else short.requested_words
    return InsufficientSystemResources(
        f"{_named(request)} needs {wanted}, and {found}: {hint}",
        resource=resource,
        requested=0.0 if short is None else short.requested,
        available=available,
        source=source,
        hint=hint,
        request_uuid=request.order.uuid,
    )


def _can_go(peer: Peer) -> bool:
    return peer.report is not None and peer.report.preemptible


def _size(have: Resources, needed: Resources) -> tuple[float, ...]:
    """How much of what is needed it has: what is short counts first, in the order it is told."""
    kinds = [kind for kind, _ in needed.accelerators]
    there, wanted = dict(have.accelerators), dict(needed.accelerators)
    parts = [
        min(1.0, getattr(have, name) / getattr(needed, name)) if getattr(needed, name) else 1.0
        for name in KINDS
    ]
    parts += [min(1.0, there.get(kind, 0) / wanted[kind]) for kind in kinds]
    return (sum(part >= 1.0 for part in parts), *parts)


def undeliverable(request: Request, size: int, why: str) -> MessageUndeliverable:
    """The broker does not take it, whoever it is for."""
    return MessageUndeliverable(
        f"{_named(request)} of {in_words(size)} could not be sent: {why}; put its arguments where "
        "both sides can read them (a file, an object store) and send their path or URL, or allow "
        "larger messages in the broker's settings"
    )


def worker_lost(request: Request, attempt: Attempt, now: float) -> WorkerLost:
    """Its worker fell silent, or ended, and it is not sent again."""
    peer = attempt.peer
    if peer.is_dead:
        what = "its process has ended"
    else:
        what = f"nothing was heard from there for {now - peer.heard:.1f} s"
    if not peer.is_native:
        then = "a taskflow worker is not sent the same again"
    elif request.order.mode == "amo":
        then = "it may have run, and at_most_once is never started twice"
    else:
        then = f"it is the attempt number {request.lost} that ends like this"
    return WorkerLost(
        f"{_named(request)} was sent to {peer.name} and is lost in {attempt.progress.state}: "
        f"{what}; {then}; look in the worker's own log for what ended it, then submit again",
        request_uuid=request.order.uuid,
    )


def stopped(request: Request, attempt: Attempt) -> WorkerLost:
    """Its worker went down while it ran, and it is not started again."""
    if request.order.mode == "amo":
        then = "at_most_once is never started twice"
    else:
        then = f"it is the round number {request.rounds} that ends like this"
    return WorkerLost(
        f"{_named(request)} ran on {attempt.peer.name}, which went down before it was through; "
        f"{then}; submit again, or let workers finish: python -m worker --drain-timeout SECONDS",
        request_uuid=request.order.uuid,
    )


def result_lost(request: Request, attempt: Attempt) -> ResultLost:
    """It ran, nothing is left of it, and it is not started again."""
    return ResultLost(
        f"{_named(request)} ran on {attempt.peer.name}, where its result was thrown away before it "
        "arrived here: the worker held too many for us, or had not heard from us for too long; "
        "at_most_once is never started twice: see what the task has done, then submit again",
        request_uuid=request.order.uuid,
    )


def poison(request: Request, attempt: Attempt, told: str) -> PoisonTask:
    """Each run of it ended its process. ``told``: how the worker put the last one."""
    return PoisonTask(
        f"{_named(request)} ended the process that ran it {request.crashes + 1} times, the last "
        f"time on {attempt.peer.name}: {told}; look for what ends it there (memory, a crash in C "
        "code, os._exit), then submit again",
        request_uuid=request.order.uuid,
    )


def time_limit(request: Request, attempt: Attempt) -> TimeLimitExceeded:
    """It ran for too long. The limit is the request's own, or the one its worker knows."""
    limit = request.order.time_limit
    length = "its time_limit" if limit is None else f"its time_limit of {limit:g} s"
    return TimeLimitExceeded(
        f"{_named(request)} ran on {attempt.peer.name} for longer than {length} and was ended "
        "with its process; give it a longer one, or make it do less at a time",
        request_uuid=request.order.uuid,
    )


def memory_limit(request: Request, attempt: Attempt, told: str) -> MemoryLimitExceeded:
    """It took too much memory. ``told``: how its worker put it."""
    return MemoryLimitExceeded(
        f"{_named(request)} ran on {attempt.peer.name}: {told}",
        request_uuid=request.order.uuid,
    )


def cancelled(request: Request) -> TaskCancelled:
    """It ran, and was ended as asked; or nothing of that run will be heard any more."""
    newest = request.attempts[-1] if request.attempts else None
    where = f" on {newest.peer.name}" if newest is not None else ""
    return TaskCancelled(
        f"{_named(request)} was cancelled with force=True while it ran{where}",
        request_uuid=request.order.uuid,
    )


def no_result() -> FailureDict:
    """A SUCCESS without one."""
    return from_text(
        ("protocol.errors.MessageRefused", "Exception"),
        "the worker said SUCCESS without a result",
    )


def unreadable(reason: str, detail: str) -> FailureDict:
    """An answer that is no message."""
    return from_text(
        ("protocol.errors.MessageRefused", "Exception"),
        f"the worker's answer was refused ({reason}): {detail}",
    )


def describe(directory: Directory, key: LaneKey, now: float, obstacle: str | None = None) -> str:
    """What is known that bears on a request nobody takes: one or two sentences.

    ``obstacle``: the limit of its own that kept it waiting, if one did.
    """
    peers = list(directory)
    if not peers:
        return "no worker has been heard from; start one with: python -m worker MODULE"
    last = min(now - peer.heard for peer in peers)
    heard = f"heard from {len(peers)} worker{'s' * (len(peers) != 1)}, last {last:.1f} s ago"
    offering = [peer for peer in peers if peer.offers(key.task, key.topics)]
    if offering:
        return f"{heard}; {_who_offers(offering, key, obstacle)}"
    elsewhere = sorted({t for peer in peers for t in peer.topics if key.task in peer.topics[t]})
    if elsewhere:
        hint = f"it is offered on topic {', '.join(elsewhere)}: submit to that topic"
        return f"{heard}; {hint}, or start a worker with --topic {key.topics[0]}"
    known = sorted({name for peer in peers for names in peer.topics.values() for name in names})
    near = difflib.get_close_matches(key.task, known, n=3, cutoff=0.5)
    shown = ", ".join(near or known[:5]) or "nothing"
    more = f" and {len(known) - 5} more" if not near and len(known) > 5 else ""
    word = "the nearest names they offer are" if near else "they offer"
    return f"{heard}; {word} {shown}{more}; start a worker that offers it, or correct the name"


def _who_offers(offering: list[Peer], key: LaneKey, obstacle: str | None) -> str:
    takers = [peer for peer in offering if peer.suits(key.want)]
    if takers and obstacle is not None:
        return (
            f"{len(takers)} of them offer{'s' * (len(takers) == 1)} it, but {obstacle}: give it a "
            "longer timeout, or a wider limit"
        )
    if takers and key.needs is not None:
        return (
            f"{len(takers)} of them could hold it, and none has {key.needs.amount} free: give it a "
            "longer timeout, or start more workers"
        )
    if key.worker is not None and not any(peer.name == key.worker for peer in offering):
        return f"none of them is {key.worker}, which it is for: that worker has gone"
    if takers:
        count = sum(len(peer.open) for peer in takers)
        return (
            f"{len(takers)} of them offer{'s' * (len(takers) == 1)} it, with {count} unfinished "
            f"request{'s' * (count != 1)} of ours: give it a longer timeout, or start more workers"
        )
    if key.must_stop:
        return (
            "those that offer it cannot end a running task, so not keep its time limit: start a "
            "worker with --pool processes"
        )
    return (
        "only taskflow workers offer it, and they know arguments by name: name them, or start a "
        "worker of ours"
    )


def _named(request: Request) -> str:
    return f"request {request.order.uuid} ({request.order.task})"
