"""Requests that say what they need are sent where that is free, and told where that is nowhere.

What ``directory``, ``lanes``, ``dispatching`` and ``words`` decide together, through a ledger.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from executor.effects import Dispatch, Effect
from executor.ledger import Ledger
from executor.nodes import list_nodes
from protocol import envelope
from protocol.errors import (
    InsufficientSystemResources,
    LimitRefused,
    MemoryLimitExceeded,
    RequestTimeout,
)
from protocol.events import Submitted
from protocol.failure import from_exception
from protocol.history import RequestStatus
from protocol.resources import NodeReport, Requirements, Resources
from protocol.retry import Retry
from protocol.timing import BEAT, FIT_PATIENCE, REQUEST_TIMEOUT, RESERVE_AFTER
from protocol.values import loads
from tests.executor.peers import Native, Taskflow, dispatches, order
from tests.executor.scenes import TASK, ends, error, make, until

TWO_CORES = Requirements(cores=2)


def machine(boot: str, cores: float = 4, *, preemptible: bool = False, **more: Any) -> Native:
    """A worker on a machine of its own."""
    have = Resources(cores=cores, **more)
    return Native(boot, node=NodeReport(f"node-{boot}", have, preemptible=preemptible))


def where(effects: list[Effect]) -> list[tuple[str, str]]:
    """What was sent to whom, by uuid and worker."""
    return [(one.uuid, one.event.worker) for one in dispatches(effects)]


def hears(ledger: Ledger, now: float, *workers: Native, **said: Any) -> list[Effect]:
    """All of these answer."""
    said.setdefault("credit", 100)
    return ledger.heard([worker.answer(now, TASK, **said) for worker in workers], now)


def passes(ledger: Ledger, since: float, end: float, *workers: Native, **said: Any) -> list[Effect]:
    """Time passes, in which these are heard from every beat."""
    effects: list[Effect] = []
    now = since
    while now < end:
        now = min(now + BEAT / 2, end)
        effects += until(ledger, now, now)
        effects += hears(ledger, now, *workers, **said)
    return effects


# where it fits ------------------------------------------------------------------------------------


def test_no_more_is_sent_than_fits_and_the_rest_when_something_ends() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    effects = ledger.submitted([order(f"u{n}", needs=TWO_CORES) for n in range(3)], 0.0)
    first, second = dispatches(effects)
    assert [first.uuid, second.uuid] == ["u0", "u1"]
    effects = ledger.heard([worker.success(first, 1.0)], 1.0)
    assert where(effects) == [("u2", worker.name)]


def test_it_says_so_in_its_header_to_who_has_said_that_it_heeds_that() -> None:
    ledger, worker = make(), machine("a", memory="4 GiB")
    hears(ledger, 0.0, worker)
    needs = Requirements(cores=0.5, memory="1 GiB", preemptible=True)
    (sent,) = dispatches(ledger.submitted([order("u1", needs=needs)], 0.0))
    header = sent.parcel.envelope.header
    assert header is not None
    assert header.need == {"cores": 0.5, "memory": 1024**3, "preemptible": True}
    (plain,) = dispatches(ledger.submitted([order("u2")], 0.0))
    assert plain.parcel.envelope.header is not None
    assert plain.parcel.envelope.header.need is None


def test_what_says_nothing_takes_a_slot_and_no_more() -> None:
    ledger, worker = make(), machine("a", cores=1)
    hears(ledger, 0.0, worker, credit=3)
    effects = ledger.submitted([order(f"u{n}") for n in range(4)], 0.0)
    assert len(dispatches(effects)) == 3
    ledger = make()
    hears(ledger, 0.0, worker, credit=3)
    effects = ledger.submitted([order("u1", needs=Requirements(cores=1)), order("u2")], 0.0)
    assert len(dispatches(effects)) == 2


def test_a_slot_is_needed_as_well() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker, credit=1)
    effects = ledger.submitted([order(f"u{n}", needs=Requirements(cores=1)) for n in range(2)], 0.0)
    assert len(dispatches(effects)) == 1


def test_what_others_have_is_not_free() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker, free=Resources(cores=3))
    effects = ledger.submitted([order(f"u{n}", needs=TWO_CORES) for n in range(2)], 0.0)
    assert where(effects) == [("u0", worker.name)]
    assert where(hears(ledger, 1.0, worker, free=Resources(cores=4))) == [("u1", worker.name)]


def test_what_is_told_to_everybody_says_nothing_of_what_is_free_for_us() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker, free=Resources(cores=1))
    hears(ledger, 1.0, worker)
    assert where(ledger.submitted([order("u1", needs=TWO_CORES)], 1.0)) == []


def test_what_was_given_back_has_given_its_room_back() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    orders = [order(f"u{n}", needs=Requirements(cores=3)) for n in range(2)]
    (first,) = dispatches(ledger.submitted(orders, 0.0))
    effects = ledger.heard([worker.gives_back(1.0, "full", first)], 1.0)
    assert len(dispatches(effects)) == 1


def test_what_a_silent_worker_may_still_have_takes_its_room_there() -> None:
    """Until it says that it has it no more."""
    ledger, worker, other = make(), machine("a"), machine("b")
    hears(ledger, 0.0, worker)
    (sent,) = dispatches(ledger.submitted([order("u1", needs=Requirements(cores=3))], 0.0))
    ledger.heard([worker.running(sent, 0.1)], 0.1)
    until(ledger, 0.1, 30.0)  # it is given up
    assert where(hears(ledger, 30.0, other)) == [("u1", other.name)]
    effects = hears(ledger, 31.0, worker)
    assert where(effects + ledger.submitted([order("u2", needs=TWO_CORES)], 31.0)) == []
    passes(ledger, 31.0, 62.0, worker, other)
    effects = ledger.heard([worker.held(62.0)], 62.0)  # it has nothing of ours, and never will
    assert where(effects) == [("u2", worker.name)]


def test_after_a_restart_what_runs_still_takes_its_room() -> None:
    body = loads(order("u1").body)
    status = RequestStatus(Submitted("u1", TASK, body, ["default"], resources={"cores": 2}), 1000.0)
    ledger, worker = make(keeps_journal=True), machine("a", cores=3)
    ledger.restored([status], 0.0, 1000.0)
    effects = hears(ledger, 0.1, worker)
    assert where(effects) == [("u1", worker.name)]
    (peer,) = ledger.directory
    assert peer.used == Resources(cores=2)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_ends_nothing_is_ever_promised_twice(seed: int) -> None:
    """Any sequence of submissions, ends, releases and answers on two machines."""
    chance = random.Random(seed)
    ledger = make()
    workers = {w.name: w for w in (machine("a", 4, memory=100), machine("b", 2, memory=50))}
    needs: dict[str, Requirements] = {}
    there: dict[str, Dispatch] = {}
    now, ended = 0.0, Counter[str]()
    for number in range(150):
        now += chance.random()
        effects: list[Effect] = hears(ledger, now, *workers.values())
        what = chance.choice(["submit", "submit", "end", "return"])
        if what == "submit":
            uuid = f"u{number}"
            needs[uuid] = Requirements(
                cores=chance.choice([0.1, 0.7, 1, 2, 3]), memory=chance.choice([0, 10, 50, 60])
            )
            effects += ledger.submitted([order(uuid, needs=needs[uuid])], now)
        elif there:
            sent = there.pop(chance.choice(sorted(there)))
            worker = workers[sent.event.worker]
            said = (
                worker.success(sent, now) if what == "end" else worker.gives_back(now, "full", sent)
            )
            effects += ledger.heard([said], now)
        for one in dispatches(effects):
            assert one.uuid not in there
            there[one.uuid] = one
        ended.update(ends(effects))
        for name, worker in workers.items():
            taken = Resources()
            for one in there.values():
                if one.event.worker == name:
                    taken = taken.plus(needs[one.uuid].amount)
            assert worker.node is not None
            assert worker.node.have.holds(taken)
            (peer,) = [peer for peer in ledger.directory if peer.name == name]
            assert peer.used == taken
    assert ended


# fairness -----------------------------------------------------------------------------------------


def test_what_needs_much_is_not_overtaken_for_ever() -> None:
    """After a while a machine is kept for it: nothing small is sent there until it has room."""
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    small = Requirements(cores=1)
    there = dispatches(ledger.submitted([order(f"s{n}", needs=small) for n in range(4)], 0.0))
    ledger.submitted([order("large", needs=Requirements(cores=4))], 0.1)
    now, number, sent = 0.1, 4, False
    while not sent:
        now += 0.5
        assert now < RESERVE_AFTER + 10.0, "it is overtaken for ever"
        effects = hears(ledger, now, worker)
        effects += ledger.submitted([order(f"s{number}", needs=small)], now)
        effects += ledger.heard([worker.success(there.pop(0), now)], now) if there else []
        number += 1
        found = dispatches(effects)
        sent = any(one.uuid == "large" for one in found)
        there += found
    assert now >= RESERVE_AFTER


def test_while_one_machine_is_kept_the_others_are_not() -> None:
    ledger, first, second = make(), machine("a"), machine("b", cores=2)
    hears(ledger, 0.0, first, second)
    small = Requirements(cores=2)
    ledger.submitted([order(f"s{n}", needs=small) for n in range(2)], 0.0)
    ledger.submitted([order("large", needs=Requirements(cores=4))], 0.1)
    passes(ledger, 0.1, RESERVE_AFTER + 1.0, first, second)
    effects = ledger.submitted([order(f"t{n}", needs=small) for n in range(3)], RESERVE_AFTER + 1.0)
    assert set(where(effects)) <= {("t0", second.name)}


def test_no_machine_is_kept_for_what_may_not_run_there() -> None:
    """It waits for one worker; the other has more room, and is of no use to it."""
    ledger, wanted, other = make(), machine("a"), machine("b")
    hears(ledger, 0.0, wanted, other)
    ledger.submitted([order("s", needs=Requirements(cores=4), worker=wanted.name)], 0.0)
    ledger.submitted([order("t", needs=Requirements(cores=1), worker=other.name)], 0.0)
    ledger.submitted([order("large", needs=Requirements(cores=4), worker=wanted.name)], 0.1)
    passes(ledger, 0.1, RESERVE_AFTER + 1.0, wanted, other)
    effects = ledger.submitted([order("u", needs=Requirements(cores=1))], RESERVE_AFTER + 1.0)
    assert where(effects) == [("u", other.name)]


def test_what_is_more_urgent_is_sent_to_a_machine_that_is_kept_for_what_is_less_so() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    ledger.submitted([order("s", needs=TWO_CORES)], 0.0)
    ledger.submitted([order("large", needs=Requirements(cores=4))], 0.1)
    passes(ledger, 0.1, RESERVE_AFTER + 1.0, worker)
    now = RESERVE_AFTER + 1.0
    assert where(ledger.submitted([order("t", needs=TWO_CORES)], now)) == []
    effects = ledger.submitted([order("urgent", needs=TWO_CORES, priority=1)], now)
    assert where(effects) == [("urgent", worker.name)]


# where it never fits ------------------------------------------------------------------------------


def too_large(ledger: Ledger, needs: Requirements, *workers: Native, **how: Any) -> Exception:
    """What such a request ends with, once all have had the time to be heard."""
    hears(ledger, 0.0, *workers)
    effects = ledger.submitted([order("u1", needs=needs, **how)], 0.0)
    assert ends(effects) == []
    return error(passes(ledger, 0.0, FIT_PATIENCE + 1.0, *workers))


def test_what_no_machine_can_hold_ends_soon_and_says_what_is_short() -> None:
    small, large = machine("a", memory="2 GiB"), machine("b", memory="8 GiB")
    needs = Requirements(cores=4, memory="16 GiB")
    found = too_large(make(), needs, small, large)
    assert isinstance(found, InsufficientSystemResources)
    assert str(found) == (
        "request u1 (m.task) needs 16.0 GiB of memory, and the most that one worker has is 8.0 GiB "
        "of memory, on worker-b, of 2 that offer it: ask for less, or start a worker on a larger "
        "machine"
    )
    assert (found.resource, found.requested, found.available) == (
        "memory",
        16 * 1024**3,
        8 * 1024**3,
    )
    assert (found.source, found.request_uuid) == ("worker-b", "u1")
    assert found.hint.startswith("ask for less")


@pytest.mark.parametrize(
    ("needs", "resource", "available"),
    [
        (Requirements(cores=4.001), "cores", 4),
        (Requirements(disk=1), "disk", 0),
        (Requirements(accelerators={"gpu": 3}), "gpu", 2),
        (Requirements(accelerators={"tpu": 1}), "tpu", 0),
    ],
)
def test_each_resource_is_told_by_its_name(
    needs: Requirements, resource: str, available: float
) -> None:
    found = too_large(make(), needs, machine("a", accelerators={"gpu": 2}))
    assert isinstance(found, InsufficientSystemResources)
    assert (found.resource, found.available) == (resource, available)


def test_a_machine_that_can_be_taken_away_is_for_what_agrees_to_that() -> None:
    ledger, worker = make(), machine("a", preemptible=True)
    found = too_large(ledger, TWO_CORES, worker)
    assert isinstance(found, InsufficientSystemResources)
    assert found.resource == "preemptible"
    assert "say preemptible=True" in str(found)
    agreed = Requirements(cores=2, preemptible=True)
    assert where(ledger.submitted([order("u2", needs=agreed)], 7.0)) == [("u2", worker.name)]


def test_who_tells_nothing_of_its_machine_gets_nothing_that_needs_some() -> None:
    found = too_large(make(), TWO_CORES, Native("a"))
    assert isinstance(found, InsufficientSystemResources)
    assert "none of the 1 workers that offer it tells what it has" in str(found)
    ledger = make("native", "taskflow")
    ledger.heard([Taskflow().answer(TASK)], 0.0)
    assert dispatches(ledger.submitted([order("u1", needs=TWO_CORES)], 0.0)) == []


def test_a_machine_that_answers_a_moment_later_is_not_too_late() -> None:
    ledger, small, large = make(), machine("a", 1), machine("b")
    hears(ledger, 0.0, small)
    ledger.submitted([order("u1", needs=TWO_CORES)], 0.0)
    assert ends(passes(ledger, 0.0, FIT_PATIENCE - 1.0, small)) == []
    effects = hears(ledger, FIT_PATIENCE - 0.9, large)
    assert where(effects) == [("u1", large.name)]


def test_with_a_timeout_it_waits_so_long_for_a_machine_that_is_large_enough() -> None:
    ledger, small, large = make(), machine("a", 1), machine("b")
    hears(ledger, 0.0, small)
    ledger.submitted([order("u1", needs=TWO_CORES, timeout=120.0)], 0.0)
    ledger.submitted([order("u2", needs=Requirements(cores=100), timeout=120.0)], 0.0)
    assert ends(passes(ledger, 0.0, 100.0, small)) == []
    assert where(hears(ledger, 100.0, large)) == [("u1", large.name)]
    found = error(passes(ledger, 100.0, 121.0, small, large))
    assert isinstance(found, InsufficientSystemResources)
    assert found.available == 4


def test_where_nobody_offers_it_that_is_why_it_expires() -> None:
    ledger = make()
    ledger.submitted([order("u1", needs=TWO_CORES)], 0.0)
    assert isinstance(error(passes(ledger, 0.0, REQUEST_TIMEOUT + 1.0)), RequestTimeout)


def test_who_was_large_enough_may_come_back() -> None:
    """Its machine is known to be there, and is waited for as any worker that fell silent."""
    ledger, small, large = make(), machine("a", 1), machine("b")
    hears(ledger, 0.0, small, large)
    ledger.submitted([order(f"u{n}", needs=Requirements(cores=4)) for n in range(2)], 0.0)
    assert ends(passes(ledger, 0.0, 40.0, small)) == []
    effects = passes(ledger, 40.0, 90.0, small)
    assert sorted(ends(effects)) == ["u0", "u1"]


def test_patience_may_have_no_end() -> None:
    ledger = make(patience=float("inf"))
    ledger.submitted([order("u1")], 0.0)
    assert ends(passes(ledger, 0.0, 1000.0)) == []


def test_a_limit_that_nobody_can_keep_is_told_before_what_is_too_large() -> None:
    ledger = make()
    weak = Native("a", caps=envelope.CAPS)
    hears(ledger, 0.0, weak)
    effects = ledger.submitted([order("u1", needs=TWO_CORES, time_limit=5.0)], 0.0)
    assert isinstance(error(effects), LimitRefused)
    ledger, small = make(), machine("a", 1)
    hears(ledger, 0.0, small)
    effects = ledger.submitted([order("u1", needs=TWO_CORES, time_limit=5.0)], 0.0)
    assert ends(effects) == []


def test_what_waits_for_room_says_so_when_its_time_is_over() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    orders = [order(f"u{n}", needs=Requirements(cores=3), timeout=20.0) for n in range(2)]
    (first,) = dispatches(ledger.submitted(orders, 0.0))
    ledger.heard([worker.running(first, 0.1)], 0.1)
    found = error(passes(ledger, 0.1, 21.0, worker))
    assert isinstance(found, RequestTimeout)
    assert "1 of them could hold it, and none has 3 cores free" in str(found)


# memory -------------------------------------------------------------------------------------------

TOO_MUCH = from_exception(
    MemoryLimitExceeded("m.task took 2.0 GiB of memory, and may take 1.0 GiB")
)


def test_too_much_memory_ends_it_in_the_words_of_its_worker() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    (sent,) = dispatches(ledger.submitted([order("u1", needs=TWO_CORES)], 0.0))
    found = error(ledger.heard([worker.failure(sent, 1.0, "limit", TOO_MUCH)], 1.0))
    assert isinstance(found, MemoryLimitExceeded)
    assert str(found) == (
        "request u1 (m.task) ran on worker-a: m.task took 2.0 GiB of memory, and may take 1.0 GiB"
    )


@pytest.mark.parametrize(
    ("on", "is_retried"),
    [((Exception,), False), (("TimeLimitExceeded",), False), ((MemoryLimitExceeded,), True)],
)
def test_too_much_memory_is_retried_where_a_policy_names_it(on: Any, is_retried: bool) -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    policy = Retry(max=1, backoff=0.0, jitter=0.0, on=on)
    (sent,) = dispatches(ledger.submitted([order("u1", needs=TWO_CORES, retries=policy)], 0.0))
    effects = ledger.heard([worker.failure(sent, 1.0, "limit", TOO_MUCH)], 1.0)
    assert bool(dispatches(effects)) == is_retried
    assert bool(ends(effects)) != is_retried


# one worker ---------------------------------------------------------------------------------------


def test_what_is_for_one_worker_is_sent_to_nobody_else() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    hears(ledger, 0.0, first, second, credit=10)
    effects = ledger.submitted([order(f"u{n}", worker=second.name) for n in range(5)], 0.0)
    assert where(effects) == [(f"u{n}", second.name) for n in range(5)]


def test_what_is_for_a_worker_that_has_gone_expires_and_says_so() -> None:
    ledger, worker = make(), Native("a")
    hears(ledger, 0.0, worker)
    ledger.submitted([order("u1", worker="worker-z")], 0.0)
    found = error(passes(ledger, 0.0, REQUEST_TIMEOUT + 1.0, worker))
    assert isinstance(found, RequestTimeout)
    assert "none of them is worker-z, which it is for" in str(found)


# nodes --------------------------------------------------------------------------------------------


def test_a_machine_is_listed_with_what_is_promised_of_it() -> None:
    ledger = make()
    have = Resources(cores=4, memory=100)
    report = NodeReport("n1", have, busy=3, cores_used=0.5, memory_used=0.25)
    worker = Native("a", node=report)
    other = Native("b", node=NodeReport("n1", Resources(cores=2), preemptible=True))
    hears(ledger, 0.0, worker, free=Resources(cores=3, memory=60))
    hears(ledger, 0.0, other)
    hears(ledger, 0.0, Native("c"))
    ledger.submitted([order("u1", needs=Requirements(cores=3))], 0.0)
    (node,) = list_nodes(ledger, 0.0).values()
    assert (node.name, node.workers, node.busy) == ("n1", 2, 3)
    assert node.total == Resources(cores=6, memory=100)
    assert node.requested == Resources(cores=4, memory=40)
    assert (node.cores_used, node.memory_used) == (0.5, 0.25)
    assert (node.preemptible, node.is_ignored) == (True, False)


def test_to_a_machine_that_is_ignored_nothing_more_is_sent_until_it_is_not() -> None:
    ledger, worker = make(), machine("a")
    ledger.ignore("node-a", 0.0, is_ignored=True)  # before it has been heard of, too
    hears(ledger, 0.0, worker)
    assert where(ledger.submitted([order("u1"), order("u2", needs=TWO_CORES)], 0.0)) == []
    assert [node.is_ignored for node in list_nodes(ledger, 1.0).values()] == [True]
    ledger.ignore("node-a", 2.0, is_ignored=False)
    assert [uuid for uuid, _ in where(ledger.tick(2.0))] == ["u1", "u2"]
    ledger.ignore("worker-a", 3.0, is_ignored=True)
    assert [node.is_ignored for node in list_nodes(ledger, 3.0).values()] == [True]


def test_what_is_there_already_goes_on_and_its_end_is_taken() -> None:
    ledger, worker = make(), machine("a")
    hears(ledger, 0.0, worker)
    (sent,) = dispatches(ledger.submitted([order("u1")], 0.0))
    ledger.ignore("node-a", 0.5, is_ignored=True)
    assert ends(ledger.heard([worker.success(sent, 1.0)], 1.0)) == ["u1"]
