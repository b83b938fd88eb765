"""``Client``: what a play does with a peer, the same for all of them."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any


class Client(abc.ABC):
    """The submitting side of a peer. One thread, the play's.

    ``submit`` returns a handle for each value, in order, whatever the peer's own is. ``gather``
    returns the results of handles, in their order, and raises ``TimeoutError`` if they have not all
    come within ``timeout`` seconds. Each peer does both in the quickest way that it documents.
    """

    @abc.abstractmethod
    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        """Ask for ``task`` (of ``tasks.TASKS``) to be run on each value."""

    @abc.abstractmethod
    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        """Wait for all of them."""

    def call(self, task: str, value: Any, timeout: float) -> Any:
        """One task, and its result."""
        return self.gather(self.submit(task, [value]), timeout)[0]

    @abc.abstractmethod
    def close(self) -> None:
        """Leave."""
