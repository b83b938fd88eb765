"""``Outcome``: what came of a fleet in the model, or of a real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_BUSY: Final = 0.8  # of a core
_WAIT: Final = 1.0  # seconds that 99 of 100 requests wait at most
_BLIND: Final = 0.01  # of the time


@dataclass(slots=True)
class Outcome:
    """Rates are a second's; shares are of one core, 1.0 is all of it."""

    #: Seconds of the fleet's own time.
    seconds: float = 0.0
    #: Requests that have ended.
    ended: int = 0
    #: Tasks that ended in a second.
    throughput: float = 0.0
    #: Seconds from submission to start: the middle one, and that which 99 of 100 are below.
    wait_p50: float = 0.0
    wait_p99: float = 0.0
    #: Broker messages a second: at each executor, at each worker, at the broker; and its bytes.
    executor_in: float = 0.0
    executor_out: float = 0.0
    worker_in: float = 0.0
    worker_out: float = 0.0
    broker: float = 0.0
    broker_bytes: float = 0.0
    #: Shares of a core that one executor, one worker's main process and the broker use.
    executor_cpu: float = 0.0
    worker_cpu: float = 0.0
    broker_cpu: float = 0.0
    #: What an executor's share goes to.
    parts: dict[str, float] = field(default_factory=dict)
    #: The largest number of beats that waited to be read, and the share of the time in which
    #: nothing could be dispatched because those of a whole round had not been read within a beat.
    beats_behind: int = 0
    blind: float = 0.0
    #: Runs that were lost with their worker, and run again.
    lost: int = 0
    #: Seconds the model took for it.
    took: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it would do: nobody above four fifths of a core, hardly anything waits."""
        busiest = max(self.executor_cpu, self.worker_cpu, self.broker_cpu)
        return busiest <= _BUSY and self.wait_p99 <= _WAIT and self.blind <= _BLIND

    @property
    def bottleneck(self) -> str:
        """Whoever is busiest."""
        shares = {
            "executor": self.executor_cpu,
            "worker": self.worker_cpu,
            "broker": self.broker_cpu,
        }
        return max(shares, key=lambda name: shares[name])
