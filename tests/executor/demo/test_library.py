"""Which files are surveyed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from executor.demo.library import LEFT_OUT, broken_file, library_folder, source_files


def test_only_python_files_are_taken_and_some_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "c.txt", "deep/er/d.py", *(f"{no}/e.py" for no in LEFT_OUT)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [str(Path(path).relative_to(tmp_path)) for path in source_files(str(tmp_path))]
    assert found == ["a.py", "b.py", "deep/er/d.py"]


def test_of_a_folder_that_is_not_there_nothing_is_found(tmp_path: Path) -> None:
    assert source_files(str(tmp_path / "nowhere")) == []


def test_the_standard_library_is_that_of_the_real_python() -> None:
    assert Path(library_folder()).is_relative_to(sys.base_prefix)
    found = source_files()
    assert ast.__file__ in found
    assert len(set(found)) == len(found)


def test_the_broken_file_is_broken_and_gone_afterwards() -> None:
    with broken_file() as path:
        text = Path(path).read_text(encoding="utf-8")
        with pytest.raises(SyntaxError):
            ast.parse(text)
    assert not Path(path).parent.exists()
