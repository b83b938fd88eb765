"""Where the two projects meet: one broker, and an exchange there that nobody else uses.

Decided here: how a broker is spelled for taskflow and for us. Whether it is there, and how it is
left, is ``tests.brokers``'; who meets there is ``peers``' and ``engines``'.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests import brokers

#: Seconds between two looks of taskflow's end of a memory broker; 1.0 unless it is told.
_POLLING: Final = 0.01

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ground:
    """One broker, one exchange of its own, and the kind of pool our worker there has."""

    #: ``memory``, ``redis`` or ``amqp``.
    broker: str
    pool: Literal["threads", "processes"] = "threads"
    exchange: str = field(default_factory=lambda: f"{brokers.PREFIX}interop-{next(_numbers)}")
    topic: str = "t1"

    @property
    def url(self) -> str:
        """The broker as our own worker and executor are told of it."""
        urls = {"memory": "memory://", "redis": brokers.REDIS_URL, "amqp": brokers.AMQP_URL}
        return urls[self.broker]

    @property
    def in_this_process(self) -> bool:
        """Whether the broker lives in this process, and every peer must live here too."""
        return self.broker == "memory"

    def taskflow_options(self) -> dict[str, Any]:
        """The broker as taskflow's engine, worker, executor and proxy are told of it."""
        if not self.in_this_process:
            return {"url": self.url}
        return {
            "url": self.url,
            "transport": "memory",
            "transport_options": {"polling_interval": _POLLING},
        }

    def demand(self) -> Ground:
        """Itself if its broker answers; otherwise the test that asks is skipped, or fails."""
        if not self.in_this_process:
            brokers.demand(self.url)
        return self
