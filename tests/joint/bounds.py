"""The shift's stores made small, so that walks fill them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from worker import known, outbox, tombstones

_TIGHT: Final[tuple[tuple[ModuleType, str, int], ...]] = (
    (outbox, "MAX_RESULTS", 1),
    (known, "MAX_DROPPED", 2),
    (known, "MAX_TICKETS", 2),
    (tombstones, "MAX_GAPS", 2),
    (tombstones, "MAX_INCARNATIONS", 2),
)


@contextmanager
def bounded(is_tight: bool) -> Iterator[None]:
    """Within it, if ``is_tight``, a worker keeps next to nothing."""
    before = [getattr(module, name) for module, name, _ in _TIGHT]
    try:
        if is_tight:
            for module, name, bound in _TIGHT:
                setattr(module, name, bound)
        yield
    finally:
        for (module, name, _), bound in zip(_TIGHT, before, strict=True):
            setattr(module, name, bound)
