"""The worker's clock: one for all processes of a worker, and of its machine.

What a start-by is compared with, here and in the processes that tasks run in. It never goes
backwards and has no known origin. It counts the time a suspended machine sleeps, where there is
such a clock: what was to start before then is late.
"""

from __future__ import annotations

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def clock() -> float:
        """The time, in seconds. Any thread."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
else:
    clock = time.monotonic
