"""Where works run: in processes of their own (the default), or in threads of this one.

The contract is :class:`worker.work.Pool`; here only the choice is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.errors import ConfigurationError
from worker.pool.processes import ProcessesPool
from worker.pool.threads import ThreadsPool
from worker.work import Pool

__all__ = ["KINDS", "ProcessesPool", "ThreadsPool", "make_pool"]

#: The kinds of pool by name, the default first.
KINDS: Final[dict[str, type[ProcessesPool | ThreadsPool]]] = {
    "processes": ProcessesPool,
    "threads": ThreadsPool,
}


def make_pool(kind: str, specs: Sequence[str], slots: int, preload: Sequence[str] = ()) -> Pool:
    """A pool of this kind, not started. Raises ``ConfigurationError`` for a kind there is not.

    ``preload``: for commands, modules; with processes only.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"pool {kind!r} is not known; choose one of {', '.join(KINDS)}")
    if preload and kind != "processes":
        raise ConfigurationError(
            f"preload={list(preload)} with pool={kind!r}: only a process can import for another"
        )
    return ProcessesPool(specs, slots, preload=preload) if preload else KINDS[kind](specs, slots)
