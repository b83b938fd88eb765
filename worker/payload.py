"""Whether a value fits into an answer, and the text of it.

A result or the details of a task event travel inside a RESPONSE body, whose own levels count
against ``protocol.values.MAX_DEPTH``. Refusing here, on the task's own thread, makes that the
task's FAILURE and keeps an answer from being impossible to write later. Called by ``context`` and
``runner``.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import ValueRefused
from protocol.values import MAX_DEPTH, Json, dumps, loads

#: Levels around a result or details in a RESPONSE body: ``{"data": {"result": …}}``.
ANSWER_LEVELS: Final = 2


def write(value: Json, what: str) -> str:
    """The JSON text of ``value``; raises ``ValueRefused`` naming the path below ``what``."""
    text = dumps(value, what)
    if text.count("[") + text.count("{") > MAX_DEPTH - ANSWER_LEVELS:
        try:
            loads("[" * ANSWER_LEVELS + text + "]" * ANSWER_LEVELS)
        except ValueRefused:
            deepest = MAX_DEPTH - ANSWER_LEVELS
            raise ValueRefused(
                f"{what}: nested more than {deepest} levels deep, which no answer has room for; "
                "flatten it",
                what,
            ) from None
    return text
