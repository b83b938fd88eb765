"""The suite for batch systems of others: what it needs, and that it finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from executor.batch import JobUpdate, LocalBatchSystem
from executor.batch.testing import MACHINE, BatchSystemSuite
from tests.processes import PROJECT


def test_it_loads_no_test_framework() -> None:
    program = "import sys, executor.batch.testing; print('pytest' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout == "False\n"


class _Forgetful(LocalBatchSystem):
    """It hands each update out twice."""

    _again: JobUpdate | None = None

    def next_update(self, timeout: float) -> JobUpdate | None:
        again, self._again = self._again, None
        if again is not None:
            return again
        self._again = super().next_update(timeout)
        return self._again


class _Late(LocalBatchSystem):
    """It takes what it kills out of no list."""

    def kill(self, job_ids: Any) -> None:
        if self._is_shut:
            super().kill(job_ids)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (_Forgetful, "test_each_job_is_told_once_with_its_status_and_how_long_it_ran"),
        (_Late, "test_a_killed_job_is_in_no_list_and_no_update_and_nothing_of_it_runs"),
    ],
)
def test_a_batch_system_that_breaks_its_word_does_not_pass(
    kind: type[LocalBatchSystem], test: str
) -> None:
    class Suite(BatchSystemSuite):
        def make(self, folder: Path) -> LocalBatchSystem:
            return kind(maximum=MACHINE, logs=folder / "logs", slots=4)

    suite = Suite()
    suite.setup_method()
    try:
        with pytest.raises(AssertionError):
            getattr(suite, test)()
    finally:
        suite.teardown_method()
