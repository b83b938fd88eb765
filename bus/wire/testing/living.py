"""``Living``: what everything here that is started and stopped is, in a ``with`` block."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own is 3.11


class Living(abc.ABC):
    """Lives from ``start`` to ``stop``, or for the length of a block."""

    @abc.abstractmethod
    def start(self) -> None:
        """Begin to live."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Be gone, with all that was started. May be called twice."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
