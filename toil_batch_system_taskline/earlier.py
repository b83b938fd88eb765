"""What an earlier life of a leader has left running, on workers that outlive it.

A leader that is killed leaves its jobs to their workers. ``--restart`` issues again whatever had
not come to its end, and Toil's jobs must not run twice at once: both would write to one job store.
So the batch system keeps a journal beside Toil's own files for this workflow on this machine, and
a leader that finds one ends what is in it before it issues anything. When it is shut down there is
nothing left to be found. Restarted on another machine, or after these files are gone, it finds
none; what was running there runs on.

The leader's thread only.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from toil.common import Config, Toil

from executor.batch import RemoteBatchSystem

logger = logging.getLogger("taskline.toil")


class EarlierLife:
    """Of the leader of this workflow."""

    def __init__(self, config: Config) -> None:
        # Not in the workflow's own folder: Toil's clean-up of this machine removes that one.
        base = Toil.get_toil_coordination_dir(config.workDir, config.coordination_dir)
        name = Toil.get_workflow_path_component(str(config.workflowID))
        self._folder = Path(base, f"taskline-{name}")
        #: For the batch system.
        self.journal = self._folder / "leader.journal"

    def end(self, jobs: RemoteBatchSystem) -> None:
        """End what it has left; when this returns nothing of that runs."""
        left = jobs.issued()
        if left:
            logger.warning("the leader was killed with %d jobs; they are ended first", len(left))
            jobs.kill(left)

    def forget(self) -> None:
        """Nothing of this life is left."""
        shutil.rmtree(self._folder, ignore_errors=True)
