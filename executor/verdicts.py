"""What a word about an attempt means for its request: the table of native dialect, section 5.

Decided here: whether the request goes on with another attempt, with a new round, be it at once or
as a retry of its own failure, or ends, and as what. Not decided here: what the word does to the
attempt itself (``request``), and when a cancel or an expiry is settled (``settling``). Pure: it
changes nothing. The ledger asks, on the keeper's thread.

The words are about the present round; of two ends the first counts. A crash or a stop of an attempt
that has been followed by a newer one is not asked about here: the newer one stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal

from executor.request import Request
from protocol.timing import MAX_ATTEMPTS, MAX_CRASHES, MAX_SENDS

#: Rounds of one request that no retry of its own began.
MAX_ROUNDS: Final = 3 * MAX_CRASHES

#: What is heard of an attempt, or found out about it:
#:
#: * ``success``, ``failure``: the task returned, or raised;
#: * ``limit``, ``crash``, ``stopped``: its process was ended by a time limit, by the task itself,
#:   or by its worker without having been asked;
#: * ``never``: it was not started there and never will be;
#: * ``over``: it ran, and nothing is left of it there;
#: * ``dropped``: it ran to its end, and the result was thrown away;
#: * ``lost``: its worker has been silent for a lease, or its process has ended.
Word = Literal[
    "success", "failure", "limit", "crash", "stopped", "never", "over", "dropped", "lost"
]


class Verdict(Enum):
    """What comes next."""

    #: Another attempt of this round.
    AGAIN = "again"
    #: A new round: ends of attempts before it do not count.
    ROUND = "round"
    #: The same after its own failure, once it has waited for that.
    RETRY = "retry"
    #: It ends once it is settled: perhaps now.
    SETTLE = "settle"
    #: It ends: with its value, with the task's own failure.
    VALUE = "value"
    FAILED = "failed"
    #: It ends with an error of ours.
    TIME_LIMIT = "time limit"
    POISON = "poison"
    RESULT_LOST = "result lost"
    WORKER_LOST = "worker lost"


#: Ends that are the request's own, whatever it was waiting for.
_OWN_ENDS: Final = {
    "success": Verdict.VALUE,
    "failure": Verdict.FAILED,
    "limit": Verdict.TIME_LIMIT,
}


def is_retried(request: Request, word: Word, names: Sequence[str]) -> bool:
    """Whether an end of its own is followed by another round. ``names``: the failure's classes.

    Never of what may start only once. Nobody asks of what is being cancelled.
    """
    policy = request.order.retries
    return (
        policy is not None
        and word in ("failure", "limit")
        and request.order.mode != "amo"
        and request.retries < policy.max
        and policy.covers(names)
    )


def verdict(request: Request, word: Word, names: Sequence[str] = ()) -> Verdict:
    """What this word means, in the phase the request is in; not counted in it yet.

    ``names``: the classes of the failure it is about, if it is about one.
    """
    if request.phase == "CANCELLING":
        if request.is_withdrawn:  # its caller has been told: nothing changes that
            return Verdict.SETTLE
        if word == "crash":
            return Verdict.FAILED
        return _OWN_ENDS.get(word, Verdict.SETTLE)
    if is_retried(request, word, names):
        return Verdict.RETRY
    if word in _OWN_ENDS:
        return _OWN_ENDS[word]
    if request.phase == "EXPIRING" and word in ("never", "over", "lost"):
        return Verdict.SETTLE
    if word == "never":
        return Verdict.AGAIN
    if request.order.mode == "amo":
        return _AT_MOST_ONCE[word]
    if word == "crash":
        return Verdict.POISON if request.crashes + 1 >= MAX_CRASHES else _round(request)
    if word == "stopped":
        return _round(request)
    if word == "lost" and (request.runs_lost >= MAX_ATTEMPTS or request.lost + 1 >= MAX_SENDS):
        return Verdict.WORKER_LOST
    return Verdict.AGAIN


#: It may have run, so it is not started again.
_AT_MOST_ONCE: Final = {
    "crash": Verdict.FAILED,
    "stopped": Verdict.WORKER_LOST,
    "over": Verdict.RESULT_LOST,
    "dropped": Verdict.RESULT_LOST,
    "lost": Verdict.WORKER_LOST,
}


def _round(request: Request) -> Verdict:
    rounds = request.rounds - request.retries
    return Verdict.ROUND if rounds < MAX_ROUNDS else Verdict.WORKER_LOST
