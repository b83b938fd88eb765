"""``python -m toil_batch_system_taskline.cleanup INFO``: what Toil does on a machine at the end.

Run by the batch system once on each machine where jobs of a workflow ran. ``INFO`` is Toil's own
``WorkerCleanupInfo``, as JSON in base64.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence

from toil.batchSystems.abstractBatchSystem import BatchSystemSupport, WorkerCleanupInfo


def words(info: WorkerCleanupInfo) -> list[str]:
    """What follows the name of the Python interpreter."""
    text = json.dumps(info._asdict()).encode()
    return ["-m", __name__, base64.b64encode(text).decode()]


def main(argv: Sequence[str]) -> None:
    """Clean up."""
    fields = json.loads(base64.b64decode(argv[0]))
    BatchSystemSupport.workerCleanup(WorkerCleanupInfo(**fields))


if __name__ == "__main__":
    main(sys.argv[1:])
