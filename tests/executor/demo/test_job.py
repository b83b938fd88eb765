"""The demo itself, on the embedded broker, with real worker processes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from executor.demo import job


@pytest.fixture
def small_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty files instead of seven hundred."""
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(30):
        source = "def f(a):\n" + "    a = a or 1\n" * number + "    return a\n"
        (folder / f"file{number:02}.py").write_text(source, encoding="utf-8")
    files = sorted(str(path) for path in folder.iterdir())
    monkeypatch.setattr(job, "source_files", lambda: list(files))
    return folder


def test_two_workers_survey_everything_and_one_file_fails(
    small_library: Path, local_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it should; the exception that comes back is the SyntaxError that was raised there."""
    assert job.run(f"local://{local_path}", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["failed"]) == (30, 1)
    assert told["complexity"] == 30 * 2 + sum(range(30))
    assert sum(told["tasks_per_worker"].values()) == 30
    (failure,) = told["failures"]
    assert Path(failure["path"]).name == "broken.py"
    assert failure["type"] == "SyntaxError"
    assert "survey.py" in failure["traceback"]
    assert not Path(failure["path"]).exists()


def test_another_failure_is_a_failed_demo(
    small_library: Path, local_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and both are shown."""
    (small_library / "file07.py").write_text("def (", encoding="utf-8")
    assert job.run(f"local://{local_path}") == 1
    out = capsys.readouterr().out
    assert "broken.py failed" in out
    assert "file07.py failed" in out
    assert "31 of 31 files" in out


def test_what_a_user_copies_is_short_and_uses_what_is_public() -> None:
    """Forty lines or so, and of ours only ``Executor``."""
    source = inspect.getsource(job)
    assert len(source.splitlines()) <= 45
    imported = [line for line in source.splitlines() if line.startswith("from executor")]
    assert imported[0] == "from executor import Executor"
    assert all(line.startswith("from executor.demo.") for line in imported[1:])
