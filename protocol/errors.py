"""Every error a user of Taskline can meet, in one tree.

The tree is split by whose doing it was, because that decides what to do next::

    TasklineError
    ├── ConfigurationError     we were set up wrongly: change a URL, option or name   (ValueError)
    ├── SubmitRefused          the call cannot travel: nothing was sent, change it    (TypeError)
    │   ├── UnnameableTask     a lambda, closure or method: give it a name to import it by
    │   ├── ValueRefused       an argument or a result that JSON cannot carry (``.path``)
    │   └── SignatureMismatch  the arguments do not fit the function's signature
    ├── ExecutorClosed         submitted after ``shutdown()``                         (RuntimeError)
    ├── TasksUnloadable        a worker was told to offer something it cannot import
    ├── PeerError              a peer sent what the protocol does not allow
    │   ├── MessageRefused     not a message of ours (``.reason`` is the counter's name)
    │   └── IllegalTransition  a message that no request in its state can take
    ├── BrokerError            the broker, or the way to it
    │   └── BrokerUnavailable  not reachable within the deadline: worth trying again
    ├── RequestTimeout         a request ran out before any worker started it         (TimeoutError)
    ├── WaitTimeout            one of our own blocking calls ran out                  (TimeoutError)
    ├── WorkerLost             the workers that held a request fell silent, too often
    └── TaskFailed             the task raised what cannot be raised here as itself (``.remote``)

An error carries its subject as attributes, and its message says what was being done, with what,
what was found and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.failure import RemoteError

__all__ = [
    "BrokerError",
    "BrokerUnavailable",
    "ConfigurationError",
    "ExecutorClosed",
    "IllegalTransition",
    "MessageRefused",
    "PeerError",
    "RequestTimeout",
    "SignatureMismatch",
    "SubmitRefused",
    "TaskFailed",
    "TasklineError",
    "TasksUnloadable",
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
    """A value that may not travel: not JSON, not finite, too deep, or a key that is no string."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        #: Where it was found, e.g. ``argument 'images'[3].size``; empty for text that is no JSON.
        self.path = path


class SignatureMismatch(SubmitRefused):
    """The arguments do not fit the function's signature, as ``inspect.Signature.bind`` sees it."""


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


class WorkerLost(TasklineError):
    """Each worker that took the request fell silent before it answered."""

    def __init__(self, message: str, *, request_uuid: str = "") -> None:
        super().__init__(message)
        #: The uuid of the request, which is its correlation id on the wire.
        self.request_uuid = request_uuid


class TaskFailed(TasklineError):
    """The task raised something that is not, or may not be, raised here as itself."""

    def __init__(self, message: str, *, remote: RemoteError | None = None) -> None:
        super().__init__(message)
        #: What the worker told of it: worker, type names, text, traceback, causes.
        self.remote = remote
