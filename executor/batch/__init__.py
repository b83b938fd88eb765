"""Batch systems: commands are issued, run somewhere, and each is told once when it has ended.

``system`` is the interface, ``job`` what is given to it and what comes back; ``remote`` runs jobs
on workers that were started with ``python -m worker worker.command``, on any broker, ``local`` on
one that it starts itself, which is the same in all else. ``outputs`` has the names of the files
they write, ``outcome`` what an end is called, ``register`` what is remembered of jobs over the
leader's own end; ``acquiring`` are resources that threads of one process share. ``testing`` is the
suite that every implementation passes, those of others as well.
"""

from executor.batch.acquiring import ResourcePool, ResourceSet
from executor.batch.job import EXIT_STATUS_UNAVAILABLE, ExitReason, Job, JobUpdate
from executor.batch.local import LocalBatchSystem
from executor.batch.remote import RemoteBatchSystem
from executor.batch.system import BatchSystem

__all__ = [
    "BatchSystem",
    "EXIT_STATUS_UNAVAILABLE",
    "ExitReason",
    "Job",
    "JobUpdate",
    "LocalBatchSystem",
    "RemoteBatchSystem",
    "ResourcePool",
    "ResourceSet",
]
