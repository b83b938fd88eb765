"""Claims on keys in Redis: ``SET name value NX PX lifetime``, and taken back by who made them.

Called by the channel, on its thread. Nothing here needs more of Redis than its plain commands
(``SET``, ``GETRANGE``, ``PTTL``, ``WATCH``, ``DEL``): scripts may be forbidden where it is managed
by others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from redis.exceptions import WatchError

from protocol.claim import MAX_VALUE, Found, Wanted


def claim(client: Any, prefix: str, wanted: Sequence[Wanted]) -> list[Found | None]:
    """What is under each name now: what was wanted, if it was free.

    None for one that was free again a moment later. One round trip; ``prefix`` is put before each
    name. Raises redis-py's errors, and nobody knows then which claims were made.
    """
    found: list[Found | None] = []
    with client.pipeline(transaction=True) as commands:  # so that what is read is what it met
        for name, value, lifetime in wanted:
            commands.set(prefix + name, value, nx=True, px=max(1, math.ceil(lifetime * 1000)))
            commands.getrange(prefix + name, 0, MAX_VALUE - 1)
            commands.pttl(prefix + name)
        answers = commands.execute()
    for place in range(0, len(answers), 3):
        value, left = answers[place + 1], answers[place + 2]
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        found.append(Found(text, None if left < 0 else left / 1000) if text else None)
    return found


def release(client: Any, prefix: str, name: str, value: str) -> None:
    """Delete this claim, if it is still the one."""
    with client.pipeline() as commands:
        commands.watch(prefix + name)
        if commands.get(prefix + name) != value.encode():
            return
        commands.multi()
        commands.delete(prefix + name)
        try:
            commands.execute()
        except WatchError:  # it ended, and is another's now
            return
