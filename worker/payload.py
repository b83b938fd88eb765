"""Whether a value fits into an answer, and the text of it.

A result or the details of a task event travel inside a RESPONSE body, whose own levels count
against ``protocol.values.MAX_DEPTH``, and whose own bytes against ``protocol.size.MAX_BODY``.
Refusing here, on the task's own thread, makes that the
task's FAILURE and keeps an answer from being impossible to write later. Called by ``context`` and
``runner``.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import ValueRefused
from protocol.size import MAX_BODY
from protocol.values import MAX_CONTAINERS, MAX_DEPTH, Json, demand_few, dumps, has_few, loads

#: Levels around a result or details in a RESPONSE body: ``{"data": {"result": …}}``.
ANSWER_LEVELS: Final = 2
#: Bytes of the longest text that has room in a RESPONSE body: the rest is for what is around it,
#: the name of an event included.
MAX_TEXT: Final = MAX_BODY - 4096


def write(value: Json, what: str) -> str:
    """The JSON text of ``value``; raises ``ValueRefused`` naming the path below ``what``.

    A value that is too long is refused before its text is made, wherever that can be told then.
    """
    text = dumps(value, what, MAX_TEXT)
    demand_few(text, what, MAX_CONTAINERS - ANSWER_LEVELS)
    if not has_few(text, MAX_DEPTH - ANSWER_LEVELS):
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
