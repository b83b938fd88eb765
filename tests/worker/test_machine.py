"""What a machine has: what is found, what a container allows, and what is said before either."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil
import pytest

from protocol.errors import ConfigurationError
from protocol.resources import Resources
from worker.machine import Gauge, allowed_cores, allowed_memory, survey


def test_what_is_not_said_is_found_out() -> None:
    found = survey()
    assert 0 < found.have.cores <= (os.cpu_count() or 1)
    assert 0 < found.have.memory <= psutil.virtual_memory().total
    assert found.have.disk > 0
    assert found.have.accelerators == ()
    assert not found.preemptible
    assert found.node


def test_what_is_said_goes_first() -> None:
    found = survey(
        node="n1", cores=0.5, memory="1 GiB", disk=7, accelerators="gpu=2", preemptible=True
    )
    assert found.node == "n1"
    assert found.have == Resources(0.5, 1024**3, 7, {"gpu": 2})
    assert found.preemptible


def test_several_on_one_machine_tell_of_a_part_each_but_of_what_was_said_as_it_is() -> None:
    whole, part = survey(disk=8), survey(disk=8, share=4)
    assert part.have.cores == pytest.approx(whole.have.cores / 4, abs=0.001)
    assert part.have.memory == whole.have.memory // 4
    assert part.have.disk == 8


@pytest.mark.parametrize("wrong", [{"node": "a b"}, {"cores": -1}, {"memory": "much"}])
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        survey(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "nonsense"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "0\n"}, math.inf),
    ],
)
def test_a_container_bounds_the_cores(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert allowed_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, math.inf),
        ({"memory.max": "max\n"}, math.inf),
        ({"memory.max": "1048576\n"}, 1048576),
        ({"memory/memory.limit_in_bytes": "2097152\n"}, 2097152),
    ],
)
def test_a_container_bounds_the_memory(
    tmp_path: Path, files: dict[str, str], memory: float
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert allowed_memory(tmp_path) == memory


def test_how_much_is_in_use_is_told_as_parts() -> None:
    cores, memory = Gauge().look()
    assert 0 <= cores <= 1
    assert 0 < memory < 1
