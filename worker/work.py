"""What the shift hands to a pool, and what a pool reports back: plain frozen values.

A pool runs works and knows nothing of messages, tickets or peers; the shift decides and knows
nothing of processes. These few values are all they say to each other. A report is made on a
thread of the pool and handled on the keeper's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from protocol.failure import FailureDict
from protocol.messages import Action
from protocol.values import Json

#: How a run came to its end: ``done`` (returned or raised), ``stopped`` (ended as asked), ``limit``
#: (of time, or of memory: its failure says which) or ``crash`` (its process ended under it). The
#: words of the wire header.
End = Literal["done", "stopped", "limit", "crash"]


@dataclass(frozen=True, slots=True)
class Work:
    """One task to run, once."""

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
    args: list[Json] = field(default_factory=list)
    #: Keyword arguments.
    arguments: dict[str, Json] = field(default_factory=dict)
    #: For ``revert`` only: ``["success", value]`` or ``["failure", failure dict]``; None otherwise.
    result: list[Json] | None = None
    #: For ``revert`` only: ``{task name: failure dict}``; None otherwise.
    failures: dict[str, FailureDict] | None = None
    #: The attempt's number, the fencing token a task may pass to its own stores.
    attempt: int = 1
    #: Seconds after which the run is ended, ``limit``; None: it may run for ever.
    time_limit: float | None = None
    #: Seconds after which ``SoftTimeLimitExceeded`` is raised in the task.
    soft_time_limit: float | None = None
    #: Bytes that its processes may take together, after which the run is ended, ``limit``.
    memory_limit: int | None = None


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
class Started:
    """The task's own code is about to run."""

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
    result: Json = None
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


Report = Started | TaskEvent | Ended | Offers | PoolEnded


class Pool(Protocol):
    """Runs works. The suite in ``tests/conformance/test_pools.py`` is the contract in full.

    A pool that can stop keeps the limits of a work; time counts from its hand-over to an idle
    process.
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

    def run(self, work: Work) -> None:
        """Run one work. Keeper only; never blocks; only while fewer than ``slots`` are open."""

    def offer(self, spec: str) -> None:
        """Offer ``MODULE`` or ``MODULE:NAME`` too; answered by an :class:`Offers` report."""

    def end(self, key: int) -> None:
        """End this run's process; reported as ``Ended(end="stopped")``. Unknown keys are ignored.

        A pool that cannot end a single task (threads) leaves it running and reports nothing.
        """

    def stop(self, timeout: float = 5.0) -> None:
        """End everything, within ``timeout`` seconds. May be called twice, from any thread."""
