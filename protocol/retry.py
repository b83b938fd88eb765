"""When a task that failed is run again: ``Retry(max=5, backoff=2.0, on=(ConnectionError,))``.

Decided here: what a policy may be, which ends of a run it covers, and how long is waited before the
next run. Not decided here: that a retry is a new round, and when one is opened (``executor``).
Pure: a wait is drawn from the request's uuid, which is random, and the number of the retry, so that
two requests which failed together do not come back together, and whoever asks again is told the
same.

What a policy covers is what a *run* came to. The task's own exception is matched by the names of
its classes, as its worker tells them, so nobody has to import them here. A run that was ended at
its ``time_limit``, or because it took too much memory, is covered where ``on`` names
``TimeLimitExceeded``, or ``MemoryLimitExceeded``, and else is the end. What no policy covers: a
worker that was lost and a run that ended its process, which are sent again without one, within
bounds of their own; a start in time; a cancel. And what would be refused again (``SubmitRefused``:
arguments that do not fit, a result that cannot travel), unless ``on`` names it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from protocol import errors
from protocol.errors import ConfigurationError, UnnameableTask
from protocol.importable import importable_name
from protocol.values import Json, is_number

#: Most retries of a request: their causes are kept, in memory and in the journal.
MAX_RETRIES: Final = 100
#: Longest wait that doubling comes to, in seconds; a longer ``backoff`` is its own bound.
MAX_BACKOFF: Final = 600.0
#: Longest ``backoff``, in seconds: thirty days.
LONGEST: Final = 2_592_000.0

#: The names by which a worker tells of a run that was ended at its time limit, or at what it may
#: take of memory.
TIME_LIMIT_NAMES: Final = (
    "protocol.errors.TimeLimitExceeded",
    "protocol.errors.RequestEnded",
    "protocol.errors.TasklineError",
)
MEMORY_LIMIT_NAMES: Final = ("protocol.errors.MemoryLimitExceeded", *TIME_LIMIT_NAMES[1:])

_ROOTS: Final = frozenset({"Exception", "BaseException"})
#: What comes to the same however often it is run.
_FOR_GOOD: Final = frozenset({"protocol.errors.SubmitRefused"})
#: Ends that are no run's: what handles them instead, for the error of whoever names one.
_NO_RUNS: Final = {
    "WorkerLost": "what a lost worker had is sent again without a policy, until WorkerLost",
    "PoisonTask": "a run that ends its process is run again without a policy, until PoisonTask",
    "ResultLost": "a lost result is run again without a policy; ResultLost is for at_most_once",
    "RequestTimeout": "nothing has run by then; give it a longer timeout",
    "TaskCancelled": "who cancels means it",
}


@dataclass(frozen=True, slots=True)
class Retry:
    """A policy. Raises ``ConfigurationError`` for one that cannot be."""

    #: Retries after the first run: a task is run ``max`` + 1 times at most.
    max: int = 3
    #: Seconds before the first retry; twice as long before each further one, up to ten minutes.
    backoff: float = 1.0
    #: Each wait is longer by a random part of itself, up to this one: 0 to 1.
    jitter: float = 0.5
    #: Exceptions that are worth another run: classes, or their names, with the module that defines
    #: them (``requests.exceptions.Timeout``). Kept as names. A subclass counts as its class.
    on: Sequence[type[BaseException] | str] = (Exception,)

    def __post_init__(self) -> None:
        if type(self.max) is not int or not 1 <= self.max <= MAX_RETRIES:
            raise ConfigurationError(
                f"Retry(max={self.max!r}): how often it is run again, 1 to {MAX_RETRIES}; to run "
                "it only once say retries=0"
            )
        if not is_number(self.backoff) or not 0 <= self.backoff <= LONGEST:
            raise ConfigurationError(
                f"Retry(backoff={self.backoff!r}): seconds before the first retry, from 0 to "
                f"{LONGEST:.0f} (thirty days)"
            )
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ConfigurationError(
                f"Retry(jitter={self.jitter!r}): the part by which a wait is made longer at "
                "random, from 0 (never) to 1 (up to twice as long)"
            )
        if not isinstance(self.on, (tuple, list)) or not self.on:
            raise ConfigurationError(
                f"Retry(on={self.on!r}): a tuple of exception classes or of their names, such as "
                "(ConnectionError, 'requests.exceptions.Timeout')"
            )
        object.__setattr__(self, "on", tuple(map(_name_of, self.on)))

    def covers(self, names: Sequence[str]) -> bool:
        """Whether a run that failed with a class of these names, its own first, is run again."""
        named = set(self.on).intersection(names)
        if named <= _ROOTS and not _FOR_GOOD.isdisjoint(names):
            return False
        return bool(named)

    def wait(self, uuid: str, number: int) -> float:
        """Seconds before retry ``number``, from 1, of this request."""
        longest = max(MAX_BACKOFF, self.backoff)
        doubled = self.backoff * 2.0 ** min(number - 1, 64)
        return min(doubled, longest) * (1.0 + self.jitter * _drawn(uuid, number))

    def to_json(self) -> dict[str, Json]:
        """As it stands in the journal."""
        return {
            "max": self.max,
            "backoff": self.backoff,
            "jitter": self.jitter,
            "on": [str(name) for name in self.on],
        }


def parse_retries(where: str, retries: object) -> Retry | None:
    """The policy that is meant: one, or how many retries with all else as usual; None for 0.

    ``where`` it was given, for the error. Raises ``ConfigurationError`` for anything else.
    """
    if retries is None or isinstance(retries, Retry):
        return retries
    if type(retries) is int and 0 <= retries <= MAX_RETRIES:
        return Retry(max=retries) if retries else None
    raise ConfigurationError(
        f"{where}: retries={retries!r}: how often a failed run is repeated, 0 to {MAX_RETRIES}, or "
        "Retry(max=5, backoff=2.0, on=(ConnectionError,))"
    )


def from_json(written: Json) -> Retry | None:
    """What the journal says; None for what a later version may have written."""
    if not isinstance(written, Mapping):
        return None
    given: dict[str, Any] = {
        name: written[name] for name in ("max", "backoff", "jitter", "on") if name in written
    }
    try:
        return Retry(**given)
    except ConfigurationError:
        return None


def _name_of(kind: object) -> str:
    """As a worker tells it: builtins bare, others with their module."""
    if isinstance(kind, str) and kind and kind.isprintable():
        name = kind.removeprefix("builtins.")
    elif isinstance(kind, type) and issubclass(kind, BaseException):
        module = kind.__module__
        if module == "__main__":
            module = _main()
        name = kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"
    else:
        raise ConfigurationError(
            f"Retry(on=…): {kind!r} is neither an exception class nor the name of one"
        )
    last = name.rpartition(".")[2]
    if last in _NO_RUNS and name in (last, f"{errors.__name__}.{last}"):
        raise ConfigurationError(f"Retry(on=…{last}…) would cover nothing: {_NO_RUNS[last]}")
    return name


def _main() -> str:
    """What a worker calls the module that runs here as ``__main__``."""
    try:
        return importable_name(vars(sys.modules["__main__"]))
    except (UnnameableTask, KeyError):
        return "__main__"


def _drawn(uuid: str, number: int) -> float:
    """From 0 to 1, as if by chance."""
    drawn = hashlib.blake2b(f"{uuid} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64
