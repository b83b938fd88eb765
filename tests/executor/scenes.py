"""Ledgers in a certain situation, and what can be seen of them: where the tests of rooms begin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from executor.effects import Crowd, Dispatch, Effect, Error, Publish, Resolve
from executor.ledger import Ledger
from protocol.topology import Dialect
from tests.executor.peers import EXCHANGE, EXECUTOR, TOPIC, Native, dispatches, order

TASK = "m.task"


def make(*dialects: Dialect, topics: tuple[str, ...] = (TOPIC,), **more: Any) -> Ledger:
    """A ledger that has asked its first question."""
    ledger = Ledger(EXECUTOR, EXCHANGE, topics, dialects or ("native",), **more)
    ledger.consuming(0.0)
    return ledger


def sent(
    ledger: Ledger, worker: Native, now: float = 0.0, uuid: str = "u1", **how: Any
) -> Dispatch:
    """A request in PENDING at this worker."""
    effects = ledger.heard([worker.answer(now, TASK)], now)
    effects += ledger.submitted([order(uuid, **how)], now)
    (dispatch,) = dispatches(effects)
    return dispatch


def running(
    ledger: Ledger, worker: Native, now: float = 0.0, uuid: str = "u1", **how: Any
) -> Dispatch:
    """A request in RUNNING at this worker."""
    dispatch = sent(ledger, worker, now, uuid, **how)
    ledger.heard([worker.running(dispatch, now)], now)
    return dispatch


def beats(
    ledger: Ledger, worker: Native, since: float, until: float, **answer: Any
) -> list[Effect]:
    """The worker is heard from every 5 s, and offers the task."""
    effects: list[Effect] = []
    now = since
    while now < until:
        effects += ledger.heard([worker.answer(now, TASK, **answer)], now)
        effects += ledger.tick(now)
        now += 5.0
    return effects


def run_dry(ledger: Ledger, now: float, limit: float = 1000.0) -> list[Effect]:
    """Let time pass, and nothing else, until every request has ended."""
    effects: list[Effect] = []
    until = now + limit
    while len(ledger):
        now = max(now, ledger.next_deadline())
        assert now < until, f"{len(ledger)} requests never end"
        effects += ledger.tick(now)
    return effects


def until(ledger: Ledger, now: float, end: float) -> list[Effect]:
    """Let time pass to this moment, waking the ledger whenever it wants to be."""
    effects: list[Effect] = []
    while ledger.next_deadline() <= end:
        now = max(now, ledger.next_deadline())
        effects += ledger.tick(now)
    return effects + ledger.tick(end)


def ends(effects: Iterable[Effect]) -> list[str]:
    """The requests these effects end."""
    return [effect.uuid for effect in effects if isinstance(effect, Resolve)]


def error(effects: Iterable[Effect]) -> Exception:
    """The error of ours that ended the one request."""
    (outcome,) = [effect.outcome for effect in effects if isinstance(effect, Resolve)]
    assert isinstance(outcome, Error)
    return outcome.error


def crowd(effects: Iterable[Effect]) -> list[int]:
    """How many workers were told."""
    return [effect.workers for effect in effects if isinstance(effect, Crowd)]


def keys(effects: Iterable[Effect]) -> list[str]:
    """Where what is published goes."""
    parcels = [effect.parcel for effect in effects if isinstance(effect, Publish)]
    return [parcel.address.routing_key or parcel.address.exchange for parcel in parcels]
