"""What the protocol wrote once it need not write again: walks say the same few things for ever.

Writing a body is pure. Within :func:`remembering` the body of a message that is equal to one that
was written before is that one; whatever is not hashable (it carries the values of a task) is always
written anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from protocol import messages
from protocol.messages import Message, Request, Response

_written: Final = messages.encode
_remembered: Final = lru_cache(maxsize=1 << 14)(_written)


def _encode(message: Message) -> bytes:
    if isinstance(message, (Request, Response)):
        return _written(message)
    return _remembered(message)


@contextmanager
def remembering() -> Iterator[None]:
    """Within it nothing is written twice."""
    messages.encode = _encode
    try:
        yield
    finally:
        messages.encode = _written
