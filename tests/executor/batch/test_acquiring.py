"""Resources that threads share: nothing is granted that is not free, in turn, and in time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from executor.batch import ResourcePool, ResourceSet
from protocol.errors import AcquisitionTimeout, ConfigurationError, InsufficientSystemResources

DEADLINE = 30.0  # seconds

#: Each kind with 4 of something, and how so many are named.
KINDS: list[tuple[Any, Callable[[int], Any]]] = [
    (lambda: ResourcePool(4, "cores"), lambda count: count),
    (lambda: ResourceSet(range(4), "gpus"), lambda count: set(range(count))),
]


def free(resource: Any) -> int:
    """How many are free."""
    return resource.free if isinstance(resource, ResourcePool) else len(resource.free)


def waiting(resource: Any) -> int:
    """How many threads wait."""
    return len(resource._line._waiting)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture(params=KINDS, ids=["pool", "set"])
def kind(request: pytest.FixtureRequest) -> tuple[Any, Callable[[int], Any]]:
    """One with four free, and the name of so many of them."""
    make, some = request.param
    return make(), some


def test_what_is_free_is_granted_at_once_and_no_more(kind: Any) -> None:
    resource, some = kind
    assert resource.acquire_now(some(3))
    assert free(resource) == 1
    assert not resource.acquire_now(some(2))
    assert free(resource) == 1
    resource.release(some(3))
    assert resource.acquire_now(some(4))
    assert resource.acquire_now(some(0))


def test_a_wait_ends_when_enough_is_given_back(kind: Any) -> None:
    resource, some = kind
    resource.acquire(some(4))
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(resource.acquire, some(2), DEADLINE)
        until(lambda: waiting(resource) == 1)
        resource.release(some(4))
        waiter.result(DEADLINE)
    assert free(resource) == 2


def test_a_wait_ends_after_its_time_however_much_is_given_back_meanwhile(kind: Any) -> None:
    resource, some = kind
    resource.acquire(some(4))
    stop = threading.Event()

    def give_and_take() -> None:
        while not stop.wait(0.01):  # a part of it, again and again
            resource.release(some(1))
            with resource._line.changed:
                resource._take(some(1) if isinstance(resource, ResourcePool) else frozenset({0}))

    thread = threading.Thread(target=give_and_take)
    thread.start()
    began = time.monotonic()
    try:
        with pytest.raises(AcquisitionTimeout, match=r"in 0\.3 s") as found:
            resource.acquire(some(4), 0.3)
    finally:
        stop.set()
        thread.join()
    assert time.monotonic() - began >= 0.3
    assert found.value.resource in ("cores", "gpus")
    assert found.value.requested == some(4)
    assert found.value.available is not None


def test_more_than_there_is_is_refused_at_once(kind: Any) -> None:
    resource, _ = kind
    with pytest.raises(InsufficientSystemResources) as found:
        resource.acquire(5 if isinstance(resource, ResourcePool) else {7}, DEADLINE)
    assert found.value.available == 4


def test_a_block_has_it_and_gives_it_back_whatever_happens(kind: Any) -> None:
    resource, some = kind
    with pytest.raises(ZeroDivisionError), resource.acquisition_of(some(3)):
        assert free(resource) == 1
        raise ZeroDivisionError
    assert free(resource) == 4
    resource.acquire(some(4))
    with pytest.raises(AcquisitionTimeout), resource.acquisition_of(some(1), 0.01):
        pytest.fail("it was not granted")
    assert free(resource) == 0


def test_who_waits_is_served_in_turn_and_not_overtaken(kind: Any) -> None:
    """A large request that waits is not starved by small ones, whether they wait or look."""
    resource, some = kind
    resource.acquire(some(3))
    order: list[str] = []

    def take(name: str, count: int) -> None:
        with resource.acquisition_of(some(count), DEADLINE):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        large = pool.submit(take, "large", 4)
        until(lambda: waiting(resource) == 1)
        small = pool.submit(take, "small", 1)
        until(lambda: waiting(resource) == 2)
        one_that_is_free = 1 if isinstance(resource, ResourcePool) else {3}
        assert not resource.acquire_now(one_that_is_free)
        resource.release(some(3))
        large.result(DEADLINE)
        small.result(DEADLINE)
    assert order == ["large", "small"]


def test_who_gives_up_lets_the_next_one_go() -> None:
    pool = ResourcePool(4, "cores")
    pool.acquire(3)
    with ThreadPoolExecutor(2) as threads:
        impatient = threads.submit(pool.acquire, 4, 0.2)
        until(lambda: waiting(pool) == 1)
        modest = threads.submit(pool.acquire, 1, DEADLINE)
        with pytest.raises(AcquisitionTimeout):
            impatient.result(DEADLINE)
        modest.result(DEADLINE)
    assert pool.free == 0


@pytest.mark.parametrize("amount", [-1, 1.0, True, "1", None])
def test_an_amount_is_a_whole_number(amount: Any) -> None:
    pool = ResourcePool(4, "cores")
    for call in (pool.acquire_now, pool.acquire, pool.release):
        with pytest.raises(ConfigurationError, match="of cores: a whole number"):
            call(amount)


def test_what_was_not_taken_is_not_given_back(kind: Any) -> None:
    resource, some = kind
    resource.acquire(some(1))
    with pytest.raises(ConfigurationError, match="taken"):
        resource.release(some(2))
    assert free(resource) == 3
    if isinstance(resource, ResourceSet):
        with pytest.raises(ConfigurationError, match="is not taken"):
            resource.release({7})


def test_a_set_grants_nothing_that_is_taken_nor_what_it_never_had() -> None:
    """Not even beside something that is free."""
    gpus = ResourceSet({1, 2, 3}, "gpus")
    assert gpus.acquire_now({1, 2})
    assert not gpus.acquire_now({2, 3})
    assert not gpus.acquire_now({1})
    assert not gpus.acquire_now({5})
    assert gpus.acquire_now({3})
    assert gpus.free == frozenset()


def test_the_callers_set_is_its_own() -> None:
    mine = {1, 2}
    gpus = ResourceSet(mine, "gpus")
    gpus.acquire({1})
    assert mine == {1, 2}
    mine.add(3)
    assert gpus.free == {2}


def test_both_say_what_they_are() -> None:
    assert repr(ResourcePool(10, "bytes")) == "ResourcePool(10 of 10 bytes)"
    assert repr(ResourceSet({2, 1}, "gpus")) == "ResourceSet({1, 2} of {1, 2} gpus)"


@pytest.mark.parametrize("seed", range(3))
def test_many_threads_never_have_more_than_there_is(kind: Any, seed: int) -> None:
    resource, some = kind
    taken, most = [0], [0]
    guard = threading.Lock()

    def work(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        for _ in range(30):
            count = chance.randint(1, 4)
            with resource.acquisition_of(some(count), DEADLINE):
                with guard:
                    taken[0] += count
                    most[0] = max(most[0], taken[0])
                with guard:
                    taken[0] -= count

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most[0] <= 4
    assert free(resource) == 4
