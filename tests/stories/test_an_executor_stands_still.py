"""An executor whose process is stopped for longer than a lease gives nothing up for it."""

from __future__ import annotations

import time

import pytest

from bus.wire.testing import Freezer
from protocol.timing import lease
from tests.processes import DEADLINE, wait_until
from tests.stories.stage import BEAT, Stage

EACH = 4  # requests of each kind

PROGRAM = """
    import sys
    import chores
    from executor import Executor

    with EXECUTOR as executor:
        executor.wait_for_workers(2, 30)
        futures = [executor.submit(chores.chore, f"chore{n}", sys.argv[1]) for n in range(4)]
        futures += [executor.submit(chores.payment, f"payment{n}", sys.argv[1]) for n in range(4)]
        print(sorted(future.result(60) for future in futures))
"""


@pytest.mark.slow
def test_what_its_workers_say_meanwhile_is_heard_before_anything_is_concluded(
    wide_stage: Stage,
) -> None:
    """Before: its own timers came first, and found that everybody had been silent for so long.

    What may be started once was lost then, for good, and the rest was started a second time.
    """
    stage = wide_stage
    names = [f"{kind}{n}" for kind in ("chore", "payment") for n in range(EACH)]
    with stage.worker(concurrency=EACH), stage.worker(concurrency=EACH):
        with stage.program(PROGRAM, str(stage.gate())) as program:
            stage.wait_for(*names)
            with Freezer(program.pid):
                frozen = time.monotonic()
                wait_until(lambda: time.monotonic() > frozen + 3 * lease(BEAT), "three leases")
            stage.gate().touch()
            assert program.exit_code(DEADLINE) == 0
            assert program.said.strip() == repr(names)
        assert stage.marks() == dict.fromkeys(names, 1)
