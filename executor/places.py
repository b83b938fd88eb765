"""Where an executor submits to and what it reads: its topics, and its queues.

Pure; called when an executor is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import ConfigurationError
from protocol.topology import DIALECTS, Dialect, Names, Queue, check_name


def topics_of(
    topics: Sequence[str], name: str, dialects: Sequence[Dialect], workers: int
) -> tuple[str, ...]:
    """All of them, that of private workers first. Raises ``ConfigurationError``."""
    if not dialects or set(dialects) - set(DIALECTS):
        raise ConfigurationError(f"dialects {list(dialects)!r}: choose from {list(DIALECTS)}")
    found = tuple(check_name("topic", topic) for topic in topics)
    if workers:
        found = (f"private.{name}", *found)
    if name in found:
        raise ConfigurationError(
            f"executor name {name!r} is one of its topics: both name a queue; take another"
        )
    if not found:
        raise ConfigurationError("an executor needs a topic to submit to, or private workers")
    if workers and "native" not in dialects:
        raise ConfigurationError(
            f"workers={workers} starts workers of ours, whom dialects={list(dialects)!r} does "
            "not speak to: add 'native'"
        )
    return found


def queues_of(
    dialects: Sequence[Dialect], exchange: str, name: str, *, keeps_replies: bool
) -> tuple[list[Queue], list[Queue]]:
    """What to consume, and what of it nobody needs after a clean end."""
    queues: list[Queue] = []
    passing: list[Queue] = []
    for dialect in dialects:
        names = Names(dialect, exchange)
        replies = names.replies(name)
        queues.append(replies)
        if not keeps_replies:
            passing.append(replies)
        if names.is_native:
            hello = names.hello_queue(name)
            queues.append(hello)
            passing.append(hello)
    return queues, passing
