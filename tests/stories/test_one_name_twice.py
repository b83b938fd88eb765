"""A name is used again: by two at once, by one after the other, after its journal was deleted."""

from __future__ import annotations

import shutil

import pytest

from bus.news.line import Header, header_bytes
from protocol.errors import ExecutorSuperseded
from tests.processes import DEADLINE
from tests.stories.stage import Stage


def test_a_name_without_a_journal_may_be_used_by_two_at_once(stage: Stage) -> None:
    with (
        stage.worker(),
        stage.executor(journal=None) as one,
        stage.executor(journal=None) as other,
    ):
        futures = {f"{n}": (one, other)[n % 2].submit("chores.chore", f"{n}") for n in range(20)}
        for name, future in futures.items():
            assert future.result(DEADLINE) == name
    assert set(stage.marks().values()) == {1}


def test_a_name_may_be_used_with_two_journals_at_once(wide_stage: Stage) -> None:
    """Each journal is somebody of its own, when it is begun and when it is opened again."""
    stage = wide_stage
    one, other = (stage.folder / f"{name}.journal" for name in ("one", "other"))
    with stage.worker():
        for day in ("monday", "tuesday"):
            with (
                stage.executor(journal=one) as first,
                stage.executor(journal=other) as second,
            ):
                futures = {
                    f"{day}-{n}": (first, second)[n % 2].submit("chores.chore", f"{day}-{n}")
                    for n in range(20)
                }
                for name, future in futures.items():
                    assert future.result(DEADLINE) == name
    assert set(stage.marks().values()) == {1}


def test_a_journal_from_before_there_were_identities_goes_on_under_its_name(
    stage: Stage,
) -> None:
    """What workers hold for it, they hold for the name."""
    before = header_bytes(Header("nightly", 0, 1, 0, 1.0))
    stage.journal.write_bytes(before)
    with stage.worker():
        for n in range(2):
            with stage.executor() as executor:
                assert executor._engine.id == "nightly"
                assert executor.submit("chores.chore", f"{n}").result(DEADLINE) == f"{n}"
    assert stage.journal.read_bytes().startswith(before)


def test_of_two_with_copies_of_one_journal_the_older_is_told(wide_stage: Stage) -> None:
    """Workers serve the newer one; what is open at the older ends, and stays in its journal."""
    stage = wide_stage
    copy, gate = stage.folder / "copy.journal", stage.gate()
    stage.executor().shutdown()
    shutil.copy(stage.journal, copy)
    with stage.worker():
        with stage.executor() as older:
            held = older.submit("chores.chore", "held", str(gate))
            stage.wait_for("held")
            with stage.executor(journal=copy) as newer:
                assert newer.submit("chores.chore", "newer").result(DEADLINE) == "newer"
                assert isinstance(held.exception(DEADLINE), ExecutorSuperseded)
                for late in (lambda: older.submit("chores.chore", "late"), older.open_requests):
                    with pytest.raises(ExecutorSuperseded, match="use a journal in one place only"):
                        late()
                futures = [newer.submit("chores.chore", f"{n}") for n in range(20)]
                assert [each.result(DEADLINE) for each in futures] == [f"{n}" for n in range(20)]
        gate.touch()
        with stage.executor() as again:  # which is the newest now
            assert [each.result(DEADLINE) for each in again.open_requests()] == ["held"]
            assert again.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert set(stage.marks().values()) == {1}


def test_a_name_without_a_journal_may_be_used_again(stage: Stage) -> None:
    with stage.worker():
        for n in range(3):
            with stage.executor(journal=None) as executor:
                assert executor.submit("chores.chore", f"{n}").result(DEADLINE) == f"{n}"


def test_an_executor_whose_journal_was_deleted_is_served(stage: Stage) -> None:
    """Its worker remembers the one before, which was the third of its name."""
    with stage.worker():
        for n in range(3):
            with stage.executor() as executor:
                assert executor.submit("chores.chore", f"{n}").result(DEADLINE) == f"{n}"
        stage.journal.unlink()
        with stage.executor() as executor:
            assert executor.submit("chores.chore", "anew").result(DEADLINE) == "anew"


def test_an_executor_whose_journal_was_put_back_as_it_had_been_is_served(stage: Stage) -> None:
    with stage.worker():
        kept = b""
        for n in range(3):
            with stage.executor() as executor:
                assert executor.submit("chores.chore", f"{n}").result(DEADLINE) == f"{n}"
            kept = kept or stage.journal.read_bytes()
        stage.journal.write_bytes(kept)
        with stage.executor() as executor:
            assert executor.submit("chores.chore", "anew").result(DEADLINE) == "anew"
