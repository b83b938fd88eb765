"""What a play stands on: brokers, a folder, a peer in one of its settings.

Written by the scheduler, read by the play and by its workers, from the environment: peers' own
command lines leave no room for more.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_VARIABLE: Final = "BENCHMARKS_GROUND"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a play takes place."""

    peer: str
    setting: str
    #: ``redis``, ``amqp``, ``local`` or ``memory``.
    broker: str
    #: Worker commands that are started.
    workers: int
    #: Where tasks travel.
    url: str
    #: A Redis for results, for those who cannot return them over RabbitMQ.
    result_url: str
    #: The play's own, empty at first.
    folder: str
    #: The processes of the brokers: their CPU counts.
    servers: tuple[int, ...] = ()

    def to_environment(self) -> dict[str, str]:
        """What a process that is to find this needs in its environment."""
        return {
            _VARIABLE: json.dumps(dataclasses.asdict(self)),
            "PYTHONPATH": str(ROOT),
        }

    @classmethod
    def from_environment(cls) -> Ground:
        """The one this process was started on. Raises ``KeyError`` if there is none."""
        said = json.loads(os.environ[_VARIABLE])
        return cls(**{**said, "servers": tuple(said["servers"])})
