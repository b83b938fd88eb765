from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main


def test_cells_are_named_and_none_is_played(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "latency", "amqp", "huey"]) == 0
    assert capsys.readouterr().out == "0 cells in 0 sittings\n"  # huey has no RabbitMQ
    assert main(["--list", "--only", "latency", "redis", "huey", "best"]) == 0
    assert capsys.readouterr().out == "latency.redis.huey.best.w1.o1.p0\n1 cells in 1 sittings\n"


def test_words_that_fit_nothing_are_a_mistake(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--only", "redis", "carrots", "--results", str(tmp_path)]) == 2
    assert "redis and carrots: see --list" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
