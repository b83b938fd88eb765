"""``Cell``: one thing that can be measured. Which cells there are is decided in ``programme``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure of one peer, and how large."""

    measure: str
    broker: str
    peer: str
    setting: str
    #: Worker commands that are started; each may run several processes or threads.
    workers: int = 1
    #: Requests that are open at once.
    outstanding: int = 1000
    #: Bytes of text that travel both ways; 0: a small number.
    payload_bytes: int = 0

    @property
    def name(self) -> str:
        """A file name, without its ending."""
        return (
            f"{self.measure}.{self.broker}.{self.peer}.{self.setting}"
            f".w{self.workers}.o{self.outstanding}.p{self.payload_bytes}"
        )

    @property
    def rivals(self) -> tuple[str, str, int, int, int]:
        """The same for all that are compared with each other."""
        return self.measure, self.broker, self.workers, self.outstanding, self.payload_bytes
