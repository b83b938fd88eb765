"""Runs tasks on request; what a module of tasks needs is here.

``task``, ``Retry``, ``Requirements``, ``progress``, ``task_event``, ``accelerators`` and
``SoftTimeLimitExceeded`` (to catch) are for code that workers run; importing them costs next to
nothing and loads neither kombu nor a broker, futurist or a thread. ``Worker``, for use inside one
process, is loaded when it is asked for. ``python -m worker TASKS…`` starts a worker of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from protocol.errors import SoftTimeLimitExceeded
from protocol.resources import Requirements
from protocol.retry import Retry
from protocol.task import task
from worker.context import accelerators, progress, task_event

if TYPE_CHECKING:
    from worker.service import Worker

__all__ = [
    "Requirements",
    "Retry",
    "SoftTimeLimitExceeded",
    "Worker",
    "accelerators",
    "progress",
    "task",
    "task_event",
]

#: What is loaded only when somebody asks for it, and from where.
_LAZY = {"Worker": "worker.service"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
