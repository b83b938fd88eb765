"""What a call becomes before it travels."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import operator
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest

from executor import naming
from protocol.errors import SignatureMismatch, UnnameableTask
from tests.samples import tasks
from worker import task

HERE = __name__


def plain(a: Any, b: Any = 2, *, c: Any = 3) -> None:
    """All by name."""


def only_by_position(a: Any, /, b: Any = 2) -> None:
    """One that has no name for callers."""


def many(a: Any, *rest: Any, **named: Any) -> None:
    """Any number."""


@task(name="a.name.of-its-own", version=(2, 1))
def named() -> None:
    """Known under another name."""


class Tools:
    """A class with functions in it."""

    @staticmethod
    def static(x: int) -> int:
        """Without the class."""
        return x

    @classmethod
    def of_class(cls, x: int) -> int:
        """With the class."""
        return x

    def of_object(self) -> None:
        """With an object."""


class Special(Tools):
    """Inherits them."""


@dataclass
class Unhashable:
    """An object that can be called, equal to others like it."""

    n: int

    def __call__(self) -> int:
        """Be called."""
        return self.n


def replaced() -> None:
    """The first of that name."""


first_replaced = replaced


def replaced() -> None:  # type: ignore[no-redef]
    """The second."""


@pytest.mark.parametrize(
    ("function", "name", "spec"),
    [
        (plain, f"{HERE}.plain", f"{HERE}:plain"),
        (named, "a.name.of-its-own", f"{HERE}:named"),
        (Tools.static, f"{HERE}.Tools.static", f"{HERE}:Tools.static"),
        (Tools.of_class, f"{HERE}.Tools.of_class", f"{HERE}:Tools.of_class"),
        (abs, "builtins.abs", "builtins:abs"),
        (math.sqrt, "math.sqrt", "math:sqrt"),
        (json.dumps, "json.dumps", "json:dumps"),
        (operator.add, "_operator.add", "_operator:add"),
        (tasks.cached, "tests.samples.tasks.cached", "tests.samples.tasks:cached"),
    ],
)
def test_a_function_is_named_after_where_it_is_defined(function: Any, name: str, spec: str) -> None:
    callee = naming.describe(function)
    assert (callee.name, callee.spec) == (name, spec)


def test_a_version_travels_with_it() -> None:
    assert naming.describe(named).options.version == (2, 1)
    assert naming.describe(plain).options.version == (1, 0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "is a lambda"),
        (Tools().of_object, "is a method of an object"),
        (random.random, "is a method of an object|has no name"),
        (Unhashable(1), "has no name that a worker could import"),
        (42, "has no name that a worker could import"),
        (None, "has no name that a worker could import"),
        (functools.partial(plain, 1), "has no name that a worker could import"),
        (first_replaced, "a worker, which imports it by name, would run something else"),
        (Special.of_class, "would run something else"),
    ],
)
def test_what_a_worker_could_not_find_is_refused(function: Any, words: str) -> None:
    with pytest.raises(UnnameableTask, match=words):
        naming.describe(function)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "travels"),
    [
        (plain, (1,), {}, ((), {"a": 1})),
        (plain, (1, 5), {"c": 6}, ((), {"a": 1, "b": 5, "c": 6})),
        (plain, (), {"a": 1}, ((), {"a": 1})),
        (only_by_position, (1,), {"b": 3}, ((1, 3), {})),
        (many, (1,), {"x": 2}, ((), {"a": 1, "x": 2})),
        (many, (1, 2, 3), {"x": 4}, ((1, 2, 3), {"x": 4})),
        (dict, (), {"a": 1}, ((), {"a": 1})),
    ],
)
def test_arguments_travel_by_name_wherever_there_is_one(
    function: Any, args: Any, kwargs: Any, travels: Any
) -> None:
    """Defaults do not travel: they are the worker's own."""
    assert naming.bind(naming.describe(function), args, kwargs) == travels


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"a": 1}), ((1,), {"unknown": 1})]
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(args: Any, kwargs: Any) -> None:
    with pytest.raises(SignatureMismatch, match=r"plain\(a: .*was not submitted"):
        naming.bind(naming.describe(plain), args, kwargs)


def test_a_task_class_is_left_to_the_worker_which_knows_how_it_makes_one() -> None:
    """The arguments are its ``execute``'s, not its constructor's."""
    callee = naming.describe(tasks.Twice)
    assert callee.name == "tests.samples.tasks.Twice"
    assert naming.bind(callee, (), {"x": 4}) == ((), {"x": 4})


def test_a_partial_is_the_call_it_stands_for() -> None:
    """Nested ones too; later arguments win over earlier ones, as when it is called."""
    inner = functools.partial(plain, 1, c=1)
    outer = functools.partial(inner, b=2, c=2)
    assert naming.unfold(outer, (), {"c": 3}) == (plain, (1,), {"b": 2, "c": 3})
    assert naming.unfold(plain, (1,), {"c": 3}) == (plain, (1,), {"c": 3})


def test_a_class_of_the_standard_library_is_a_function_like_any_other() -> None:
    assert naming.describe(OrderedDict).name == "collections.OrderedDict"


@pytest.mark.parametrize("function", [plain, only_by_position, many, named])
def test_arguments_by_position_are_bound_as_the_signature_binds_them(function: Any) -> None:
    """Of most functions they are paired with their names without asking it."""
    callee = naming._describe(function)
    assert callee.signature is not None
    slow = dataclasses.replace(callee, names=None)
    for count in range(4):
        args = tuple(range(count))
        try:
            expected: object = naming.bind(slow, args, {})
        except SignatureMismatch as error:
            with pytest.raises(SignatureMismatch) as found:
                naming.bind(callee, args, {})
            assert str(found.value) == str(error)
        else:
            assert naming.bind(callee, args, {}) == expected
