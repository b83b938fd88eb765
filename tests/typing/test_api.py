"""The types of the public API, as a user's type checker sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import executor

API = Path(__file__).with_name("api.py")


@pytest.mark.slow
def test_right_calls_pass_a_strict_type_checker_and_wrong_ones_do_not(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """The packages under test are asked, wherever they are."""
    pytest.importorskip("mypy", reason="mypy is missing: python3 dev.py check installs it")
    # Somewhere else, or it would be checked as a part of the project.
    copy = tmp_path / "user_code.py"
    copy.write_text(API.read_text(encoding="utf-8"), encoding="utf-8")
    home = Path(executor.__file__).parent.parent
    cache = pytestconfig.cache.mkdir("mypy") if pytestconfig.cache else tmp_path / "cache"
    environment = dict(os.environ)
    if "site-packages" not in home.parts:
        environment["MYPYPATH"] = str(home)
    options = ["--strict", "--python-version=3.10", f"--cache-dir={cache}", "--config-file="]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(copy)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
