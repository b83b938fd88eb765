"""Whether a value fits into an answer."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import messages
from protocol.errors import ValueRefused
from protocol.messages import Response
from protocol.size import MAX_BODY
from protocol.values import MAX_CONTAINERS, MAX_DEPTH, loads
from worker.payload import ANSWER_LEVELS, MAX_TEXT, write


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_what_is_written_can_be_answered_however_deep_and_long_it_is() -> None:
    deepest = nested(MAX_DEPTH - ANSWER_LEVELS)
    longest = "x" * (MAX_TEXT - 2)
    for value in (None, {"a": [1, 2.5]}, deepest, longest):
        text = write(value, "the result")
        assert loads(text) == value
        assert len(messages.encode(Response.success(value))) <= MAX_BODY
        assert len(messages.encode(Response.event("e" * 200, {"x": 1}))) <= MAX_BODY


def test_what_is_too_deep_or_too_long_for_an_answer_is_refused_by_name() -> None:
    with pytest.raises(ValueRefused, match="the result: nested more than 198 levels"):
        write(nested(MAX_DEPTH - ANSWER_LEVELS + 1), "the result")
    with pytest.raises(ValueRefused, match=r"the result: 16\.0 MiB as JSON"):
        write("é" * (MAX_TEXT // 6 + 1), "the result")
    with pytest.raises(ValueRefused, match=r"the result: at least 95\.4 MiB as JSON"):
        write(["x" * 100_000_000], "the result")


def test_a_result_of_too_many_lists_is_refused_in_the_task() -> None:
    """Two more are around it in an answer."""
    with pytest.raises(ValueRefused, match=r"result: 999,999 lists and dicts.* 999,998"):
        write([[]] * (MAX_CONTAINERS - ANSWER_LEVELS), "result")
