"""Who is known, who is dead, who is sent the next request."""

from __future__ import annotations

from collections import Counter

import pytest

from executor import directory as room
from executor.directory import Directory
from executor.peer import Peer, Want
from executor.request import Attempt
from protocol.envelope import CAPS, STOPS, Header
from protocol.tickets import Ticket
from protocol.timing import (
    BEAT,
    CLOCK_MARGIN,
    CLOCK_RATE_DRIFT,
    LEASE,
    MAX_BEAT,
    WORKER_EXPIRY,
    lease,
    start_by_has_passed,
)

TOPICS = ("x", "y")


def header(
    boot: str = "a", clock: float = 0.0, credit: int = 2, slots: int = 1, **more: str
) -> Header:
    """What a native worker says in an answer; ``clock`` in seconds."""
    inbox = more.get("inbox", f"x.{boot * 16}")
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
    bare = header()._replace(**{missing: None})  # type: ignore[arg-type]
    assert directory.heard("x", ["t"], bare, 0.0) == (None, False)
    assert directory.heard("x", ["t"], header(inbox="a b"), 0.0) == (None, False)
    assert len(directory) == 0


def test_taskflows_workers_are_one_per_topic_and_the_last_answer_wins() -> None:
    directory = Directory()
    directory.heard("x", ["t"], None, 0.0)
    peer, changed = directory.heard("x", ["s"], None, 1.0)
    assert (len(directory), changed) == (1, True)
    assert directory.taskflow("x") is peer
    assert directory.candidates(Want("t", TOPICS, True), 0.0).choose() is None


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
    directory.touch(Header(boot="a" * 16, clock=10_000), 10.0)
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
    assert len(back.clocks) == 1  # no sample from before


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
    directory.watch(peer, 30.0)
    assert directory.forget(WORKER_EXPIRY) == []
    directory.forget(30.0 + WORKER_EXPIRY)
    directory.watch(peer, 100.0)
    assert directory.next_expiry() == 100.0 + WORKER_EXPIRY
    assert not directory.offered(Want("t", TOPICS, True))  # that it has to say itself


def test_the_lease_is_almost_three_of_the_beats_it_announces() -> None:
    directory = Directory()
    peer, _ = directory.heard("x", ["t"], header()._replace(beat=500), 0.0)
    assert peer is not None
    assert directory.next_expiry() == lease(0.5)
    again = header(clock=1)  # back to the usual one
    directory.touch(again, 1.0)
    directory.heard("x", ["t"], again, 1.0)
    assert (peer.beat, directory.next_expiry()) == (BEAT, 1.0 + LEASE)


def test_whose_beat_gets_shorter_is_missed_sooner() -> None:
    directory = Directory()
    directory.heard("x", ["t"], header("a")._replace(beat=20_000), 0.0)
    directory.heard("x", ["t"], header("b")._replace(beat=20_000), 0.0)
    assert directory.next_expiry() == lease(20.0)
    directory.heard("x", ["t"], header("a", clock=1), 1.0)
    assert directory.next_expiry() == LEASE
    shorter = header("b", clock=1)._replace(beat=500)
    directory.touch(shorter, 1.0)
    assert directory.next_expiry() == 1.0 + lease(0.5)
    assert [peer.name for peer in directory.forget(LEASE)] == ["w-b", "w-a"]


def test_who_comes_and_goes_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SPARE", 3)
    directory = Directory()
    known(directory, "a", "t")
    for clock in range(1, 100, 2):
        directory.heard("x", ["t"], header("b", clock=clock), 0.0)
        assert len(directory) == 2
        directory.heard("x", [], header("b", clock=clock + 1)._replace(credit=0), 0.0)
        assert len(directory) == 1
    assert len(directory._silences) <= 2 + 3
    assert [peer.name for peer in directory.forget(LEASE)] == ["w-a"]
    assert (len(directory), directory.next_expiry()) == (0, None)


def test_one_known_from_the_journal_is_watched_but_not_counted_until_it_speaks() -> None:
    directory = Directory()
    peer = directory.remember("native", "a" * 16, "w-a", "x.a", 5.0)
    assert directory.remember("native", "a" * 16, "w-a", "x.a", 6.0) is peer
    assert (len(directory), list(directory), directory.next_expiry()) == (0, [], 5.0 + LEASE)
    assert directory.candidates(Want("t", TOPICS, False), 0.0).choose() is None
    assert directory.heard("x", ["t"], header(), 7.0) == (peer, True)
    assert list(directory) == [peer]


def test_one_that_was_forgotten_is_found_and_watched_again_if_need_be() -> None:
    directory = Directory()
    peer = known(directory, "a", "t")
    directory.forget(LEASE)
    assert directory.native(peer.key) is None
    assert directory.find(peer.key) is peer
    assert directory.find("f" * 16) is None
    directory.watch(peer, 20.0)
    assert directory.native(peer.key) is peer
    assert directory.forget(20.0 + LEASE) == [peer]


def test_one_that_has_ended_never_comes_back() -> None:
    directory = Directory()
    peer = known(directory, "a", "t")
    other = known(directory, "b", "t")
    assert directory.named(peer.name) == [peer]
    directory.bury(peer)
    assert list(directory) == [other]
    assert directory.named(peer.name) == []
    assert directory.heard("x", ["t"], header(clock=9), 9.0) == (peer, False)
    assert list(directory) == [other]
    assert directory.find(peer.key) is peer  # its last words may still be on their way


# what is there ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "kinds", "stops"),
    [
        (None, {"HELD", "CANCEL", "RECEIPT", "RELEASE", "DROPPED"}, True),
        ((), set(), False),
        (CAPS, {"HELD", "CANCEL", "RECEIPT", "RELEASE", "DROPPED"}, False),
        (("release", STOPS, "tomorrow"), {"RELEASE"}, True),
    ],
)
def test_a_worker_is_sent_what_it_announced_to_understand(
    caps: tuple[str, ...] | None, kinds: set[str], stops: bool
) -> None:
    """One known from the journal alone announced it to whoever wrote that."""
    peer = Peer("a" * 16, "native", "w")
    peer.caps = None if caps is None else frozenset(caps)
    every = ("HELD", "CANCEL", "RECEIPT", "RELEASE", "DROPPED", "LATER")
    assert {kind for kind in every if peer.understands(kind)} == kinds
    assert peer.can_stop is stops
    peer.is_dead = True
    assert not any(peer.understands(kind) for kind in every)


@pytest.mark.parametrize(
    ("caps", "takes"), [(None, False), ((), False), (CAPS, True), (("release",), False)]
)
def test_batches_are_for_who_has_announced_it_to_us(
    caps: tuple[str, ...] | None, takes: bool
) -> None:
    peer = Peer("a" * 16, "native", "w")
    peer.caps = None if caps is None else frozenset(caps)
    assert peer.takes_batches is takes


def test_a_taskflow_worker_understands_nothing_of_ours_and_cannot_end_a_run() -> None:
    peer = Peer("x", "taskflow", "x")
    assert not peer.can_stop
    assert not peer.understands("CANCEL")


def test_what_was_given_up_uses_no_credit_until_it_turns_out_to_be_there() -> None:
    peer = Peer("a" * 16, "native", "w")
    peer.credit = 2
    attempts = [Attempt("u1", 1, peer, peer.next_ticket(1), sent=0.0, window=60.0) for _ in "ab"]
    for attempt in attempts:
        peer.take(attempt)
    assert peer.room == 0
    peer.doubt(attempts[0])
    assert (peer.room, peer.attempts) == (1, [attempts[1], attempts[0]])
    assert peer.find(Ticket(1, 1)) is attempts[0]
    peer.take(attempts[0])
    assert peer.room == 0
    peer.drop(attempts[0])
    peer.doubt(attempts[0])
    assert (peer.room, peer.find(Ticket(1, 1)), peer.attempts) == (1, None, [attempts[1]])


# choosing -----------------------------------------------------------------------------------------


def test_what_has_a_limit_goes_to_who_can_end_a_run_and_to_nobody_else() -> None:
    directory = Directory()
    known(directory, "a", "t")
    directory.heard("x", ["t"], None, 0.0)
    assert directory.candidates(Want("t", TOPICS, True, must_stop=True), 0.0).choose() is None
    assert not directory.offered(Want("t", TOPICS, True, must_stop=True))
    able, _ = directory.heard("x", ["t"], header("b")._replace(caps=(STOPS,)), 0.0)
    assert directory.candidates(Want("t", TOPICS, True, must_stop=True), 0.0).choose() == (
        able,
        "x",
    )
    assert directory.offered(Want("t", TOPICS, False, must_stop=True))


def test_a_free_slot_first_then_most_room_and_ties_at_random() -> None:
    directory = Directory()
    queueing = known(directory, "c", "t", credit=9, slots=1)
    busy(queueing, 1)
    small = known(directory, "a", "t", credit=3, slots=3)
    large = known(directory, "b", "t", credit=5, slots=3)
    found = directory.candidates(Want("t", TOPICS, False), 0.0).choose()
    assert found == (large, "x")
    busy(large, 2)
    chosen = Counter[str]()
    for _ in range(200):
        found = directory.candidates(Want("t", TOPICS, False), 0.0).choose()
        assert found is not None
        chosen[found[0].name] += 1
    assert set(chosen) == {small.name, large.name}
    busy(small, 3)
    busy(large, 5)
    assert directory.candidates(Want("t", TOPICS, False), 0.0).choose() == (queueing, "x")
    busy(queueing, 9)
    assert directory.candidates(Want("t", TOPICS, False), 0.0).choose() is None


def test_whoever_has_missed_a_beat_is_sent_nothing_until_it_speaks_again() -> None:
    """Before, killed workers looked idle for a lease, and got most of what others had lost."""
    directory = Directory()
    silent = known(directory, "a", "t", credit=9, slots=9)
    living = known(directory, "b", "t", credit=2, slots=1)
    for now, expected in ((0.0, silent), (BEAT, silent), (BEAT + 0.1, living)):
        if now:
            directory.touch(header("b", clock=now), now)
        found = directory.candidates(Want("t", TOPICS, False), now).choose()
        assert found == (expected, "x")
    busy(living, 1)  # it would queue there, but it is there
    assert directory.candidates(Want("t", TOPICS, False), BEAT + 0.1).choose() == (living, "x")
    busy(living, 2)
    assert directory.candidates(Want("t", TOPICS, False), BEAT + 0.1).choose() is None
    directory.touch(header("a", clock=BEAT + 0.2), BEAT + 0.2)
    assert directory.candidates(Want("t", TOPICS, False), BEAT + 0.2).choose() == (silent, "x")


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
    found = directory.candidates(Want(task, topics, named_only), 0.0).choose()
    assert (found[0].dialect if found else None) == expected
    assert directory.offered(Want(task, topics, named_only)) is (expected is not None)


# clocks -------------------------------------------------------------------------------------------


def test_a_start_by_is_never_negative_and_forgets_old_samples() -> None:
    directory = Directory()
    peer, _ = directory.heard("x", ["t"], header(clock=0), 1000.0)
    assert peer is not None
    assert peer.start_by(1000.0, 60.0) == 60_000
    assert peer.start_by(10.0, 5.0) == 0
    for n in range(1, 9):  # its machine slept: old samples are left behind
        directory.touch(Header(boot="a" * 16, clock=n), 2000.0 + n)
    assert peer.start_by(2008.0, 60.0) == 66_931


def test_what_was_said_before_what_is_known_is_no_sign_of_life_and_tells_no_time() -> None:
    """It was overtaken, or is a copy; enough of it, and each start-by would have passed already."""
    directory = Directory()
    peer, _ = directory.heard("x", ["t"], header(clock=1000.0), 0.0)
    assert peer is not None
    for now in range(1, 15):
        directory.touch(header(clock=now)._replace(credit=99), float(now))
        directory.touch(header(clock=1000.0), float(now))
    assert (peer.heard, peer.credit) == (0.0, 2)
    assert peer.start_by(10.0, 60.0) >= 1_069_000
    assert directory.forget(LEASE) == [peer]


def test_a_copy_of_what_it_said_brings_nobody_back() -> None:
    directory = Directory()
    last = header(clock=7.0)
    peer, _ = directory.heard("x", ["t"], last, 7.0)
    assert peer is not None
    directory.forget(7.0 + LEASE)
    for copy in (header(clock=3.0), last):
        directory.touch(copy, 30.0)
        assert directory.heard("x", ["t"], copy, 30.0) == (peer, False)
    assert len(directory) == 0
    news = header(clock=30.0)
    for topic in TOPICS:  # it says so of each of its topics
        directory.touch(news, 30.1)
        assert directory.heard(topic, ["t"], news, 30.1) == (peer, True)
    assert list(directory) == [peer]
    assert (peer.heard, set(peer.topics)) == (30.1, set(TOPICS))


def test_who_has_never_answered_a_request_gets_one_while_somebody_has() -> None:
    """Anybody can say that he is a thousand workers, each with room for a thousand requests."""
    directory = Directory()
    proven = known(directory, "a", "t", credit=3, slots=1)
    strangers = [known(directory, boot, "t", credit=99, slots=99) for boot in "bcd"]

    def choose(*, only_proven: bool = False) -> Peer | None:
        found = directory.candidates(Want("t", TOPICS, False), 0.0).choose(only_proven=only_proven)
        return found[0] if found else None

    assert choose() in strangers  # nobody has, so far
    assert choose(only_proven=True) in strangers
    proven.is_proven = True
    assert choose() is proven
    busy(proven, 1)
    given = set()
    for _ in strangers:  # a new one has a slot free, and is given the chance
        assert choose(only_proven=True) is proven
        peer = choose()
        assert peer is not None
        busy(peer, 1)
        given.add(peer)
    assert given == set(strangers)
    assert choose() is proven
    busy(proven, 3)
    assert choose() is None
    strangers[0].is_proven = True
    assert choose() is choose(only_proven=True) is strangers[0]
    for peer in (proven, strangers[0]):
        directory.bury(peer)
    assert choose() in strangers[1:]


def test_a_slow_clock_falls_back_from_its_samples() -> None:
    """The oldest of them is the largest, and would have a start-by lie later than is believed."""
    directory = Directory()
    rate = 1 - CLOCK_RATE_DRIFT
    for beat in range(0, 45, 5):
        peer, _ = directory.heard("x", ["t"], header(clock=beat * rate), float(beat))
    assert peer is not None
    start_by = peer.start_by(45.0, 60.0) / 1000
    assert start_by <= 45.0 * rate + 60.0
    passed = start_by / rate  # in our clock
    assert start_by_has_passed(45.0, 60.0, passed + 2 * CLOCK_MARGIN)
    assert passed <= 45.0 + 60.0 * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN


def test_one_message_is_one_sample_though_it_is_an_answer_too() -> None:
    directory = Directory()
    peer = known(directory, "a", "t")
    directory.touch(header(clock=5), 5.0)
    directory.heard("x", ["t"], header(clock=5), 5.0)
    assert len(peer.clocks) == 2


def test_workers_and_names_beyond_a_bound_are_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stranger can say that he is any number of workers; 3,000 of 200 tasks each took 100 MB."""
    monkeypatch.setattr(room, "MAX_KNOWN", 2)
    directory = Directory()
    known(directory, "a", "t")
    known(directory, "b", "t")
    assert not directory.has_room("x", ["t"], header("c"))
    assert directory.has_room("x", ["t", "u"], header("a"))  # of those who are known, news
    directory.forget(LEASE)
    assert directory.has_room("x", ["t"], header("c"))


def test_of_those_who_have_answered_nothing_yet_fewer_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is looked at for each dispatch: ten thousand of them took 30 ms a request."""
    monkeypatch.setattr(room, "MAX_STRANGERS", 2)
    directory = Directory()
    first = known(directory, "a", "t")
    known(directory, "b", "t")
    directory.remember("native", "f" * 16, "from the journal", "x.f", 0.0)
    assert not directory.has_room("x", ["t"], header("c"))
    first.is_proven = True
    assert directory.has_room("x", ["t"], header("c"))
    known(directory, "c", "t")
    assert not directory.has_room("x", ["t"], header("d"))
    monkeypatch.setattr(room, "MAX_KNOWN", 3)
    directory.bury(first)
    assert not directory.has_room("x", ["t"], header("d"))


def test_what_names_take_is_counted_as_they_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_OFFERED", 1000)
    directory = Directory()
    long = "t" * 500
    known(directory, "a", long)
    assert not directory.has_room("x", [long], header("b"))
    assert not directory.has_room("x", ["u", long, "v" * 500], header("a"))
    assert directory.has_room("x", ["u" * 500], header("a"))  # instead of what it offered
    known(directory, "a", "t")
    known(directory, "b", long)
    directory.forget(LEASE)
    assert directory._offered == 0


def test_a_beat_is_never_longer_than_a_minute_and_an_inbox_is_the_process_own() -> None:
    """Else a stranger would never be forgotten, or have requests sent into queues of others."""
    directory = Directory()
    peer, _ = directory.heard("x", ["t"], header("a")._replace(beat=2**52), 0.0)
    assert peer is not None
    assert peer.beat == MAX_BEAT
    directory.touch(Header(boot="a" * 16, clock=1, beat=2**52), 0.0)
    assert peer.beat == MAX_BEAT
    for inbox in ("nightly", f"x.{'b' * 16}", "x.call"):
        assert directory.heard("x", ["t"], header("c", inbox=inbox), 0.0) == (None, False)
