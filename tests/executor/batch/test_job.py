"""What a job may be; and that reasons are those a Toil leader knows."""

from __future__ import annotations

from typing import Any

import pytest

from executor.batch import ExitReason, Job
from protocol.errors import ConfigurationError


@pytest.mark.parametrize("command", ["", [], [""], ["a", 5], 5, None, "a\0b", ["a", "b\0"], b"ls"])
def test_a_command_is_a_text_or_a_list_of_texts(command: Any) -> None:
    with pytest.raises(ConfigurationError, match="a command is a text"):
        Job(command)


@pytest.mark.parametrize("wrong", [{"": "x"}, {"a=b": "x"}, {"a": "x\0"}, {"a": 5}, {5: "x"}])
def test_an_environment_is_texts(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="environment"):
        Job("true", environment=wrong)


def test_the_reasons_have_toils_names_and_numbers() -> None:
    """``toil.batchSystems.abstractBatchSystem.BatchJobExitReason``, of Toil 9.6.0."""
    assert {reason.name: int(reason) for reason in ExitReason} == {
        "FINISHED": 1,
        "FAILED": 2,
        "LOST": 3,
        "KILLED": 4,
        "ERROR": 5,
        "MEMLIMIT": 6,
        "MISSING": 7,
        "MAXJOBDURATION": 8,
        "PARTITION": 9,
        "TIMELIMIT": 10,
    }
