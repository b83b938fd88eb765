"""Where an executor submits to and what it reads: its topics, and its queues.

Pure; called when an executor is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import ConfigurationError
from protocol.topology import DIALECTS, Dialect, Names, Queue, check_name


def check_topics(
    topics: Sequence[str], dialects: Sequence[Dialect], workers: int
) -> tuple[str, ...]:
    """Those of the user's, if an executor can submit to them. Raises ``ConfigurationError``."""
    if not dialects or set(dialects) - set(DIALECTS):
        raise ConfigurationError(f"dialects {list(dialects)!r}: choose from {list(DIALECTS)}")
    found = tuple(check_name("topic", topic) for topic in topics)
    if not found and not workers:
        raise ConfigurationError("an executor needs a topic to submit to, or private workers")
    if workers and "native" not in dialects:
        raise ConfigurationError(
            f"workers={workers} starts workers of ours, whom dialects={list(dialects)!r} does "
            "not speak to: add 'native'"
        )
    return found


def topics_of(topics: tuple[str, ...], identity: str, workers: int) -> tuple[str, ...]:
    """All of them, that of private workers first. Raises ``ConfigurationError``.

    Of an identity that is a name alone, one may be called the same.
    """
    found = (f"private.{identity}", *topics) if workers else topics
    if identity in found:
        raise ConfigurationError(
            f"executor name {identity!r} is one of its topics: both name a queue; take another"
        )
    return found


def queues_of(
    dialects: Sequence[Dialect], exchange: str, identity: str
) -> tuple[list[Queue], list[Queue]]:
    """What to consume: where answers come, and where workers say that they are there.

    The latter nobody needs after a clean end; the former too, unless something is open.
    """
    replies: list[Queue] = []
    hellos: list[Queue] = []
    for dialect in dialects:
        names = Names(dialect, exchange)
        replies.append(names.replies(identity))
        if names.is_native:
            hellos.append(names.hello_queue(identity))
    return replies, hellos
