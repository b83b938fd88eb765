"""What the ledger wants done: small frozen values, performed by the keeper. Pure data.

Of all effects of one turn the keeper writes the journal's lines first, then sends, then ends
futures; among each of these the order is the ledger's.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import ExecutorSuperseded
from protocol.events import Dispatched, Event
from protocol.messages import UPDATE_PROGRESS
from protocol.parcel import Parcel
from protocol.values import Json


@dataclass(frozen=True, slots=True)
class Record:
    """This is so from now on: a line of the journal, before anything below is done."""

    event: Event


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a message: a question, a receipt, a cancel, or a request again."""

    parcel: Parcel


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send a request under a new attempt, after its line in the journal.

    On the first attempt only if its future has not been cancelled meanwhile; else neither line nor
    message, and the ledger is told (``withdrawn``).
    """

    uuid: str
    attempt: int
    parcel: Parcel
    event: Dispatched


@dataclass(frozen=True, slots=True)
class Begin:
    """Its worker says it runs: from now on its future cannot be cancelled without force.

    If it has been cancelled just before, the ledger is told (``cancelled``).
    """

    uuid: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Its run has failed and another follows: its future waits again, and can be cancelled."""

    uuid: str


@dataclass(frozen=True, slots=True)
class Value:
    """The outcome of a request whose task returned this."""

    value: Json


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a request whose task failed, as its worker told it."""

    #: taskflow's failure dict, or whatever the peer sent in its place.
    failure: Json
    #: The worker's name, if known.
    worker: str | None


@dataclass(frozen=True, slots=True)
class Error:
    """The outcome of a request that came to nothing: an error of ours says why."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The outcome of a request whose caller cancelled it, and knows."""


Outcome = Value | Failed | Error | Withdrawn


@dataclass(frozen=True, slots=True)
class Resolve:
    """The request is over: the journal's ENDED line, then its future.

    The keeper asks the future first: one that was cancelled meanwhile stays so, and so does the
    line say.
    """

    uuid: str
    outcome: Outcome
    #: The worker's name, if a worker ended it.
    worker: str | None = None
    #: It is kept in the journal until somebody sees to it.
    is_dead: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """The running task said something."""

    uuid: str
    event_type: str
    details: dict[str, Json]

    @property
    def progress(self) -> tuple[float, dict[str, Json]] | None:
        """How far it is, 0.0 to 1.0, and what else it said; None if that is not what it said."""
        fraction = self.details.get("progress")
        if self.event_type != UPDATE_PROGRESS or not isinstance(fraction, (int, float)):
            return None
        rest = {name: value for name, value in self.details.items() if name != "progress"}
        return float(min(1.0, max(0.0, fraction))), rest  # an int may be too large for a float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Workers have come or gone: this many processes are known now."""

    workers: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """A worker serves a newer incarnation of us: whatever is open, nobody does it for us."""

    error: ExecutorSuperseded


Effect = Record | Publish | Dispatch | Begin | Rest | Resolve | Tell | Crowd | Superseded
