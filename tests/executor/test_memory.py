"""What is remembered of requests that have ended, and for how long."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from executor import memory as room
from executor.future import Future
from executor.memory import MAX_ENDED, MAX_RESULT, MAX_WEIGHT, Memory, weigh
from protocol.events import Ended
from tests.executor.test_future import House

HOUSE = House()


def ended(memory: Memory, uuid: str, value: Any = 1, outcome: Any = "success") -> Future[Any]:
    """One that has ended like this; its future."""
    future: Future[Any] = Future(uuid, "m.task", HOUSE)
    memory.ended(Ended(uuid, outcome, value), future)
    return future


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_the_last_ten_thousand_are_remembered(memory: Memory) -> None:
    for n in range(MAX_ENDED + 5):
        ended(memory, f"u{n}", n)
    assert memory.find("u4") is None
    for n in (5, MAX_ENDED + 4):
        found = memory.find(f"u{n}")
        assert found is not None
        assert found.ended == Ended(f"u{n}", "success", n)
        assert found.task == "m.task"
        assert found.future() is None


def test_who_holds_the_future_gets_that_very_one(memory: Memory) -> None:
    future = ended(memory, "u1")
    found = memory.find("u1")
    assert found is not None
    assert found.future() is future


def test_a_large_result_is_left_to_who_holds_it(memory: Memory) -> None:
    future = ended(memory, "u1", "x" * MAX_RESULT)
    gone = weakref.ref(future)
    found = memory.find("u1")
    assert found is not None
    assert found.ended is None
    assert found.future() is future
    del future
    gc.collect()
    assert gone() is None


def test_a_key_has_even_a_large_result_remembered(memory: Memory) -> None:
    memory.submitted("u1", "key", "call")
    ended(memory, "u1", "x" * MAX_RESULT)
    found = memory.find("u1")
    assert found is not None
    assert found.ended is not None
    assert memory.find_key("key") == ("u1", "call")


def test_all_together_they_are_bounded_and_the_newest_stays(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_WEIGHT", 3000)
    for n in range(10):
        memory.submitted(f"u{n}", f"key{n}", "call")
        ended(memory, f"u{n}", "x" * 1000)
    kept = [n for n in range(10) if memory.find(f"u{n}") is not None]
    assert kept == [8, 9]
    assert [n for n in range(10) if memory.find_key(f"key{n}")] == kept
    memory.submitted("large", "large", "call")
    ended(memory, "large", "x" * 100_000)
    assert memory.find("u9") is None
    assert memory.find("large") is not None


@pytest.mark.parametrize(
    ("outcome", "value"), [("cancelled", None), ("error", {"type": "TaskCancelled"})]
)
def test_a_cancelled_one_leaves_its_key(memory: Memory, outcome: str, value: Any) -> None:
    memory.submitted("u1", "key", "call")
    ended(memory, "u1", value, outcome)
    assert memory.find_key("key") is None
    assert memory.find("u1") is not None


def test_a_key_that_was_taken_by_another_is_not_lost_with_the_first(memory: Memory) -> None:
    memory.submitted("u1", "key", "call")
    memory.submitted("u2", "key", "call")
    ended(memory, "u1", None, "cancelled")
    assert memory.find_key("key") == ("u2", "call")


def test_a_failure_keeps_its_key(memory: Memory) -> None:
    memory.submitted("u1", "key", "call")
    ended(memory, "u1", {}, "failure")
    assert memory.find_key("key") == ("u1", "call")


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (None, 1, 100),
        (True, 1, 100),
        ("x" * 5000, 5000, 5100),
        ([0] * 1000, 8000, 40_000),
        ({"a": ["b" * 100] * 10}, 1000, 2000),
        ([1 << 16_000], 2000, 2200),
    ],
)
def test_a_weight_is_about_right(value: Any, least: int, most: int) -> None:
    assert least <= weigh(value, MAX_WEIGHT) <= most


def test_weighing_stops_when_it_is_too_much() -> None:
    class Endless(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("looked at")

        def __len__(self) -> int:
            return 1_000_000

    assert weigh(["x" * MAX_RESULT, Endless()], MAX_RESULT) > MAX_RESULT
