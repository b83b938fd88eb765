"""``LocalBatchSystem``: jobs run on this machine, by a worker that it starts itself.

It is :class:`RemoteBatchSystem` with a private worker on a broker of its own, in a folder that goes
with it (``folder``): the same processes run and end jobs here and elsewhere. When it ends, however
it does, the worker ends with everything its jobs have started.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from executor.batch.folder import OwnFolder
from executor.batch.job import Job
from executor.batch.remote import RemoteBatchSystem, demand
from executor.private import Staff
from protocol.commands import MODULE
from protocol.resources import Requirements, Resources

START_TIMEOUT = 60.0  # seconds for its worker to be there


class LocalBatchSystem(RemoteBatchSystem):
    """Runs jobs on this machine.

    ``maximum``: what they may take together, and none may need more than; None: all there is.
    ``slots``: how many run at once, whatever they need; None: two for each core. ``preload``:
    modules that its worker imports once for all jobs whose command is a console script of one of
    them, or ``python -m`` and its name. Otherwise as :class:`RemoteBatchSystem`. Returns when it
    can run jobs; raises ``WaitTimeout`` if it cannot.
    """

    def __init__(
        self,
        *,
        maximum: Resources | None = None,
        slots: int | None = None,
        workflow: str = "workflow",
        logs: str | os.PathLike[str] | bool | None = None,
        cleanup: Job | None = None,
        contexts: Sequence[str] = (),
        preload: Sequence[str] = (),
    ) -> None:
        self._folder = OwnFolder()
        cores = maximum.cores if maximum is not None else os.cpu_count() or 1
        staff = Staff(
            1,
            concurrency=slots or 2 * max(1, math.ceil(cores)),
            offers=(MODULE,),
            words=(
                *(() if maximum is None else _words(maximum)),
                *(f"--preload={module}" for module in preload),
            ),
        )
        try:
            super().__init__(
                f"local://{self._folder.path}/broker",
                workflow=workflow,
                logs=logs,
                cleanup=cleanup,
                contexts=contexts,
                topics=(),
                staff=staff,
            )
        except BaseException:
            self._folder.remove()
            raise
        try:
            self.wait_for_workers(1, START_TIMEOUT)
            (node,) = self.nodes().values()
            self._name = node.name
        except BaseException:
            self.shutdown()
            raise
        self._here = node.total

    def check(self, needs: Requirements) -> None:
        """Raise ``InsufficientSystemResources`` for more than this machine gives away."""
        demand(self._here, needs, self._name, "ask for less, or use a larger machine")

    def shutdown(self) -> None:
        """End all that runs, and the worker; see the interface."""
        super().shutdown()
        self._folder.remove()


def _words(maximum: Resources) -> tuple[str, ...]:
    accelerators = ",".join(f"{kind}={count}" for kind, count in maximum.accelerators)
    return (
        f"--cores={maximum.cores}",
        f"--memory={maximum.memory}",
        f"--disk={maximum.disk}",
        *([f"--accelerators={accelerators}"] if accelerators else []),
    )
