"""Tasks that have limits by ``@task``, and one that has none. For both kinds of pool."""

from __future__ import annotations

from worker import task


@task(time_limit=60.0, soft_time_limit=50.0)
def both() -> str:
    """Return at once."""
    return "in time"


@task(time_limit=60)
class Hard:
    """A task class with a limit."""

    def execute(self) -> str:
        """Return at once."""
        return "in time"


@task(name="limited.softly", soft_time_limit=50.0)
async def soft() -> str:
    """Return at once."""
    return "in time"


def free() -> str:
    """Return at once."""
    return "at leisure"
