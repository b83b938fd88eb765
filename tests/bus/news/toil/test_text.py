"""One message as Toil writes it."""

from __future__ import annotations

import math
from enum import Enum, IntEnum
from typing import Any, NamedTuple, Optional

import pytest
from hypothesis import given, settings

from bus.news.toil import (
    JobAnnotationMessage,
    JobCompletedMessage,
    JobIssuedMessage,
    QueueSizeMessage,
    bytes_to_message,
    message_to_bytes,
)
from bus.news.toil.messages import topic_of
from bus.news.toil.text import lines_of, template_of
from tests.bus.news.toil.samples import any_message, line_of


class Reason(IntEnum):
    MEMLIMIT = 6


class Colour(str, Enum):
    RED = "red\n"


class Everything(NamedTuple):
    text: str
    number: int
    fraction: float
    is_so: bool


class Perhaps(NamedTuple):
    number: Optional[int]  # noqa: UP045 - both ways of saying it
    text: str | None
    is_so: bool | None


class Nothing(NamedTuple):
    pass


class Odd(NamedTuple):
    things: list[str]


#: As a real Toil writes them (9.6.0).
WRITTEN: list[tuple[Any, bytes]] = [
    (JobIssuedMessage("align reads", "kind-align/1", 17), b"align reads\tkind-align/1\t17"),
    (JobAnnotationMessage("a\tb", "c\nd", "e\\f\r"), b"a\\tb\tc\\nd\te\\\\f\\r"),
    (JobAnnotationMessage("é", "€", "\U0001f600"), b"\\xe9\t\\u20ac\t\\U0001f600"),
    (JobAnnotationMessage("\x00\x7f", "\ud800", ""), b"\\x00\\x7f\t\\ud800\t"),
    (JobCompletedMessage("", "", Reason.MEMLIMIT), b"\t\t6"),
    (JobCompletedMessage(Colour.RED, "", 0), b"red\\n\t\t0"),
    (Everything("None", -5, 1e-07, False), b"None\t-5\t1e-07\tFalse"),
    (Everything("", 2**70, -math.inf, True), b"\t1180591620717411303424\t-inf\tTrue"),
    (Perhaps(None, None, None), b"None\tNone\tNone"),
    (Nothing(), b""),
]


@pytest.mark.parametrize(("message", "written"), WRITTEN)
def test_each_message_is_written_like_this_and_comes_back(message: Any, written: bytes) -> None:
    assert message_to_bytes(message) == written
    assert bytes_to_message(type(message), written) == message


@given(any_message)
@settings(deadline=None)
def test_any_message_is_one_line_of_ascii_and_comes_back(message: Any) -> None:
    written = message_to_bytes(message)
    assert written.isascii()
    assert b"\n" not in written
    assert b"\r" not in written
    assert bytes_to_message(type(message), written) == message


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"\tNone\tNone\tNone", Everything("", None, None, None)),  # type: ignore[arg-type]
        (b"x\t 7 \t1_0\t0", Everything("x", 7, 10.0, False)),
        ("x\t٧\t1\t".encode(), Everything("x", 7, 1.0, False)),
        ("é€\\n\t1\t1\tyes".encode(), Everything("é€\n", 1, 1.0, True)),
        (b"\xe9\t1\t1\tTrue", Everything("é", 1, 1.0, True)),
    ],
)
def test_what_others_write_is_read_as_far_as_it_can_be(written: bytes, message: Any) -> None:
    assert bytes_to_message(Everything, written) == message


@pytest.mark.parametrize(
    ("kind", "written", "words"),
    [
        (JobIssuedMessage, b"a\tb", r"Cannot parse \('job_type', 'job_id', 'toil_batch_id'\) from"),
        (Nothing, b"a", r"Cannot parse \(\) from b'a'"),
        (QueueSizeMessage, b"1.0", "invalid literal for int"),
        (QueueSizeMessage, b"", "invalid literal for int"),
        (JobAnnotationMessage, b"a\tb\tc\\", "truncated|at end of string"),
        (Odd, b"a", r"Cannot read message argument of type list\[str\]"),
        (int, b"a", "Cannot get field types from <class 'int'>"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_so(
    kind: type, written: bytes, words: str
) -> None:
    with pytest.raises((RuntimeError, ValueError), match=words):
        bytes_to_message(kind, written)


def test_what_cannot_be_written_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"Cannot store message argument of type <class 'list'>"):
        message_to_bytes(Odd(["a"]))


def together(messages: list[Any]) -> bytes | None:
    kinds = set(map(type, messages))
    return lines_of(messages, {kind: template_of(topic_of(kind), kind) for kind in kinds})


@given(any_message, any_message)
@settings(deadline=None)
def test_lines_made_together_are_those_made_one_by_one(first: Any, second: Any) -> None:
    assert together([first, second]) in (None, line_of(first) + line_of(second))


def test_which_lines_are_made_together() -> None:
    plain = JobIssuedMessage("align {reads}", "é"[:0], 17)
    assert together([plain, QueueSizeMessage(1)]) == line_of(plain) + line_of(QueueSizeMessage(1))
    nothing = topic_of(Nothing).encode() + b"\t\n"
    assert together([Nothing(), Nothing()]) == nothing + nothing
    for odd in ("a\tb", "a\nb", "a\\b", "é", "a\x00", Colour.RED):
        assert together([plain, plain._replace(job_id=odd)]) is None
    assert together([JobCompletedMessage("a", "b", Reason.MEMLIMIT)]) is None
