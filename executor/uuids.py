"""Uuids of requests, drawn some at a time.

They cannot be guessed: who answers under one is taken to have read the request (``directory``). The
system's random numbers cost a call to the system each time they are asked for, in which any other
thread may go first; so that the thread that submits is not stopped for each request, they are asked
for many uuids at once. A forked child draws its own. Any thread.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from typing import Final

AT_ONCE: Final = 256
_SIZE: Final = 16  # bytes of a uuid

_drawn: deque[bytes] = deque()


def fresh() -> str:
    """A random uuid (RFC 4122, version 4), as text; nobody else gets the same."""
    while True:
        try:
            return str(uuid.UUID(bytes=_drawn.popleft(), version=4))
        except IndexError:
            drawn = os.urandom(AT_ONCE * _SIZE)
            _drawn.extend(drawn[n : n + _SIZE] for n in range(0, len(drawn), _SIZE))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drawn.clear)
