"""Toil's batch system ``taskline``: ``toil … --batchSystem taskline``.

Toil imports every module whose name begins with ``toil_batch_system_`` whenever it reads its
options; so nothing is done here but to say that there is one, and ``system`` is loaded when used.
"""

from __future__ import annotations

from typing import Any

from toil.batchSystems.registry import add_batch_system_factory

__all__: list[str] = []


def _load() -> type[Any]:
    from toil_batch_system_taskline.system import TasklineBatchSystem  # noqa: PLC0415 - when used

    return TasklineBatchSystem


add_batch_system_factory("taskline", _load)
