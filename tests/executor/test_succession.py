"""Whether a newer executor is served in our place: what is believed, of whom, and when."""

from __future__ import annotations

from executor.directory import Directory
from executor.peer import Peer
from executor.succession import Succession
from protocol.envelope import Header
from protocol.errors import ExecutorSuperseded
from protocol.timing import LEASE

OURS = 5


class Workers:
    """Some that have answered a request of ours, and what is concluded from their answers."""

    def __init__(self, *, keeps_journal: bool = True) -> None:
        self.directory = Directory()
        self.succession = Succession("ex", OURS, self.directory, keeps_journal=keeps_journal)

    def known(self, name: str, *, is_proven: bool = True) -> Peer:
        peer = self.directory.remember("native", _boot(name), name, None, 0.0)
        peer.is_proven = is_proven
        return peer

    def says(self, name: str, serves: int | None, now: float) -> ExecutorSuperseded | None:
        header = Header(worker=name, boot=_boot(name), incarnation=serves)
        return self.succession.hears(header, now)


def _boot(name: str) -> str:
    return name * 16


def test_who_hears_of_nothing_but_a_newer_one_for_a_lease_is_superseded() -> None:
    workers = Workers()
    workers.known("a")
    assert workers.says("a", OURS + 1, 10.0) is None
    assert workers.says("a", OURS + 1, 10.0 + LEASE - 0.1) is None
    error = workers.says("a", OURS + 1, 10.0 + LEASE)
    assert str(error).startswith("executor ex is not served any more: a serves a newer one")
    assert "(incarnation 6, this is 5)" in str(error)


def test_one_that_still_serves_us_says_otherwise_in_that_time() -> None:
    """It will not any more once it has heard of the newer one; till then nothing is lost."""
    workers = Workers()
    workers.known("a")
    workers.known("b")
    now = 0.0
    while now < 10 * LEASE:
        now += 5.0
        assert workers.says("a", OURS + 1, now) is None
        assert workers.says("b", OURS, now) is None
    assert workers.says("b", OURS + 1, now + 5.0) is None
    assert workers.says("a", OURS + 1, now + 5.0 + LEASE) is not None


def test_a_forged_word_in_the_name_of_a_worker_that_serves_us_ends_nobody() -> None:
    workers = Workers()
    workers.known("a")
    for turn in range(100):
        assert workers.says("a", 10**15, turn * 1.0) is None
        if turn % 4 == 0:
            assert workers.says("a", OURS, turn * 1.0 + 0.5) is None


def test_strangers_are_not_believed() -> None:
    workers = Workers()
    workers.known("a", is_proven=False)
    for now in (0.0, LEASE, 10 * LEASE):
        assert workers.says("a", OURS + 1, now) is None
        assert workers.says("c", OURS + 1, now) is None


def test_who_was_sent_a_request_is_believed_while_nobody_has_answered_one() -> None:
    """The newer one reads our queue too, and may have taken every answer that was ours."""
    workers = Workers()
    workers.known("a", is_proven=False).next_ticket(OURS)
    assert workers.says("a", OURS + 1, 0.0) is None
    assert workers.says("a", OURS + 1, LEASE) is not None


def test_who_was_sent_a_request_is_not_believed_beside_one_that_has_answered() -> None:
    workers = Workers()
    workers.known("a", is_proven=False).next_ticket(OURS)
    workers.known("b")
    for now in (0.0, LEASE, 10 * LEASE):
        assert workers.says("a", OURS + 1, now) is None


def test_an_executor_without_a_journal_cannot_be_succeeded() -> None:
    workers = Workers(keeps_journal=False)
    workers.known("a")
    for now in (0.0, LEASE, 10 * LEASE):
        assert workers.says("a", OURS + 1, now) is None


def test_what_says_nothing_of_it_changes_nothing() -> None:
    """An earlier one may be all that it has heard of yet; taskflow's peers have no header."""
    workers = Workers()
    workers.known("a")
    assert workers.says("a", OURS + 1, 0.0) is None
    for serves in (None, None):
        assert workers.says("a", serves, 1.0) is None
    assert workers.succession.hears(None, 2.0) is None
    assert workers.says("a", OURS + 1, LEASE) is not None
