"""What programs that a worker starts have of its environment: all but what configures workers.

``TASKLINE_…`` may hold a password. Any thread.
"""

from __future__ import annotations

import os


def inherited() -> dict[str, str]:
    """The environment of this process, without that."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TASKLINE_")}
