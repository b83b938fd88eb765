"""How long a body may be: what cannot fit is found by counting, and never what can."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given

from bus.news.line import MAX_LINE
from protocol.errors import ConfigurationError
from protocol.size import MAX_BODY, at_least, in_words, parse_size, too_long
from protocol.values import dumps
from tests.protocol.test_values import PLAIN


@given(PLAIN)
def test_no_text_is_shorter_than_what_is_counted(value: Any) -> None:
    assert at_least(value) <= len(dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1000,
        ["x" * 100] * 10,
        ["x" * 100, 1] * 10,
        [[["x" * 1000]]],
        {"a": {"b": ("x" * 500, ["x" * 500])}},
        {"k" * 1000: None},
        OrderedDict({str(n): n for n in range(300)}),
        list(range(1000)),
        [[]] * 1000,
        [None] * 500,
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_counted_is_not_far_from_the_text(value: Any) -> None:
    """So that what is hopeless is found before it is written."""
    assert len(dumps(value)) / 3 <= at_least(value) <= len(dumps(value))


def test_counting_ends_when_it_is_enough_whatever_a_value_holds_a_million_times() -> None:
    inner: list[Any] = ["x"] * 1000
    for _ in range(30):
        inner = [inner] * 1000
    assert MAX_BODY < at_least(inner) < 1.1 * MAX_BODY
    cycle: list[Any] = []
    cycle.append(cycle)
    assert at_least(cycle, 1000) > 1000


def test_a_value_that_changes_meanwhile_is_left_to_who_writes_it() -> None:
    class Changing(dict[str, Any]):
        def values(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    assert at_least([Changing(a=1)]) == 0


def test_the_words_say_how_long_how_long_it_may_be_and_what_to_do() -> None:
    said = too_long("the result of m.t", 300_000_000, is_least=True)
    assert said.startswith("the result of m.t: at least 286.1 MiB as JSON")
    assert "no more than 16 MiB" in said
    assert "send its path or URL" in said
    assert [in_words(size) for size in (0, 1234, MAX_BODY)] == [
        "0 bytes",
        "1,234 bytes",
        "16.0 MiB",
    ]


def test_a_body_of_any_peer_fits_into_a_line_of_the_journal() -> None:
    """Written anew, a character of two bytes takes six: three times as much, and the line's own."""
    assert 3 * MAX_BODY + 65_536 < MAX_LINE


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (123, 123),
        (2.0, 2),
        ("123", 123),
        ("4 GiB", 4 * 1024**3),
        ("4Gi", 4 * 1024**3),
        ("4 gib", 4 * 1024**3),
        ("4G", 4 * 10**9),
        ("4 GB", 4 * 10**9),
        ("1.5 kB", 1500),
        ("0.3 B", 1),
        ("1.000000001 GB", 1_000_000_001),
        ("9007199254740993", 9007199254740993),
        ("1 PiB", 1024**5),
        (" 7 MiB ", 7 * 1024**2),
    ],
)
def test_a_size_is_read_as_people_write_it(written: Any, size: int) -> None:
    assert parse_size("here", written) == size


@pytest.mark.parametrize(
    "written",
    ["", "GiB", "-1", "1 i", "1 iB", "four GiB", "1e3", "1,5 GB", -1, 1.5, True, None, [], "٣ GB",
     float("inf"), float("nan")],
)  # fmt: skip
def test_what_is_no_size_is_refused_where_it_was_given(written: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"here: .* is no size"):
        parse_size("here", written)


def test_gibibytes_are_told_as_such() -> None:
    assert in_words(2 * 1024**3) == "2.0 GiB"
