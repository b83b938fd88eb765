"""Every error a user of Taskline can meet, in one tree.

The tree is split by whose doing it was, because that decides what to do next::

    TasklineError
    ├── ConfigurationError     we were set up wrongly: change a URL, option or name   (ValueError)
    ├── SubmitRefused          the call cannot travel: nothing was sent, change it    (TypeError)
    │   ├── UnnameableTask     a lambda, closure or method: give it a name to import it by
    │   ├── ValueRefused       an argument or a result that JSON cannot carry (``.path``)
    │   ├── SignatureMismatch  the arguments do not fit the function's signature
    │   └── LimitRefused       a time limit, where no worker could keep it
    ├── ExecutorClosed         submitted after ``shutdown()``                         (RuntimeError)
    ├── ExecutorForked         used in a forked child of the process that made it     (RuntimeError)
    ├── ExecutorSuperseded     a newer one with a copy of its journal is served      (RuntimeError)
    ├── ExecutorFull           more requests are open than an executor holds: wait for some
    ├── InsufficientSystemResources  no machine is large enough for it (``.resource``)
    ├── KeyTaken               another request has the key of this one (``.request_uuid``)
    ├── TasksUnloadable        a worker was told to offer something it cannot import
    ├── PeerError              a peer sent what the protocol does not allow
    │   ├── MessageRefused     not a message of ours (``.reason`` is the counter's name)
    │   └── IllegalTransition  a message that no request in its state can take
    ├── BrokerError            the broker, or the way to it
    │   ├── BrokerUnavailable  not reachable within the deadline: worth trying again
    │   └── MessageUndeliverable  it refuses a request or a result, and will again
    ├── RequestTimeout         a request ran out before any worker started it         (TimeoutError)
    ├── WaitTimeout            one of our own blocking calls ran out                  (TimeoutError)
    │   └── AcquisitionTimeout a resource was not free in time (``.requested``)
    ├── JournalError           the journal cannot be written or read
    │   └── JournalLocked      another process writes it (``.holder``)
    ├── BusError               a bus inside this process was used as it cannot be     (RuntimeError)
    ├── UnknownRequest         no request of this uuid is known                       (LookupError)
    ├── CannotStop             a running task whose worker cannot end it
    ├── RequestEnded           a request that came to its end without a result
    │   ├── TaskCancelled      it ran and was ended, as ``cancel(force=True)`` asked
    │   ├── TimeLimitExceeded  it ran longer than its ``time_limit`` and was ended
    │   ├── MemoryLimitExceeded  it took more memory than it had asked for, and was ended
    │   ├── WorkerLost         the workers that held it fell silent, too often
    │   ├── ResultLost         it ran to its end, and its result was thrown away at a bound
    │   └── PoisonTask         it ended the process that ran it, every time
    ├── SoftTimeLimitExceeded  raised in a task that runs longer than its ``soft_time_limit``
    └── TaskFailed             the task raised what cannot be raised here as itself (``.remote``)

An error carries its subject as attributes, and its message says what was being done, with what,
what was found and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.failure import RemoteError

__all__ = [
    "AcquisitionTimeout",
    "BrokerError",
    "BrokerUnavailable",
    "BusError",
    "CannotStop",
    "ConfigurationError",
    "ExecutorClosed",
    "ExecutorForked",
    "ExecutorFull",
    "ExecutorSuperseded",
    "IllegalTransition",
    "InsufficientSystemResources",
    "JournalError",
    "JournalLocked",
    "KeyTaken",
    "LimitRefused",
    "MemoryLimitExceeded",
    "MessageRefused",
    "MessageUndeliverable",
    "PeerError",
    "PoisonTask",
    "RequestEnded",
    "RequestTimeout",
    "ResultLost",
    "SignatureMismatch",
    "SoftTimeLimitExceeded",
    "SubmitRefused",
    "TaskCancelled",
    "TaskFailed",
    "TasklineError",
    "TasksUnloadable",
    "TimeLimitExceeded",
    "UnknownRequest",
    "UnnameableTask",
    "ValueRefused",
    "WaitTimeout",
    "WorkerLost",
]


class TasklineError(Exception):
    """The root: ``except TasklineError`` catches whatever is ours and nothing else."""


class ConfigurationError(TasklineError, ValueError):
    """A URL, option or name we cannot work with; raised before anything is connected."""


class SubmitRefused(TasklineError, TypeError):
    """The call cannot be made remotely. Raised in the caller by ``submit``; nothing was sent."""


class UnnameableTask(SubmitRefused):
    """Functions travel by name, and this one has none that a worker could import."""


class ValueRefused(SubmitRefused):
    """A value that may not travel: not JSON, not finite, too deep, too long, a key of no string."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        #: Where it was found, e.g. ``argument 'images'[3].size``; empty for text that is no JSON.
        self.path = path


class SignatureMismatch(SubmitRefused):
    """The arguments do not fit the function's signature, as ``inspect.Signature.bind`` sees it."""


class LimitRefused(SubmitRefused):
    """A time limit was asked for, and no worker that offers the task can end one that runs."""


class ExecutorForked(TasklineError, RuntimeError):
    """An executor does not go along into a forked child: make one there."""


class ExecutorSuperseded(TasklineError, RuntimeError):
    """Workers serve a newer executor of the same identity: two run with copies of one journal.

    Nothing of this one's journal is lost: opened again, it is the newest.
    """


class ExecutorFull(TasklineError):
    """More requests are open than an executor holds; nothing was submitted."""


class InsufficientSystemResources(TasklineError):
    """More of something was asked for than any machine has; it would wait for ever."""

    def __init__(
        self,
        message: str,
        *,
        resource: str = "",
        requested: float = 0.0,
        available: float | None = None,
        source: str = "",
        hint: str = "",
        request_uuid: str = "",
    ) -> None:
        super().__init__(message)
        #: ``cores``, ``memory``, ``disk``, ``preemptible``, or the kind of an accelerator.
        self.resource = resource
        #: How much of it was asked for, and the most that somebody has; memory and disk in bytes.
        #: None: nobody announces any.
        self.requested = requested
        self.available = available
        #: Whose that is: a worker, or the setting that bounds it.
        self.source = source
        #: What to do.
        self.hint = hint
        #: The request, if one was submitted.
        self.request_uuid = request_uuid


class KeyTaken(TasklineError):
    """The key stands for another request already, which cannot be joined; nothing was submitted.

    Of the same executor with ``on_conflict="reject"``; of another one with ``unique_for``.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        request_uuid: str = "",
        task: str = "",
        state: str = "",
        executor: str = "",
        until: float | None = None,
    ) -> None:
        super().__init__(message)
        self.key = key
        #: The request that has it, and its task.
        self.request_uuid = request_uuid
        self.task = task
        #: ``WAITING`` (not known to run), ``RUNNING``, ``SUCCESS`` or ``FAILURE``; empty where
        #: that is known to another executor only.
        self.state = state
        #: The executor that submitted it.
        self.executor = executor
        #: When its claim at the broker ends, in seconds since 1970 by this machine's clock; None
        #: if it was not that which stood in the way.
        self.until = until


class JournalError(TasklineError):
    """The journal cannot be written or read; what was asked for was not done."""


class JournalLocked(JournalError):
    """Another process writes this journal."""

    def __init__(self, message: str, *, holder: str = "") -> None:
        super().__init__(message)
        #: Who: host, pid and executor as far as they are known.
        self.holder = holder


class BusError(TasklineError, RuntimeError):
    """A bus was read on a thread that does not own it, or by a connection that is closed."""


class UnknownRequest(TasklineError, LookupError):
    """No request of this uuid is known here: not open, and not in the journal."""


class CannotStop(TasklineError):
    """The task runs where it cannot be ended: on threads, or at a taskflow worker."""


class ExecutorClosed(TasklineError, RuntimeError):
    """Submitted to an executor after its ``shutdown()``, as the standard library words it."""


class TasksUnloadable(TasklineError):
    """What a worker was told to offer cannot be imported, or offers nothing."""


class PeerError(TasklineError):
    """A peer sent what the protocol does not allow. Ordinary input: counted, never fatal."""


class MessageRefused(PeerError):
    """A delivery that is not a message of the protocol."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        #: A short word from a closed list, the name under which refusals are counted.
        self.reason = reason
        #: What was found, for the log and for the answer.
        self.detail = detail

    def __reduce__(self) -> tuple[type[MessageRefused], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class IllegalTransition(PeerError):
    """A transition the frozen automaton does not have."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"a request in {state} cannot go to {event}")
        #: The state the request is in, and stays in.
        self.state = state
        #: The state that was asked for.
        self.event = event

    def __reduce__(self) -> tuple[type[IllegalTransition], tuple[str, str]]:
        return type(self), (self.state, self.event)


class BrokerError(TasklineError):
    """The broker refused, or the connection to it broke."""


class BrokerUnavailable(BrokerError):
    """The broker could not be reached within the deadline of the call."""


class MessageUndeliverable(BrokerError):
    """The broker does not take a request, or a result, and will not: it is too large for it."""


class RequestTimeout(TasklineError, TimeoutError):
    """A request expired before a worker started it."""

    def __init__(self, message: str, *, request_uuid: str = "", state: str = "") -> None:
        super().__init__(message)
        #: The uuid of the request, which is its correlation id on the wire.
        self.request_uuid = request_uuid
        #: The state it expired in: ``WAITING`` (never sent) or ``PENDING`` (sent, not started).
        self.state = state


class WaitTimeout(TasklineError, TimeoutError):
    """One of our own blocking calls (not a future's) reached its deadline."""


class AcquisitionTimeout(WaitTimeout):
    """So much of a resource was not free in time."""

    def __init__(
        self,
        message: str,
        *,
        resource: str = "",
        requested: object = None,
        available: object = None,
    ) -> None:
        super().__init__(message)
        self.resource = resource
        self.requested = requested
        #: What was free at the end of the wait.
        self.available = available


class RequestEnded(TasklineError):
    """A request came to its end without a result or an exception of the task's own."""

    def __init__(self, message: str, *, request_uuid: str = "") -> None:
        super().__init__(message)
        #: The uuid of the request, which is its correlation id on the wire.
        self.request_uuid = request_uuid


class TaskCancelled(RequestEnded):
    """It ran, and its process was ended because ``cancel(force=True)`` asked for it."""


class TimeLimitExceeded(RequestEnded):
    """It ran for longer than its ``time_limit``, and its process was ended."""


class MemoryLimitExceeded(RequestEnded):
    """Its processes took more memory than it had asked for, and were ended."""


class WorkerLost(RequestEnded):
    """Each worker that took the request fell silent before it answered."""


class ResultLost(RequestEnded):
    """It ran to its end, and the worker threw the result away: it held too many for us."""


class PoisonTask(RequestEnded):
    """Each run of it ended the process it ran in."""


class SoftTimeLimitExceeded(TasklineError):
    """Raised in a task that runs for longer than its ``soft_time_limit``: clean up and end."""


class TaskFailed(TasklineError):
    """The task raised something that is not, or may not be, raised here as itself."""

    def __init__(self, message: str, *, remote: RemoteError | None = None) -> None:
        super().__init__(message)
        #: What the worker told of it: worker, type names, text, traceback, causes.
        self.remote = remote
