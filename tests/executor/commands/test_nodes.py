"""``nodes``: that there is no machine is an answer, too. With one: tests/stories."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.cli import main


def test_nobody_is_an_answer_that_says_what_to_do(
    local_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"local://{local_path}"
    assert main(["nodes", "--wait", "0.2", "--url", url]) == 0
    assert "start one with: python -m worker MODULE" in capsys.readouterr().out
    assert main(["nodes", "--wait", "0.2", "--url", url, "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
