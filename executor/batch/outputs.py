"""The files that jobs write to: what they are called, and where.

``taskline_WORKFLOW.JOB.TOKEN.STREAM.log``: which workflow, the job's id, which life of its leader,
and ``out`` or ``err``; so that all files of one job are found by a pattern, and those of a leader
that was started again are none of an earlier one's. (Toil names its own the same way:
``toil_WORKFLOW.JOB.ID.STREAM.log``.) Pure.
"""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path
from typing import Final

from protocol.errors import ConfigurationError
from protocol.topology import check_name

#: The stream's word in a file's name, by what it is called here.
STREAMS: Final = {"stdout": "out", "stderr": "err"}


class Outputs:
    """The files of one batch system's jobs. ``folder``: where, on the workers' machines."""

    def __init__(self, folder: str | os.PathLike[str] | None, workflow: str, token: str) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        if not self.folder.is_absolute():
            self.folder = Path.cwd() / self.folder
        self._workflow = check_name("workflow", workflow)
        self._token = token

    def path(self, job_id: int, stream: str) -> str:
        """The file of this stream, ``stdout`` or ``stderr``."""
        if stream not in STREAMS:
            raise ConfigurationError(f"stream={stream!r}: choose from {list(STREAMS)}")
        name = f"taskline_{self._workflow}.{job_id}.{self._token}.{STREAMS[stream]}.log"
        return str(self.folder / name)

    def pattern(self, job_id: int) -> str:
        """What the files of this job match, of any life of the leader, for ``glob``."""
        name = f"taskline_{glob.escape(self._workflow)}.{job_id}.*.log"
        return os.path.join(glob.escape(str(self.folder)), name)  # noqa: PTH118 - a pattern


def default_folder() -> Path:
    """Where they are if nothing is said: a folder of this user's among the temporary files."""
    return Path(tempfile.gettempdir()) / f"taskline-{os.getuid()}" / "batch-logs"
