"""The guard itself: a task does not come to cost a quarter more calls without anybody's saying so.

In a process of its own, in which nothing runs but what is counted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

#: The benchmarks are found in the checkout, all else where it is found here.
PROGRAM = """
import sys
sys.path[:0] = {path!r}
sys.path.append({root!r})
from benchmarks.calls.__main__ import main
sys.exit(main(["--check"]))
"""


def test_no_path_costs_a_quarter_more_calls_than_are_known(tmp_path: Path) -> None:
    path = [entry for entry in sys.path if entry]
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=path, root=str(ROOT))],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
