"""What waits for a slot, what runs in one, and under which limits."""

from __future__ import annotations

import pytest

from protocol.messages import Request
from protocol.resources import Resources
from protocol.timing import CREDIT_MAX
from protocol.values import Json
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
    work = one.hand_over(asked)
    assert (work.time_limit, work.soft_time_limit) == limits


def test_a_taskflow_peers_run_has_the_limits_of_its_task() -> None:
    received = Taskflow().request("u1")
    assert isinstance(received.message, Request)
    one, asked = slots(LIMITED), Record("u1", "flow", received.message, None, 0.0)
    one.queue[asked] = None
    assert one.hand_over(asked).time_limit == 10.0


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


# what is needed of the machine --------------------------------------------------------------------


HAVE = Resources(cores=4, memory=1000, accelerators={"gpu": 1})


def needing(uuid: str, who: Native = EX, **need: Json) -> Record:
    """A native request that needs this."""
    received = who.request(uuid, int(uuid), need=need or None)
    assert isinstance(received.message, Request)
    return Record(uuid, who.name, received.message, received.envelope.header, 0.0)


def machine(count: int = 8) -> Slots:
    """More slots than cores."""
    many = Slots("w", count, can_stop=True, have=HAVE)
    many.offer([PLAIN])
    return many


def started(many: Slots) -> list[str]:
    """Start whatever there is room for; in order."""
    found = []
    while (one := many.next(0.0)) is not None:
        assert many.begin(many.hand_over(one).key) is one
        found.append(one.uuid)
    return found


def test_what_fits_is_started_and_what_does_not_waits_for_an_end() -> None:
    many = machine()
    first, large, small, plain = (
        needing("1", cores=3),
        needing("2", cores=2),
        needing("3", cores=1),
        needing("4"),
    )
    for one in (first, large, small, plain):
        many.queue[one] = None
    assert started(many) == ["1", "3", "4"]
    many.end(small.key, 1.0)
    assert many.next(0.0) is None
    many.end(first.key, 2.0)
    assert started(many) == ["2"]
    assert many.busy == 2


def test_a_slot_is_needed_as_well() -> None:
    many = machine(1)
    for uuid in ("1", "2"):
        many.queue[needing(uuid, cores=1)] = None
    assert started(many) == ["1"]


@pytest.mark.parametrize("need", [{"memory": 600}, {"accelerators": {"gpu": 1}}, {"cores": 2.001}])
def test_each_resource_is_given_once(need: dict[str, Json]) -> None:
    many = machine()
    for uuid in ("1", "2"):
        many.queue[needing(uuid, **need)] = None
    assert started(many) == ["1"]


def test_what_is_free_for_one_is_all_that_others_do_not_have_whether_it_runs_or_waits() -> None:
    many = machine()
    other = Native("ex-2")
    for one in (needing("1", cores=1), needing("2", other, cores=2), needing("3", other, cores=2)):
        many.queue[one] = None
    assert started(many) == ["1", "2"]
    assert many.free_for("ex-2") == Resources(cores=3, memory=1000, accelerators={"gpu": 1})
    assert many.free_for("ex-1") == Resources(memory=1000, accelerators={"gpu": 1})
    assert slots().free_for("ex-1") is None


def test_what_can_never_fit_fails_in_words() -> None:
    failure = machine().why_not(needing("1", memory=1001))
    assert failure is not None
    assert failure["exc_type_names"][0] == "protocol.errors.InsufficientSystemResources"
    assert failure["exception_str"] == (
        f"worker w did not run {TASK}: it needs 1,001 bytes of memory, and there is 1,000 bytes of "
        "memory here; run it on a larger machine, or ask for less"
    )
    assert machine().why_not(needing("1", memory=1000)) is None


def test_who_has_told_nothing_of_its_machine_runs_nothing_that_needs_some() -> None:
    failure = slots(can_stop=False).why_not(needing("1", cores=1))
    assert failure is not None
    assert "has told nobody what it has" in failure["exception_str"]


def test_memory_is_a_limit_of_the_run() -> None:
    many = machine()
    kept = needing("3", memory=100, limits_memory=False)
    for one in (needing("1", memory=500), needing("2", cores=1), kept):
        many.queue[one] = None
        assert many.hand_over(one).memory_limit == (500 if one.uuid == "1" else None)
    assert kept.needs == Resources(memory=100)


def test_each_run_has_accelerators_of_its_own_and_gives_them_back() -> None:
    many = Slots("w", 8, can_stop=True, have=Resources(accelerators={"gpu": 3, "tpu": 1}))
    many.offer([PLAIN])
    first = needing("1", accelerators={"gpu": 2})
    second = needing("2", accelerators={"gpu": 1, "tpu": 1})
    for one, devices in ((first, {"gpu": [0, 1]}), (second, {"gpu": [2], "tpu": [0]})):
        many.queue[one] = None
        assert many.hand_over(one).devices == devices
    many.begin(first.key)
    many.end(first.key, 1.0)
    third = needing("3", accelerators={"gpu": 1})
    for _ in range(2):
        many.queue[third] = None
        assert many.hand_over(third).devices == {"gpu": [0]}
        assert many.take(third.key) is third  # the pool has returned it
    assert third.devices is None


def test_a_run_that_is_left_behind_gives_back_what_it_took() -> None:
    many = machine()
    one = needing("1", cores=4)
    many.queue[one] = None
    assert many.begin(many.hand_over(one).key) is one
    assert many.leave(one.key) is one
    assert many.leave(one.key) is None
    many.queue[needing("2", cores=4)] = None
    assert started(many) == ["2"]


def test_what_is_taken_back_gives_back_what_it_took_and_is_never_handed_over_ahead() -> None:
    many = machine(1)
    for uuid in ("1", "2"):
        many.queue[needing(uuid, cores=4)] = None
    first = many.next(0.0)
    assert first is not None
    key = many.hand_over(first).key
    assert many.next(0.0) is None
    assert many.take(key) is first
    second = many.next(0.0)
    assert second is not None
    assert second.uuid == "2"


def test_credit_never_exceeds_what_a_message_may_say() -> None:
    one = slots()
    asked = record()
    for n in range(2 * CREDIT_MAX):
        one.queue[asked] = None
        key = one.hand_over(asked).key
        assert one.begin(key) is asked
        assert one.end(key, n / CREDIT_MAX / 4) is asked
    assert one.credit(0.6) == CREDIT_MAX
    one.is_closed = True
    assert (one.credit(0.6), list(one.offered)) == (0, [])


def test_the_pool_is_handed_as_many_as_have_ended_lately_and_one_for_each_slot() -> None:
    one = slots()
    assert one.room(0.0) == 1
    asked = record()
    for _ in range(3):
        one.queue[asked] = None
        key = one.hand_over(asked).key
        assert one.room(0.5) <= 0 or one.credit(0.5) > 1
        assert one.begin(key) is asked
        assert one.end(key, 0.5) is asked
    assert one.room(0.5) == 4
    one.queue[asked] = None
    one.hand_over(asked)
    assert one.room(0.5) == 3
    assert one.room(2.0) == 0, "none has ended within the last second"


def test_what_is_handed_over_is_taken_back_or_begins_and_not_both() -> None:
    one, asked = slots(), record()
    one.queue[asked] = None
    key = one.hand_over(asked).key
    assert asked.is_handed_over
    assert asked.may_have_started
    assert one.recall(asked, "full")
    assert not one.recall(asked, "drain"), "it was asked for already"
    assert one.take(key) is asked
    assert not asked.may_have_started
    assert one.begin(key) is None
    one.queue[asked] = None
    key = one.hand_over(asked).key
    assert one.begin(key) is asked
    assert one.take(key) is None
    assert not one.recall(asked, "full")
    assert asked.state == "running"


def test_the_end_of_a_run_that_is_not_there_is_none() -> None:
    assert slots().end(7, 1.0) is None
