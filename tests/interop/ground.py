"""Where the two projects meet: one broker, and an exchange there that nobody else uses.

Decided here: how a broker is spelled for taskflow and for us. Whether it is there, and how it is
left, is ``tests.brokers``'; who meets there is ``peers``' and ``engines``'.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from protocol.topology import Dialect
from tests import brokers

#: Seconds between two looks of taskflow's end of a memory broker or a folder; 1.0 if not told.
_POLLING: Final = 0.01

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ground:
    """One broker, one exchange of its own, and the kind of pool our worker there has."""

    #: ``memory``, ``filesystem``, ``redis`` or ``amqp``.
    broker: str
    pool: Literal["threads", "processes"] = "threads"
    exchange: str = field(default_factory=lambda: f"{brokers.PREFIX}interop-{next(_numbers)}")
    topic: str = "t1"

    @property
    def url(self) -> str:
        """The broker as our own worker and executor are told of it."""
        if self.broker == "filesystem":
            return f"filesystem://{self.folder}"
        urls = {"memory": "memory://", "redis": brokers.REDIS_URL, "amqp": brokers.AMQP_URL}
        return urls[self.broker]

    @property
    def folder(self) -> Path:
        """Where all meet, if it is a folder."""
        return Path(_root().name) / self.exchange

    @property
    def in_this_process(self) -> bool:
        """Whether the broker lives in this process, and every peer must live here too."""
        return self.broker == "memory"

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """What an executor of ours can speak there."""
        return ("taskflow",) if self.broker == "filesystem" else ("native", "taskflow")

    def taskflow_options(self) -> dict[str, Any]:
        """The broker as taskflow's engine, worker, executor and proxy are told of it."""
        if self.broker == "filesystem":
            return {
                "transport": "filesystem",
                "transport_options": {
                    "data_folder_in": str(self.folder / "messages"),
                    "data_folder_out": str(self.folder / "messages"),
                    "control_folder": str(self.folder / "control"),
                    "polling_interval": _POLLING,
                },
            }
        if not self.in_this_process:
            return {"url": self.url}
        return {
            "url": self.url,
            "transport": "memory",
            "transport_options": {"polling_interval": _POLLING},
        }

    def demand(self) -> Ground:
        """Itself if its broker answers; otherwise the test that asks is skipped, or fails."""
        if self.broker == "filesystem":  # kombu makes no folder of messages
            (self.folder / "messages").mkdir(parents=True, exist_ok=True)
        elif not self.in_this_process:
            brokers.demand(self.url)
        return self


@functools.cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """Removed when the tests' process ends."""
    return tempfile.TemporaryDirectory(prefix="interop-")
