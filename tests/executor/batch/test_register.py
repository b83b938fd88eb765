"""What is remembered of jobs when their leader is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.batch.register import Kept, Register
from protocol.errors import JournalLocked


def test_what_was_placed_and_neither_killed_nor_taken_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    register = Register(path, "batch")
    assert (register.kept, register.last_id) == ({}, 0)
    for job_id in (1, 2, 3, 4):
        register.placed(job_id, f"kind {job_id}", f"uuid-{job_id}")
    register.killed([2])
    register.taken(3, "kind 3", 0)
    register.close()
    again = Register(path, "batch")
    assert again.kept == {1: Kept(1, "kind 1", "uuid-1"), 4: Kept(4, "kind 4", "uuid-4")}
    assert again.last_id == 4
    again.taken(4, "kind 4", 1)
    again.placed(5, "", "uuid-5")
    again.close()
    last = Register(path, "batch")
    assert list(last.kept) == [1, 5]
    last.close()


def test_one_leader_at_a_time(tmp_path: Path) -> None:
    register = Register(tmp_path / "jobs", "batch")
    with pytest.raises(JournalLocked):
        Register(tmp_path / "jobs", "batch")
    register.close()


def test_a_torn_line_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    register = Register(path, "batch")
    register.placed(1, "", "uuid-1")
    register.close()
    with path.open("ab") as file:
        file.write(b'{"torn')
    again = Register(path, "batch")
    assert list(again.kept) == [1]
    again.close()
