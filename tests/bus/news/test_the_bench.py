"""``python -m benchmarks.news`` runs, and measures what is aimed at."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.processes import PROJECT


def test_a_small_run_measures_everything() -> None:
    command = ["-m", "benchmarks.news", "--count", "200", "--rounds", "1", "--json"]
    done = subprocess.run(
        [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["targets"]) <= set(found["seconds"])
    for each in found["seconds"].values():
        assert each["bus.news.toil"]["cpu"] > 0
        assert each["bus.news"]["wall"] > 0
