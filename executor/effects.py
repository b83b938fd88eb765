"""What the ledger wants done: small frozen values, performed in order by the keeper.

Pure data: deciding is the ledger's, doing the keeper's.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.parcel import Parcel
from protocol.values import Json


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a message that belongs to no request: a question."""

    parcel: Parcel


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send a request. On the first attempt only if its future has not been cancelled meanwhile."""

    uuid: str
    attempt: int
    parcel: Parcel


@dataclass(frozen=True, slots=True)
class Succeed:
    """The request ended with a value."""

    uuid: str
    value: Json


@dataclass(frozen=True, slots=True)
class Fail:
    """The request ended with the task's failure, as its worker told it."""

    uuid: str
    #: taskflow's failure dict, or whatever the peer sent in its place.
    failure: Json
    #: The worker's name, if known.
    worker: str | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The request ended without an answer: an error of ours says what was done and found."""

    uuid: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Tell:
    """The running task said something."""

    uuid: str
    event_type: str
    details: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Workers have come or gone: this many processes are known now."""

    workers: int


Effect = Publish | Dispatch | Succeed | Fail | GiveUp | Tell | Crowd
