"""A command runs in a copy only where that comes to the same as a process of its own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from worker.preload.recognised import Program, recognised, starts_alike


def found(command: Any, folder: Path, **variables: str) -> Program | None:
    """What is recognised of it, with ``told`` preloaded."""
    return recognised(command, {**os.environ, **variables}, str(folder), ["told"])


def words(program: Program | None) -> list[str]:
    assert program is not None
    return list(program.arguments)


def test_the_console_script_of_a_preloaded_module_is(installed: Path) -> None:
    program = found(["told", "a b", "$c"], installed)
    assert program is not None
    assert (program.kind, program.target) == ("script", str(installed / "bin" / "told"))
    assert (words(program), program.executable) == (["a b", "$c"], sys.executable)


def test_this_python_with_a_preloaded_module_is(installed: Path) -> None:
    program = found([sys.executable, "-m", "told", "-x"], installed)
    assert program is not None
    assert (program.kind, program.target, words(program)) == ("module", "told", ["-x"])


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("told", []),
        ("  told\ta  b ", ["a", "b"]),
        ("told --x=1 file:/a/b kind-a/instance-1 a@b,c%+:", None),
        ("told 'a b' c'd'e ''", ["a b", "cde", ""]),
        ("told '$HOME `x` \"*\"'", ['$HOME `x` "*"']),
        ("told A=1", ["A=1"]),
    ],
)
def test_a_text_that_a_shell_only_takes_apart_is(
    text: str, arguments: list[str] | None, installed: Path
) -> None:
    wanted = text.split()[1:] if arguments is None else arguments
    assert words(found(text, installed)) == wanted


def test_variables_before_the_program_are_set_for_it(installed: Path) -> None:
    program = found("A=1 B='2 3' A=4 told A=5", installed)
    assert program is not None
    assert (program.environment["A"], program.environment["B"]) == ("4", "2 3")
    assert words(program) == ["A=5"]


def test_a_shell_says_where_it_is(installed: Path) -> None:
    here = str(installed)
    for text, before, after in (("told", "/elsewhere", here), ("told", here, here)):
        program = found(text, installed, PWD=before)
        assert program is not None
        assert program.environment["PWD"] == after
    program = found(["told"], installed, PWD="/elsewhere")
    assert program is not None
    assert program.environment["PWD"] == "/elsewhere"


@pytest.mark.parametrize(
    "text",
    [
        "told $HOME",
        "told; told",
        "told & told",
        "told | cat",
        "told > file",
        "told `x`",
        'told "a"',
        "told a*",
        "told a?",
        "told [a]",
        "told {a,b}",
        "told ~",
        "told a\\ b",
        "told # a",
        "told !",
        "told (",
        "told 'a",
        "told\ntold",
        "told a'b'\"c\"",
        "A=~ told",
        "A=$B told",
        "exec told",
        "time told",
        "A=1",
        "",
    ],
)
def test_a_text_that_a_shell_makes_more_of_is_not(text: str, installed: Path) -> None:
    assert found(text, installed) is None


@pytest.mark.parametrize(
    "command",
    [
        ["no-such-program"],
        ["sh", "-c", "told"],
        [sys.executable],
        [sys.executable, "-m", "json.tool"],
        [sys.executable, "-I", "-m", "told"],
        [sys.executable, "told.py"],
        [sys.executable, "-c", "import told"],
        ["./told"],
        ["bin/told"],
    ],
)
def test_other_programs_are_not(command: list[str], installed: Path) -> None:
    assert found(command, installed) is None


@pytest.mark.parametrize(
    "first_line",
    ["#!/bin/sh", "#!{python} -I", "#!{other}", "# no script", "#!", "#!/usr/bin/env -S {python}"],
)
def test_a_script_of_another_interpreter_is_not(first_line: str, installed: Path) -> None:
    """Nor this one with options, or one that links to it from another environment."""
    other = installed / "other" / Path(sys.executable).name
    other.parent.mkdir()
    other.symlink_to(sys.executable)
    text = first_line.format(python=sys.executable, other=other)
    (installed / "bin" / "told").write_text(f"{text}\nimport told\n")
    assert found(["told"], installed) is None


def test_a_script_that_asks_env_for_this_python_is(installed: Path) -> None:
    name = Path(sys.executable).name
    (installed / "bin" / "told").write_text(f"#!/usr/bin/env {name}\nimport told\n")
    path = f"{installed / 'bin'}:{Path(sys.executable).parent}"
    assert found(["told"], installed, PATH=path) is not None
    (installed / "bin" / name).symlink_to("/bin/true")
    assert found(["told"], installed, PATH=path) is None


def test_the_program_is_looked_for_where_its_own_environment_says(installed: Path) -> None:
    assert found(["told"], installed, PATH="/usr/bin:/bin") is None
    assert found("PATH=/usr/bin told", installed) is None
    moved = installed / "moved"
    shutil.move(installed / "bin", moved)
    program = found(["told"], installed, PATH=f"/usr/bin:{moved}")
    assert program is not None
    assert program.target == str(moved / "told")
    assert found(["told"], installed, PATH="moved") is None


def test_a_script_that_nobody_may_run_is_not(installed: Path) -> None:
    (installed / "bin" / "told").chmod(0o644)
    assert found([str(installed / "bin" / "told")], installed) is None


@pytest.mark.parametrize("path", [":/x", "/x:", "here", "/x::/y"])
def test_a_path_that_depends_on_the_folder_is_in_doubt(path: str, installed: Path) -> None:
    assert found(["told"], installed, PYTHONPATH=path) is None
    assert found(["told"], installed, PYTHONPATH="/x:/y") is not None
    assert found(["told"], installed, PYTHONPATH="") is not None


@pytest.mark.parametrize(
    ("name", "are_alike"),
    [
        ("PYTHONPATH", False),
        ("PYTHONHASHSEED", False),
        ("LD_PRELOAD", False),
        ("LC_ALL", False),
        ("LANG", False),
        ("HOME", False),
        ("TZ", True),
        ("OMP_NUM_THREADS", True),
    ],
)
def test_what_is_read_at_the_start_of_an_interpreter_must_be_the_same(
    name: str, are_alike: bool
) -> None:
    assert starts_alike({"A": "1"}, {"A": "2", name: "x"}) is are_alike
    assert starts_alike({name: "x"}, {name: "x", "B": "3"})
