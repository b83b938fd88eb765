"""What real fleets run when the model is checked."""

from __future__ import annotations

import time


def nap(seconds: float) -> float:
    """A task that takes so long, and nothing of the machine."""
    time.sleep(seconds)
    return seconds
