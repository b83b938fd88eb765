"""Which failures are worth another run, and how long is waited before it."""

from __future__ import annotations

from typing import Any

import pytest

import __main__
from protocol.errors import (
    ConfigurationError,
    MemoryLimitExceeded,
    TimeLimitExceeded,
    ValueRefused,
    WorkerLost,
)
from protocol.failure import from_exception
from protocol.retry import (
    MAX_BACKOFF,
    MAX_RETRIES,
    MEMORY_LIMIT_NAMES,
    TIME_LIMIT_NAMES,
    Retry,
    from_json,
    parse_retries,
)

UUIDS = [f"request {n}" for n in range(200)]


class Refused(ConnectionError):
    """Of a class that the executor need not know."""


def names(error: BaseException) -> Any:
    """As a worker tells them."""
    return from_exception(error)["exc_type_names"]


@pytest.mark.parametrize(
    ("policy", "error", "is_covered"),
    [
        (Retry(), ValueError("x"), True),
        (Retry(), Refused("x"), True),
        (Retry(), KeyboardInterrupt(), False),
        (Retry(on=(OSError,)), Refused("x"), True),
        (Retry(on=(Refused,)), Refused("x"), True),
        (Retry(on=[f"{__name__}.Refused"]), Refused("x"), True),
        (Retry(on=("builtins.KeyError", OSError)), KeyError("x"), True),
        (Retry(on=(KeyError, OSError)), ValueError("x"), False),
        (Retry(on=("somewhere.else.Refused",)), Refused("x"), False),
        (Retry(on=(BaseException,)), SystemExit(1), True),
        # another run would be refused as well, unless somebody knows better
        (Retry(), ValueRefused("x"), False),
        (Retry(on=(ValueRefused,)), ValueRefused("x"), True),
        (Retry(on=(TypeError,)), ValueRefused("x"), True),
    ],
)
def test_a_failure_is_covered_by_the_names_of_its_classes(
    policy: Retry, error: BaseException, is_covered: bool
) -> None:
    assert policy.covers(names(error)) is is_covered


def test_a_time_limit_is_covered_where_it_is_named() -> None:
    assert tuple(names(TimeLimitExceeded("x")))[:-1] == TIME_LIMIT_NAMES
    assert Retry(on=(TimeLimitExceeded,)).covers(TIME_LIMIT_NAMES)
    assert not Retry().covers(TIME_LIMIT_NAMES)


def test_too_much_memory_is_covered_where_it_is_named() -> None:
    assert tuple(names(MemoryLimitExceeded("x")))[:-1] == MEMORY_LIMIT_NAMES
    assert Retry(on=(MemoryLimitExceeded,)).covers(MEMORY_LIMIT_NAMES)
    assert not Retry(on=(TimeLimitExceeded,)).covers(MEMORY_LIMIT_NAMES)


def test_what_nobody_can_read_is_covered_by_nothing() -> None:
    assert not Retry().covers(())


def test_each_wait_is_twice_the_one_before_up_to_a_bound() -> None:
    policy = Retry(max=MAX_RETRIES, backoff=2.0, jitter=0.0)
    assert [policy.wait("u", n) for n in (1, 2, 3, 4)] == [2.0, 4.0, 8.0, 16.0]
    assert policy.wait("u", MAX_RETRIES) == MAX_BACKOFF
    assert Retry(backoff=3600, jitter=0.0).wait("u", 9) == 3600
    assert Retry(backoff=0).wait("u", 3) == 0.0


def test_two_that_failed_together_do_not_come_back_together() -> None:
    policy = Retry(backoff=10.0, jitter=0.5)
    waits = [policy.wait(uuid, 1) for uuid in UUIDS]
    assert len(set(waits)) == len(waits)
    assert all(10.0 <= wait <= 15.0 for wait in waits)
    assert max(waits) - min(waits) > 4.0
    assert waits == [policy.wait(uuid, 1) for uuid in UUIDS]  # and each is told the same again
    assert policy.wait("u", 2) != 2 * policy.wait("u", 1)


def test_how_many_is_short_for_all_else_as_usual() -> None:
    assert parse_retries("here", 5) == Retry(max=5)
    assert parse_retries("here", Retry(max=2)) == Retry(max=2)
    assert parse_retries("here", 0) is parse_retries("here", None) is None


@pytest.mark.parametrize("retries", [-1, MAX_RETRIES + 1, 1.5, True, "3", (3,)])
def test_any_other_number_is_refused(retries: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^here: retries=.* 0 to {MAX_RETRIES}, or Retry"
    ):
        parse_retries("here", retries)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max": 0}, "say retries=0"),
        ({"max": True}, "how often it is run again"),
        ({"max": 101}, "1 to 100"),
        ({"backoff": -1}, "seconds before the first retry"),
        ({"backoff": float("nan")}, "seconds before the first retry"),
        ({"backoff": 1e9}, "thirty days"),
        ({"jitter": 1.1}, "from 0"),
        ({"jitter": True}, "from 0"),
        ({"on": ()}, "a tuple of exception classes"),
        ({"on": OSError}, "a tuple of exception classes"),
        ({"on": (int,)}, "neither an exception class nor the name of one"),
        ({"on": ("",)}, "neither an exception class nor the name of one"),
        ({"on": (WorkerLost,)}, "would cover nothing: what a lost worker had is sent again"),
        ({"on": ("protocol.errors.PoisonTask",)}, "would cover nothing: a run that ends its"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_what_is_meant(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Retry(**given)


def test_it_is_read_back_from_the_journal_as_it_was() -> None:
    policy = Retry(max=7, backoff=0.5, jitter=0.0, on=(OSError, "a.b.Odd"))
    assert from_json(policy.to_json()) == policy


@pytest.mark.parametrize("written", [None, 3, "x", [], {"max": 0}, {"on": [7]}, {"backoff": "1"}])
def test_what_a_later_version_may_have_written_is_none(written: Any) -> None:
    assert from_json(written) is None


def test_the_class_of_a_script_is_named_as_workers_import_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Mine(Exception):
        """Made in a script."""

    monkeypatch.setattr(Mine, "__module__", "__main__")
    monkeypatch.setattr(__main__, "__spec__", None)
    monkeypatch.setattr(__main__, "__file__", "/home/me/shop.py", raising=False)
    assert Retry(on=(Mine,)).on == ("shop.Mine",)
    monkeypatch.delattr(__main__, "__file__")
    assert Retry(on=(Mine,)).on == ("__main__.Mine",)
