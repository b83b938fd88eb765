"""What waits for a slot, what runs in one, and under which limits."""

from __future__ import annotations

import pytest

from protocol.messages import Request
from protocol.timing import CREDIT_MAX
from tests.worker.executors import TASK, Native, Taskflow
from worker.record import Record
from worker.slots import Slots
from worker.work import Offer

EX = Native()
PLAIN = Offer(TASK)
LIMITED = Offer(TASK, time_limit=10.0, soft_time_limit=8.0)


def record(**said: int) -> Record:
    """A native request, with these limits in milliseconds."""
    received = EX.request("u1", 1, **said)  # type: ignore[arg-type]
    assert isinstance(received.message, Request)
    return Record("u1", "ex-1", received.message, received.envelope.header, 0.0)


def slots(offer: Offer = PLAIN, *, can_stop: bool = True) -> Slots:
    """One slot."""
    one = Slots("w", 1, can_stop=can_stop)
    one.offer([offer])
    return one


@pytest.mark.parametrize(
    ("said", "offer", "limits"),
    [
        ({}, PLAIN, (None, None)),
        ({}, LIMITED, (10.0, 8.0)),
        ({"time_limit": 1500}, LIMITED, (1.5, 8.0)),
        ({"soft_time_limit": 500}, LIMITED, (10.0, 0.5)),
        ({"time_limit": 1500, "soft_time_limit": 1}, PLAIN, (1.5, 0.001)),
    ],
)
def test_the_limits_of_a_request_go_before_those_of_its_task(
    said: dict[str, int], offer: Offer, limits: tuple[float | None, float | None]
) -> None:
    one, asked = slots(offer), record(**said)
    one.queue[asked] = None
    assert one.why_not(asked) is None
    work = one.start(asked)
    assert (work.time_limit, work.soft_time_limit) == limits


def test_a_taskflow_peers_run_has_the_limits_of_its_task() -> None:
    received = Taskflow().request("u1")
    assert isinstance(received.message, Request)
    one, asked = slots(LIMITED), Record("u1", "flow", received.message, None, 0.0)
    one.queue[asked] = None
    assert one.start(asked).time_limit == 10.0


@pytest.mark.parametrize(
    ("said", "offer", "limit"),
    [({"time_limit": 1500}, PLAIN, "1.5"), ({"soft_time_limit": 9}, LIMITED, "0.009")],
)
def test_a_limit_that_cannot_be_kept_is_refused_in_words(
    said: dict[str, int], offer: Offer, limit: str
) -> None:
    failure = slots(offer, can_stop=False).why_not(record(**said))
    assert failure is not None
    assert failure["exc_type_names"][0] == "protocol.errors.LimitRefused"
    assert failure["exception_str"] == (
        f"worker w did not run {TASK}: it cannot keep its time limit of {limit} s, because it runs "
        "tasks in threads, and a thread cannot be ended; drop the limit, or run the task on "
        "workers with --pool processes"
    )
    assert slots(PLAIN, can_stop=False).why_not(record()) is None


def test_credit_never_exceeds_what_a_message_may_say() -> None:
    one = slots()
    asked = record()
    for n in range(2 * CREDIT_MAX):
        one.queue[asked] = None
        key = one.start(asked).key
        assert one.end(key, n / CREDIT_MAX / 4) is asked
    assert one.credit(0.6) == CREDIT_MAX
    one.is_closed = True
    assert (one.credit(0.6), list(one.offered)) == (0, [])


def test_the_end_of_a_run_that_is_not_there_is_none() -> None:
    assert slots().end(7, 1.0) is None
