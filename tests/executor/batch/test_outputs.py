"""What the files of jobs are called, and that a pattern finds them all."""

from __future__ import annotations

from glob import glob
from pathlib import Path

import pytest

from executor.batch.outputs import Outputs, default_folder
from protocol.errors import ConfigurationError


def test_names_say_the_workflow_the_job_the_life_and_the_stream(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, "sort", "ab12")
    assert outputs.path(7, "stdout") == f"{tmp_path}/taskline_sort.7.ab12.out.log"
    assert outputs.path(7, "stderr") == f"{tmp_path}/taskline_sort.7.ab12.err.log"


def test_a_pattern_finds_the_files_of_one_job_in_all_lives(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    lives = [Outputs(folder, "sort", token) for token in ("one", "two")]
    for life in lives:
        for job_id in (1, 11):
            for stream in ("stdout", "stderr"):
                Path(life.path(job_id, stream)).touch()
    Path(Outputs(folder, "sort2", "one").path(1, "stdout")).touch()
    found = glob(lives[0].pattern(1))  # noqa: PTH207 - what is tested is the pattern
    assert sorted(found) == sorted(
        life.path(1, stream) for life in lives for stream in ("stdout", "stderr")
    )


def test_a_folder_is_named_in_full() -> None:
    assert Outputs("logs", "w", "t").folder == Path.cwd() / "logs"
    assert Outputs(None, "w", "t").folder == default_folder()


def test_a_workflow_and_a_stream_have_to_be_ones() -> None:
    with pytest.raises(ConfigurationError, match="workflow"):
        Outputs(None, "a/b", "t")
    with pytest.raises(ConfigurationError, match="stdin"):
        Outputs(None, "w", "t").path(1, "stdin")
