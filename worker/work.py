"""What the shift hands to a pool, and what a pool reports back: plain frozen values.

A pool runs works and knows nothing of messages, tickets or peers; the shift decides and knows
nothing of processes. These few values are all they say to each other. A report is made on a
thread of the pool and handled on the keeper's.

A pool is handed more than it can run at once, so that quick tasks follow each other without
waiting for anybody. What it has been handed *begins* at some moment; until then it can be taken
back. Of each work it reports either that it was returned, and then it has not begun and never
will, or its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from protocol.failure import FailureDict
from protocol.messages import Action
from protocol.values import Json

#: How a run came to its end: ``done`` (returned or raised), ``stopped`` (ended as asked), ``limit``
#: (of time, or of memory: its failure says which) or ``crash`` (its process ended under it). The
#: words of the wire header.
End = Literal["done", "stopped", "limit", "crash"]


#: Arguments of what has none; nobody changes those of a work.
_NONE: Final[Mapping[str, Json]] = {}


class Work(NamedTuple):
    """One task to run, once. A tuple, because nothing of so many fields is made as fast."""

    #: The shift's own number for this run, unique in this worker process.
    key: int
    #: The uuid of the request, for logs and for the task's own context.
    uuid: str
    #: The wire name of the task, one that an :class:`Offer` named.
    task: str
    #: What the caller calls this use of the task (taskflow: the atom's name); else the wire name.
    name: str
    action: Action
    #: Positional arguments.
    args: Sequence[Json] = ()
    #: Keyword arguments.
    arguments: Mapping[str, Json] = _NONE
    #: For ``revert`` only: ``["success", value]`` or ``["failure", failure dict]``; None otherwise.
    result: Sequence[Json] | None = None
    #: For ``revert`` only: ``{task name: failure dict}``; None otherwise.
    failures: Mapping[str, FailureDict] | None = None
    #: The attempt's number, the fencing token a task may pass to its own stores.
    attempt: int = 1
    #: Seconds after which the run is ended, ``limit``; None: it may run for ever.
    time_limit: float | None = None
    #: Seconds after which ``SoftTimeLimitExceeded`` is raised in the task.
    soft_time_limit: float | None = None
    #: Bytes that its processes may take together, after which the run is ended, ``limit``.
    memory_limit: int | None = None
    #: It does not begin once the worker's clock (``worker.clock``) reads this, in milliseconds;
    #: None: there is no such time.
    start_by: int | None = None
    #: The numbers of the accelerators that are its own while it runs, by kind, each from 0.
    devices: Mapping[str, list[int]] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One task that can be run here."""

    name: str
    version: tuple[int, ...] = (1, 0)
    #: The first line of its docstring, or empty.
    doc: str = ""
    #: What ``@task`` says of its limits, in seconds; a request's own go first.
    time_limit: float | None = None
    soft_time_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A result as its JSON text, checked where the task ran (``payload.write``): it is not read
    here, nor written again.
    """

    text: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """Its run has begun: it comes to an end, and is not returned.

    Reported within milliseconds, before all else about it; of a run that has come to its end by
    then, that end says as much, and there may be no such report.
    """

    key: int


@dataclass(frozen=True, slots=True)
class Returned:
    """It has not begun, and never will: it was asked for, or is too late."""

    key: int


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """The running task said something: progress, or an event of its own."""

    key: int
    event_type: str
    details: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over. ``failure`` counts if it is not None, ``result`` otherwise."""

    key: int
    result: Json | Encoded = None
    failure: FailureDict | None = None
    end: End = "done"


@dataclass(frozen=True, slots=True)
class Offers:
    """The whole list of what can be run here, after something was added to it."""

    tasks: tuple[Offer, ...]
    #: One sentence for each thing that could not be offered.
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolEnded:
    """The pool has ended by a fault of ours and runs nothing more: the last thing it reports."""

    #: One sentence that says what happened.
    reason: str


def limits_not_kept(offers: Iterable[Offer]) -> str | None:
    """What to tell of tasks with limits on offer in a pool that cannot stop one; None: no such."""
    names = [o.name for o in offers if o.time_limit is not None or o.soft_time_limit is not None]
    if not names:
        return None
    have = "has a time limit" if len(names) == 1 else "have time limits"
    return (
        f"{', '.join(names)} {have}, which threads cannot keep: requests are refused; offer "
        "what has limits in a worker with --pool processes"
    )


Report = Started | Returned | TaskEvent | Ended | Offers | PoolEnded


class Pool(Protocol):
    """Runs works. The suite in ``tests/conformance/test_pools.py`` is the contract in full.

    A pool that can stop keeps the limits of a work; time counts from when it begins.
    If one ends by a fault of its own, each open work is reported as ``Ended(end="crash")``, and
    :class:`PoolEnded` after them.
    """

    kind: Literal["processes", "threads"]
    #: How many works run at once.
    slots: int
    #: Whether it can end a task that runs, and so keep its limits.
    can_stop: bool

    def start(self, report: Callable[[list[Report]], None]) -> tuple[Offer, ...]:
        """Import the tasks and be ready to run; returns what is offered.

        Raises ``TasksUnloadable`` with the import's own traceback. ``report`` is called from a
        thread of the pool, with the reports in the order they came about.
        """

    def run(self, *works: Work) -> None:
        """Run these, ``slots`` at once, in their order. Keeper only; never blocks."""

    def take_back(self, *keys: int) -> None:
        """Return these, as far as they have not begun. Keeper only; never blocks.

        Each is answered by :class:`Returned`, or by what has been or will be reported of its run:
        soon, whatever runs. Unknown keys are ignored.
        """

    def offer(self, spec: str) -> None:
        """Offer ``MODULE`` or ``MODULE:NAME`` too; answered by an :class:`Offers` report."""

    def end(self, key: int) -> None:
        """End this run's process; reported as ``Ended(end="stopped")``. Unknown keys are ignored.

        What has not begun ends without having run. A pool that cannot end a single task (threads)
        leaves what runs and reports nothing.
        """

    def stop(self, timeout: float = 5.0) -> None:
        """End everything, within ``timeout`` seconds. May be called twice, from any thread."""
