"""What a file of Toil's comes to, as Toil's tools want to know it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bus.news import toil
from bus.news.toil import (
    ExternalBatchIdMessage,
    JobAnnotationMessage,
    JobCompletedMessage,
    JobFailedMessage,
    JobIssuedMessage,
    JobMissingMessage,
    JobStatus,
    JobUpdatedMessage,
)
from tests.bus.news.toil.samples import MESSAGES, REPLAYED, line_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages"


def replayed(path: Path, *messages: Any) -> dict[str, JobStatus]:
    path.write_bytes(b"".join(map(line_of, messages)))
    return dict(toil.replay_message_bus(path))


def test_a_real_leaders_file_comes_to_what_its_own_replay_made_of_it() -> None:
    found = toil.replay_message_bus(MESSAGES)
    assert {job: dataclasses.asdict(status) for job, status in found.items()} == REPLAYED
    assert list(found) == list(REPLAYED)
    assert json.loads(repr(next(iter(found.values())))) == next(iter(REPLAYED.values()))


def test_a_retry_runs_again_and_keeps_its_old_external_id_until_it_has_a_new_one(
    path: Path,
) -> None:
    messages = [
        *(JobIssuedMessage("align", "j", 1), ExternalBatchIdMessage(1, "4711", "Slurm")),
        *(JobCompletedMessage("align", "j", 1), JobIssuedMessage("align", "j", 2)),
    ]
    found = replayed(path, *messages)
    assert found == {"j": JobStatus("j", "align", -1, {}, 2, "4711", "Slurm")}
    assert found["j"].is_running()


def test_what_is_said_of_jobs_that_were_not_issued_is_kept_and_they_do_not_run(path: Path) -> None:
    found = replayed(
        path,
        *(JobUpdatedMessage("a", 3), JobAnnotationMessage("b", "k", "v"), JobMissingMessage("c")),
        *(JobFailedMessage("align", "d"), JobUpdatedMessage("e", 0), JobFailedMessage("f", "e")),
    )
    assert found == {
        "a": JobStatus("", "", 3, {}, -1, "", ""),
        "b": JobStatus("", "", -1, {"k": "v"}, -1, "", ""),
        "d": JobStatus("", "align", -1, {}, -1, "", ""),
        "e": JobStatus("", "f", 1, {}, -1, "", ""),
    }
    assert not any(status.is_running() for status in found.values())


def test_an_external_id_that_comes_before_its_job_is_issued_is_not_lost(path: Path) -> None:
    placed = ExternalBatchIdMessage(1, "4711", "Slurm")
    found = replayed(path, placed, JobIssuedMessage("align", "j", 1))
    assert found == {"j": JobStatus("j", "align", -1, {}, 1, "4711", "Slurm")}


def test_a_line_that_cannot_be_read_costs_itself_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = line_of(JobIssuedMessage("align", "j", 1))
    last = line_of(JobCompletedMessage("align", "j", 0))
    path.write_bytes(first + b"toil.bus.JobUpdatedMessage\tj\tmany\n" + last + first[:-1])
    assert toil.replay_message_bus(path)["j"].exit_code == 0
    assert "a message was passed over, invalid literal for int() with base 10: 'many'" in (
        caplog.text
    )


def test_an_exit_code_that_nobody_knew_is_none_that_runs_for_ever_by_an_error(path: Path) -> None:
    path.write_bytes(
        line_of(JobIssuedMessage("align", "j", 1))
        + b"toil.bus.JobCompletedMessage\talign\tj\tNone\n"
    )
    assert toil.replay_message_bus(path)["j"].exit_code == -1


def test_a_file_that_is_not_there_is_empty_with_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert toil.replay_message_bus(path) == {}
    assert "is not there" in caplog.text
    with pytest.raises(IsADirectoryError):
        toil.replay_message_bus(path.parent)


def test_a_path_for_messages_is_a_file_that_is_there(tmp_path: Path) -> None:
    path = Path(toil.gen_message_bus_path(str(tmp_path)))
    assert path.parent == tmp_path
    assert toil.replay_message_bus(path) == {}
