"""A folder of a process' own: it goes with it, also when that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from executor.batch.folder import OwnFolder

HOLDER = """
import sys
from executor.batch.folder import OwnFolder
print(OwnFolder().path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def holder(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process that has one, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_there_until_it_is_removed_and_twice_is_fine(temporary: Path) -> None:
    folder = OwnFolder()
    (folder.path / "inside").mkdir()
    folder.remove()
    folder.remove()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_has_left_goes_when_the_next_is_made(temporary: Path) -> None:
    process, left = holder(temporary)
    assert left.is_dir()
    process.kill()
    process.communicate()
    mine = OwnFolder()
    assert list(temporary.iterdir()) == [mine.path]
    mine.remove()


def test_what_a_living_process_has_stays(temporary: Path) -> None:
    process, its = holder(temporary)
    first, second = OwnFolder(), OwnFolder()
    assert set(temporary.iterdir()) == {its, first.path, second.path}
    first.remove()
    second.remove()
    process.kill()
    process.communicate()


def test_what_is_none_of_ours_stays_whatever_it_is_called(temporary: Path) -> None:
    strange = temporary / "taskline-batch-something"
    strange.mkdir()
    link = temporary / "taskline-batch-link"
    link.symlink_to(strange)
    OwnFolder().remove()
    assert set(temporary.iterdir()) == {strange, link}
