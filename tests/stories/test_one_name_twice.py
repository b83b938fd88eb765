"""A name is used again: by two at once, by one after the other, after its journal was deleted."""

from __future__ import annotations

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
