"""The window of a channel: what its consumers hold, and for how much more there is room.

kombu's QoS for the transports that number deliveries themselves, and the consumer they deliver to.
What becomes of what is acknowledged or given back is each transport's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from kombu.transport import virtual

Callback: TypeAlias = "Callable[[virtual.Message], object]"

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True)
class Reader:
    """A consumer of a channel."""

    tag: str
    queue: str
    no_ack: bool
    callback: Callback


class Window(virtual.QoS, Generic[Held]):
    """By delivery tag what was delivered and is not settled, in the order of delivery."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        # Not stock's: it registers a finalizer, which would keep the channel for ever, and give
        # back at the exit of a forked child what the parent holds.
        self.channel = channel
        self.prefetch_count = prefetch_count or 0
        self._held: dict[int, Held] = {}

    def can_consume(self) -> bool:
        """Whether the window has room."""
        return not self.prefetch_count or len(self._held) < self.prefetch_count

    def can_consume_max_estimate(self) -> int | None:
        """How many messages the window has room for; None without a prefetch count."""
        return max(0, self.prefetch_count - len(self._held)) if self.prefetch_count else None

    def held(self) -> list[int]:
        """The delivery tags held, in the order of delivery."""
        return list(self._held)

    def meant(self, delivery_tag: int, multiple: bool) -> list[int]:
        """The tags an acknowledgement of this one is of: it alone, or all delivered up to it.

        With ``multiple`` none if it is not held (any more).
        """
        if not multiple:
            return [delivery_tag]
        held = self.held()
        return held[: held.index(delivery_tag) + 1] if delivery_tag in held else []

    def restore_unacked_once(self, stderr: object = None) -> None:
        """kombu's name for giving back at the end."""
        self.restore_unacked()
