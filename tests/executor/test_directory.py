"""Who is known, who is dead, who is sent the next request."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from executor import directory as room
from executor.directory import Directory, Peer
from protocol.envelope import Header
from protocol.timing import LEASE, WORKER_EXPIRY

TOPICS = ("x", "y")


def header(
    boot: str = "a", clock: float = 0.0, credit: int = 2, slots: int = 1, **more: str
) -> Header:
    """What a native worker says in an answer; ``clock`` in seconds."""
    inbox = more.get("inbox", f"x.{boot}")
    return Header(
        worker=f"w-{boot}",
        boot=boot * 16,
        clock=int(clock * 1000),
        slots=slots,
        credit=credit,
        inbox=inbox,
    )


def known(directory: Directory, boot: str, *tasks: str, credit: int = 2, slots: int = 1) -> Peer:
    """A native worker that has answered at 0."""
    peer, _ = directory.heard("x", tasks, header(boot, credit=credit, slots=slots), 0.0)
    assert peer is not None
    return peer


def busy(peer: Peer, count: int) -> None:
    """As if so many attempts were open there; only their number counts here."""
    for n in range(count):
        peer.open[f"u{n}"] = None  # type: ignore[assignment]


# knowing ------------------------------------------------------------------------------------------


def test_an_answer_makes_a_worker_known_and_a_different_one_changes_what_it_offers() -> None:
    directory = Directory()
    peer, changed = directory.heard("x", ["t"], header(), 1.0)
    assert (changed, len(directory), list(directory)) == (True, 1, [peer])
    assert directory.heard("x", ["t"], header(clock=1), 2.0) == (peer, False)
    assert directory.heard("x", ["t", "s"], header(clock=2), 3.0) == (peer, True)
    assert directory.heard("y", ["t"], header(clock=2), 3.0) == (peer, True)
    assert peer is not None
    assert peer.topics == {"x": {"t", "s"}, "y": {"t"}}
    assert directory.native("a" * 16) is peer


@pytest.mark.parametrize("missing", ["boot", "clock", "inbox"])
def test_an_answer_without_an_address_or_a_clock_is_not_taken(missing: str) -> None:
    directory = Directory()
    bare = replace(header(), **{missing: None})  # type: ignore[arg-type]
    assert directory.heard("x", ["t"], bare, 0.0) == (None, False)
    assert directory.heard("x", ["t"], header(inbox="a b"), 0.0) == (None, False)
    assert len(directory) == 0


def test_taskflows_workers_are_one_per_topic_and_the_last_answer_wins() -> None:
    directory = Directory()
    directory.heard("x", ["t"], None, 0.0)
    peer, changed = directory.heard("x", ["s"], None, 1.0)
    assert (len(directory), changed) == (1, True)
    assert directory.taskflow("x") is peer
    assert directory.choose("t", TOPICS, named_only=True) is None


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    directory = Directory()
    peer, _ = directory.heard("x", ["new"], header(clock=5, credit=4), 5.0)
    assert directory.heard("x", ["old"], header(clock=4, credit=9), 5.1) == (peer, False)
    assert peer is not None
    assert peer.topics == {"x": {"new"}}
    assert peer.credit == 4
    directory.touch(Header(boot="a" * 16, clock=4000, credit=7), 5.2)
    assert peer.credit == 4
    directory.touch(Header(boot="a" * 16, clock=5100, credit=7), 5.2)
    assert peer.credit == 7


def test_whoever_falls_silent_is_forgotten_ours_after_a_lease_taskflows_after_a_minute() -> None:
    directory = Directory()
    ours = known(directory, "a", "t")
    directory.heard("x", ["t"], None, 0.0)
    assert directory.next_expiry() == LEASE
    assert directory.forget(LEASE - 0.1) == []
    directory.touch(Header(boot="a" * 16), 10.0)
    assert directory.forget(LEASE) == []
    assert directory.forget(10.0 + LEASE) == [ours]
    assert directory.next_expiry() == WORKER_EXPIRY
    assert len(directory.forget(WORKER_EXPIRY)) == 1
    assert directory.next_expiry() is None


@pytest.mark.parametrize("heard", [0.1, 1 / 3, 12345.678901, 1e9 + 0.1])
def test_whoever_expires_next_has_expired_by_then(heard: float) -> None:
    """Whatever is lost in rounding: or the keeper would wake and find nothing to do."""
    directory = Directory()
    directory.heard("x", ["t"], header(), heard)
    expiry = directory.next_expiry()
    assert expiry is not None
    assert len(directory.forget(expiry)) == 1


def test_a_worker_that_comes_back_goes_on_where_its_tickets_ended() -> None:
    directory = Directory()
    peer = known(directory, "a", "t")
    assert [str(peer.next_ticket(1)) for _ in range(2)] == ["1:1", "1:2"]
    directory.forget(LEASE)
    assert directory.touch(header(clock=20), 20.0) is None
    back, changed = directory.heard("x", ["t"], header(clock=20), 20.0)
    assert changed
    assert back is not None
    assert str(back.next_ticket(1)) == "1:3"
    assert list(back.clocks) == [0.0]  # no sample from before


def test_the_forgotten_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_FORGOTTEN", 3)
    directory = Directory()
    for boot in "abcdef":
        known(directory, boot, "t")
    directory.forget(LEASE)
    assert [key[1][0] for key in directory._forgotten] == ["d", "e", "f"]


def test_goodbye_forgets_at_once_unless_something_is_open() -> None:
    directory = Directory()
    peer = known(directory, "a", "t")
    busy(peer, 1)
    assert directory.heard("x", [], header(clock=1, credit=0), 1.0) == (peer, True)
    assert len(directory) == 1
    peer.open.clear()
    assert directory.heard("x", [], header(clock=2, credit=0), 2.0) == (peer, True)
    assert len(directory) == 0
    assert directory.heard("x", [], header(clock=3, credit=0), 3.0) == (peer, False)
    assert len(directory) == 0


def test_an_answer_to_a_request_is_a_sign_of_life_of_taskflows_topic_known_or_not() -> None:
    directory = Directory()
    peer, _ = directory.heard("x", ["t"], None, 0.0)
    assert peer is not None
    directory.spoke(peer, 30.0)
    assert directory.forget(WORKER_EXPIRY) == []
    directory.forget(30.0 + WORKER_EXPIRY)
    directory.spoke(peer, 100.0)
    assert list(directory) == [peer]
    assert not directory.offered("t", TOPICS, native_only=False)  # that it has to say itself


# choosing -----------------------------------------------------------------------------------------


def test_a_free_slot_first_then_most_room_and_ties_at_random() -> None:
    directory = Directory()
    queueing = known(directory, "c", "t", credit=9, slots=1)
    busy(queueing, 1)
    small = known(directory, "a", "t", credit=3, slots=3)
    large = known(directory, "b", "t", credit=5, slots=3)
    found = directory.choose("t", TOPICS, named_only=False)
    assert found == (large, "x")
    busy(large, 2)
    chosen = Counter[str]()
    for _ in range(200):
        found = directory.choose("t", TOPICS, named_only=False)
        assert found is not None
        chosen[found[0].name] += 1
    assert set(chosen) == {small.name, large.name}
    busy(small, 3)
    busy(large, 5)
    assert directory.choose("t", TOPICS, named_only=False) == (queueing, "x")
    busy(queueing, 9)
    assert directory.choose("t", TOPICS, named_only=False) is None


@pytest.mark.parametrize(
    ("task", "topics", "named_only", "expected"),
    [
        ("t", ("x",), True, "native"),
        ("t", ("x", "y"), False, "native"),
        ("t", ("y",), True, None),
        ("s", ("x", "y"), True, "taskflow"),
        ("s", ("x", "y"), False, None),
        ("nobody's", ("x", "y"), True, None),
    ],
)
def test_only_who_offers_it_there_and_can_take_it(
    task: str, topics: tuple[str, ...], named_only: bool, expected: str | None
) -> None:
    directory = Directory()
    known(directory, "a", "t")
    directory.heard("x", ["t", "s"], None, 0.0)
    found = directory.choose(task, topics, named_only=named_only)
    assert (found[0].dialect if found else None) == expected
    assert directory.offered(task, topics, native_only=not named_only) is (expected is not None)


# clocks -------------------------------------------------------------------------------------------


def test_a_start_by_is_never_negative_and_forgets_old_samples() -> None:
    directory = Directory()
    peer, _ = directory.heard("x", ["t"], header(clock=0), 1000.0)
    assert peer is not None
    assert peer.start_by(1000.0, 60.0) == 60_000
    assert peer.start_by(10.0, 5.0) == 0
    for n in range(8):  # its clock was set back, or the machine slept: old samples are left behind
        directory.touch(Header(boot="a" * 16, clock=0), 2000.0 + n)
    assert peer.start_by(2007.0, 60.0) == 67_000


def test_one_message_is_one_sample_though_it_is_an_answer_too() -> None:
    directory = Directory()
    peer = known(directory, "a", "t")
    directory.touch(header(clock=5), 5.0)
    directory.heard("x", ["t"], header(clock=5), 5.0)
    assert len(peer.clocks) == 2
