from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks import process
from benchmarks.process import Meter, Spent, Usage

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def test_a_name_with_spaces_and_brackets_hides_nothing() -> None:
    fields = ["S", "7", *["0"] * 9, "10", "20", "30", "40", *["0"] * 6, "123", "0"]
    found = process.parse(f"42 (a) b ( c) {' '.join(fields)}")
    assert found == Usage(parent=7, cpu=100 * TICK, memory_bytes=123 * PAGE)


def test_those_below_are_found_at_any_depth_and_no_others() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    table = {pid: Usage(parent, 0.0, 0) for pid, parent in parents.items()}
    assert process.below([10], table) == {10, 11, 12}
    assert process.below([10, 11, 21, 99], table) == {10, 11, 12, 21}


def test_a_busy_worker_is_counted_as_a_worker_and_not_as_the_submitter() -> None:
    """It is its child that is busy, once it is told to."""
    busy = (
        "import time; input()\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True); input()"
    )
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    worker = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        meter = Meter((worker.pid,), ())
        mine = time.process_time()
        before = meter.cpu()
        worker.stdin.write(b"\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == b"1\n"
        spent = meter.cpu().since(before)
        mine = time.process_time() - mine
        assert meter.memory().workers > 1_000_000
    finally:
        worker.communicate(b"\n", timeout=30)
    assert spent.workers >= 0.2
    assert spent.submitter <= mine + 3 * TICK
    assert spent.broker == 0.0


def test_what_was_spent_is_a_difference() -> None:
    assert Spent(3.0, 5.0, 7.0).since(Spent(1.0, 1.0, 2.0)) == Spent(2.0, 4.0, 5.0)
