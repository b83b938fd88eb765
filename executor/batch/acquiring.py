"""Resources that threads of one process share: an amount, or a set of distinct things.

What is not free is never granted. Who waits is served in the order of the calls, so that a large
request is not overtaken for ever by small ones; while somebody waits, ``acquire_now`` grants
nothing. A wait ends after its ``timeout``, however much is given back meanwhile. (Toil's classes of
these names document the same; theirs grant sets that are not free, and may wait longer.)

Any thread. One condition guards what is free and who waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from protocol.errors import AcquisitionTimeout, ConfigurationError, InsufficientSystemResources

TIMEOUT = 5.0  # seconds

T = TypeVar("T", bound=Hashable)


class _Line:
    """Who waits, in order."""

    def __init__(self, kind: str, timeout: float) -> None:
        if not timeout >= 0:
            raise ConfigurationError(f"timeout={timeout!r}: seconds, 0 or more")
        self.kind = kind
        self.timeout = timeout
        #: Guards all that is here, and what is free; notified when that changes.
        self.changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def try_now(self, take: Callable[[], bool]) -> bool:
        """Take it if nobody waits and it is there."""
        with self.changed:
            return not self._waiting and take()

    def wait(self, take: Callable[[], bool], timeout: float | None) -> bool:
        """Take it when it is our turn and it is there; False after the time for that."""
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        me = object()
        with self.changed:
            self._waiting.append(me)
            try:
                while not (self._waiting[0] is me and take()):
                    left = until - time.monotonic()
                    if left <= 0:
                        return False
                    self.changed.wait(min(left, threading.TIMEOUT_MAX))
                return True
            finally:
                self._waiting.remove(me)
                self.changed.notify_all()  # whose turn it is now


class ResourcePool:
    """An amount of something, such as bytes of memory: whole numbers.

    ``kind``: what it is, for errors. ``timeout``: seconds that :meth:`acquire` waits, usually.
    """

    def __init__(self, initial_value: int, kind: str, timeout: float = TIMEOUT) -> None:
        self._total = self._free = _amount(initial_value, kind)
        self._line = _Line(kind, timeout)

    @property
    def free(self) -> int:
        """How much is free at this moment."""
        return self._free

    def acquire_now(self, amount: int) -> bool:
        """Take so much if it is free and nobody waits; whether it was."""
        wanted = _amount(amount, self._line.kind)
        return self._line.try_now(lambda: self._take(wanted))

    def acquire(self, amount: int, timeout: float | None = None) -> None:
        """Take so much when it is free and it is our turn.

        Raises ``AcquisitionTimeout`` after ``timeout`` seconds, and at once
        ``InsufficientSystemResources`` for more than there is in all.
        """
        wanted = _amount(amount, self._line.kind)
        if wanted > self._total:
            raise InsufficientSystemResources(
                f"acquiring {wanted} of {self._line.kind}: there are {self._total} in all; ask for "
                "less",
                resource=self._line.kind,
                requested=wanted,
                available=self._total,
                hint="ask for less",
            )
        if not self._line.wait(lambda: self._take(wanted), timeout):
            free = self._free
            raise AcquisitionTimeout(
                f"acquiring {wanted} of {self._line.kind}: in "
                f"{self._line.timeout if timeout is None else timeout:g} s no more than {free} of "
                f"{self._total} was free when it was our turn; release some, or wait longer",
                resource=self._line.kind,
                requested=wanted,
                available=free,
            )

    def release(self, amount: int) -> None:
        """Give so much back. Raises ``ConfigurationError`` for more than is taken."""
        given = _amount(amount, self._line.kind)
        with self._line.changed:
            if self._free + given > self._total:
                raise ConfigurationError(
                    f"releasing {given} of {self._line.kind}: only {self._total - self._free} are "
                    "taken"
                )
            self._free += given
            self._line.changed.notify_all()

    @contextmanager
    def acquisition_of(self, amount: int, timeout: float | None = None) -> Iterator[None]:
        """Have so much for the length of the block."""
        self.acquire(amount, timeout)
        try:
            yield
        finally:
            self.release(amount)

    def _take(self, amount: int) -> bool:
        if amount > self._free:
            return False
        self._free -= amount
        return True

    def __repr__(self) -> str:
        return f"ResourcePool({self._free} of {self._total} {self._line.kind})"


class ResourceSet(Generic[T]):
    """Distinct things, such as accelerators by their numbers. Else as :class:`ResourcePool`."""

    def __init__(self, initial_value: Iterable[T], kind: str, timeout: float = TIMEOUT) -> None:
        self._all = frozenset(initial_value)
        self._free = set(self._all)
        self._line = _Line(kind, timeout)

    @property
    def free(self) -> frozenset[T]:
        """What is free at this moment."""
        with self._line.changed:
            return frozenset(self._free)

    def acquire_now(self, subset: Iterable[T]) -> bool:
        """Take all of these if each is free and nobody waits; whether that was so."""
        wanted = frozenset(subset)
        return self._line.try_now(lambda: self._take(wanted))

    def acquire(self, subset: Iterable[T], timeout: float | None = None) -> None:
        """Take all of these when each is free and it is our turn; errors as in the pool."""
        wanted = frozenset(subset)
        kind = self._line.kind
        if strange := wanted - self._all:
            raise InsufficientSystemResources(
                f"acquiring {_shown(wanted)} of {kind}: there is no {_shown(strange)} here",
                resource=kind,
                requested=len(wanted),
                available=len(self._all),
                hint="ask for what there is",
            )
        if not self._line.wait(lambda: self._take(wanted), timeout):
            free = self.free
            raise AcquisitionTimeout(
                f"acquiring {_shown(wanted)} of {kind}: in "
                f"{self._line.timeout if timeout is None else timeout:g} s they were not free "
                f"together when it was our turn, only {_shown(free)} were; release some, or wait "
                "longer",
                resource=kind,
                requested=set(wanted),
                available=set(free),
            )

    def release(self, subset: Iterable[T]) -> None:
        """Give these back. Raises ``ConfigurationError`` for one that is not taken."""
        given = frozenset(subset)
        with self._line.changed:
            if wrong := given - (self._all - self._free):
                raise ConfigurationError(
                    f"releasing {_shown(given)} of {self._line.kind}: {_shown(wrong)} is not taken"
                )
            self._free |= given
            self._line.changed.notify_all()

    @contextmanager
    def acquisition_of(self, subset: Iterable[T], timeout: float | None = None) -> Iterator[None]:
        """Have all of these for the length of the block."""
        wanted = frozenset(subset)
        self.acquire(wanted, timeout)
        try:
            yield
        finally:
            self.release(wanted)

    def _take(self, subset: frozenset[T]) -> bool:
        if not subset <= self._free:
            return False
        self._free -= subset
        return True

    def __repr__(self) -> str:
        return f"ResourceSet({_shown(self.free)} of {_shown(self._all)} {self._line.kind})"


def _amount(amount: object, kind: str) -> int:
    if type(amount) is not int or amount < 0:
        raise ConfigurationError(f"{amount!r} of {kind}: a whole number, 0 or more")
    return amount


def _shown(things: Iterable[object]) -> str:
    return "{" + ", ".join(sorted(map(repr, things))) + "}"
