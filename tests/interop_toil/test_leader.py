"""A real Toil leader on our bus, and Toil's own tests of its bus."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bus.news import toil as ours
from protocol.history import Entry, History
from tests.interop_toil.programs import FLOW, run

theirs: Any = pytest.importorskip(
    "toil.bus", reason="the peer of these tests is not installed: toil"
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", ["well", "badly"])
def test_a_leader_runs_a_workflow_on_our_bus_and_both_read_what_it_wrote(
    tmp_path: Path, how: str
) -> None:
    messages = tmp_path / "messages"
    (tmp_path / "tried").mkdir()
    flow = tmp_path / "flow.py"  # Toil runs no script that is in a package
    shutil.copy(FLOW, flow)
    done = run(flow, tmp_path / "store", messages, tmp_path / "tried", how, ours=True)
    assert "bus: bus.news.toil.leader" in done.stdout, done.stderr
    assert ("result: 14" in done.stdout) == (how == "well"), done.stderr
    statuses = ours.replay_message_bus(messages)
    known = theirs.replay_message_bus(str(messages))
    assert {job: dataclasses.asdict(status) for job, status in statuses.items()} == {
        job: dataclasses.asdict(status) for job, status in known.items()
    }
    codes = sorted((status.name, status.exit_code) for status in statuses.values())
    leaves = [("leaf", 0)] * 4
    wanted = [*leaves, ("root", 0), ("total", 0)]
    assert codes == (wanted if how == "well" else [("doomed", 1), *leaves, ("root", 1)])
    history = History()
    for found in ours.read(messages):
        assert isinstance(found, Entry), found
        history.apply(found)
    assert not history.jobs.open_jobs()
    assert sum(len(job.tries) for job in history.jobs.by_name.values()) == (
        7 if how == "well" else 8
    )
    for job in history.jobs.by_name.values():
        assert all(each.system == "SingleMachineBatchSystem" for each in job.tries)


def test_toils_own_tests_of_its_bus_pass_on_ours(tmp_path: Path) -> None:
    """``toil.test.src.busTest``, from its wheel, as it is."""
    command = ("-m", "pytest", "-v", "--import-mode=importlib", "--rootdir", tmp_path)
    asked = ("-p", "no:cacheprovider", "-c", "/dev/null", "--pyargs", "toil.test.src.busTest")
    done = run(*command, *asked, ours=True)
    assert re.search(r"\b3 passed\b", done.stdout), done.stdout + done.stderr
