"""What ``@task`` records, and how a function or class is called on the wire."""

from __future__ import annotations

import functools
import math
import os.path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import ConfigurationError, UnnameableTask
from protocol.retry import Retry
from protocol.task import (
    DEFAULT_VERSION,
    MAX_LIMIT,
    MAX_NAME,
    TaskOptions,
    check_limits,
    options_of,
    task,
    wire_name,
)

HERE = __name__


def plain(x: int) -> int:
    """Be an ordinary function."""
    return x


class Resize:
    """Be an ordinary class with a method of each kind."""

    def method(self) -> None:
        """Belong to an object."""

    @classmethod
    def of_class(cls) -> None:
        """Belong to the class."""


def test_the_decorator_returns_the_function_itself() -> None:
    assert task(plain) is plain
    assert task(name="other")(plain) is plain
    assert plain(3) == 3
    del plain.__taskline_task__  # type: ignore[attr-defined]


def test_the_bare_decorator_records_the_defaults() -> None:
    @task
    def bare() -> None: ...

    assert options_of(bare) == TaskOptions(None, DEFAULT_VERSION)


def test_options_are_recorded_and_survive_a_wrapper() -> None:
    @task(name="resize", version=(2, 0, 1))
    def function() -> None: ...

    @functools.wraps(function)
    def wrapper() -> None: ...

    assert options_of(function) == options_of(wrapper) == TaskOptions("resize", (2, 0, 1))
    assert wire_name(function) == "resize"


@pytest.mark.parametrize("priority", [-101, 101, 1.0, True, "5", None])
def test_a_priority_out_of_its_range_is_refused(priority: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"from -100 \(last\) to 100 \(first\)"):
        task(priority=priority)


@pytest.mark.parametrize("how_many", [0, -1, 1.5, True, "4"])
def test_running_no_whole_number_of_them_is_refused(how_many: Any) -> None:
    with pytest.raises(ConfigurationError, match="how many may run at once, 1 or more"):
        task(max_running=how_many)


def test_a_rate_of_another_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^@task: rate='5 per minute': how many in how"):
        task(rate="5 per minute")


def test_a_subclass_does_not_inherit_the_name() -> None:
    @task(name="first")
    class First: ...

    class Second(First): ...

    assert options_of(First).name == "first"
    assert options_of(Second).name is None


@pytest.mark.parametrize("name", ["", "two words", "line\n", "x" * (MAX_NAME + 1), 5])
def test_a_name_of_another_form_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a name is 1 to"):
        task(name=name)


@pytest.mark.parametrize("version", ["1.0", (), (1, -1), (1, True), [1, 0], 1])
def test_a_version_of_another_form_is_refused(version: Any) -> None:
    with pytest.raises(ConfigurationError, match="a version is a tuple of ints"):
        task(version=version)


def test_a_task_says_how_often_it_may_be_started_and_how_long_it_may_run() -> None:
    @task(delivery="at_most_once", time_limit=10, soft_time_limit=8.5)
    def careful() -> None: ...

    options = options_of(careful)
    assert (options.delivery, options.time_limit, options.soft_time_limit) == (
        "at_most_once",
        10,
        8.5,
    )
    assert options_of(plain).delivery == "at_least_once"
    assert options_of(plain).time_limit is options_of(plain).soft_time_limit is None


@pytest.mark.parametrize("delivery", ["once", "", None, 1, ["at_most_once"]])
def test_a_delivery_there_is_not_is_refused_with_those_there_are(delivery: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"choose from \['at_least_once', 'at_most_once'\]"
    ):
        task(delivery=delivery)


@pytest.mark.parametrize("name", ["time_limit", "soft_time_limit"])
@pytest.mark.parametrize("limit", [0, 0.0009, -1, math.nan, -math.inf, True, "5", [5], 5j])
def test_a_limit_that_is_no_number_of_seconds_is_refused(name: str, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^@task: {name}=.*: seconds, 0.001 or more"):
        task(**{name: limit})


@pytest.mark.parametrize("name", ["time_limit", "soft_time_limit"])
@pytest.mark.parametrize("limit", [MAX_LIMIT * 1.1, math.inf, 10**400])
def test_a_limit_beyond_every_clock_is_refused(name: str, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is more than 315360000 seconds"):
        task(**{name: limit})


@pytest.mark.parametrize(("hard", "soft"), [(5, 5), (5, 5.5), (0.001, 1)])
def test_a_soft_limit_that_would_never_come_is_refused(hard: float, soft: float) -> None:
    with pytest.raises(ConfigurationError, match=r"would never come before time_limit=.*smaller"):
        task(time_limit=hard, soft_time_limit=soft)


@pytest.mark.parametrize(
    ("hard", "soft"), [(None, None), (0.001, None), (None, 1), (5, 4.999), (MAX_LIMIT, 1.0)]
)
def test_limits_that_can_be_kept_are_taken(hard: float | None, soft: float | None) -> None:
    check_limits("here", hard, soft)


def test_what_is_no_function_or_keeps_no_attribute_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="neither a function nor a class"):
        task(name="x")(5)  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match="keeps no attribute"):
        task(math.sqrt)


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (plain, f"{HERE}.plain"),
        (Resize, f"{HERE}.Resize"),
        (Resize.of_class, f"{HERE}.Resize.of_class"),
        (math.sqrt, "math.sqrt"),
        (pow, "builtins.pow"),
        (os.path.join, "posixpath.join"),
    ],
)
def test_a_thing_is_called_by_its_module_and_qualified_name(thing: object, name: str) -> None:
    assert wire_name(thing) == name


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (lambda: None, "is a lambda"),
        (functools.wraps(lambda: None)(lambda: None), "is a lambda"),
        (Resize().method, "a method of an object"),
        (functools.partial(plain, 1), "has no name that a worker could import"),
        (Resize(), "has no name that a worker could import"),
        ([].append, "has no name|a method of an object"),
    ],
)
def test_what_cannot_be_found_again_has_no_name(thing: object, words: str) -> None:
    with pytest.raises(UnnameableTask, match=words):
        wire_name(thing)


def test_a_function_made_inside_another_has_no_name() -> None:
    def inside() -> None: ...

    with pytest.raises(UnnameableTask, match="made inside another function"):
        wire_name(inside)


@pytest.mark.parametrize(
    ("space", "module"),
    [
        ({"__spec__": None, "__file__": "/home/me/demo.py"}, "demo"),
        ({"__spec__": None, "__file__": "demo.py"}, "demo"),
        ({"__spec__": SimpleNamespace(name="shop.report"), "__file__": "x"}, "shop.report"),
        ({"__spec__": SimpleNamespace(name="shop.__main__"), "__file__": "x"}, "shop.__main__"),
    ],
)
def test_a_function_of_main_is_called_as_its_module_when_imported(
    space: dict[str, Any], module: str
) -> None:
    namespace = {**space, "__name__": "__main__"}
    exec("def run(): pass", namespace)
    assert wire_name(namespace["run"]) == f"{module}.run"


@pytest.mark.parametrize("space", [{}, {"__file__": "/tmp/not-a-name.py"}])
def test_a_function_of_main_that_nobody_can_import_has_no_name(space: dict[str, Any]) -> None:
    namespace = {**space, "__name__": "__main__"}
    exec("def run(): pass", namespace)
    with pytest.raises(UnnameableTask, match="move it to a module"):
        wire_name(namespace["run"])


def test_how_often_a_failed_run_is_repeated_is_recorded() -> None:
    @task(retries=Retry(max=5, on=(OSError,)))
    def function() -> None: ...

    assert options_of(function).retries == Retry(max=5, on=(OSError,))
    with pytest.raises(ConfigurationError, match=r"^@task: retries='often'"):
        task(retries="often")  # type: ignore[call-overload]


def test_what_is_to_start_at_most_once_cannot_be_retried() -> None:
    with pytest.raises(ConfigurationError, match=r"at_most_once.*never started twice.*retries=0"):
        task(delivery="at_most_once", retries=1)
    assert task(delivery="at_most_once", retries=0)
