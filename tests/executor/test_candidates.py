"""Who is sent the next request: whoever is best at that moment, however many were sent before it.

In which order they go is told in words in ``test_directory``, beside what makes a peer known.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from executor.candidates import Candidates
from executor.peer import Peer, Want
from executor.request import Attempt
from protocol.envelope import RESOURCES
from protocol.resources import NodeReport, Requirements, Resources
from protocol.tickets import Ticket

WANT = Want("t", ("x",), named_only=True)


@st.composite
def peers(draw: st.DrawFn) -> list[Peer]:
    """Some who offer the task, and some who do not, or are late."""
    found = []
    for n in range(draw(st.integers(0, 6))):
        is_native = draw(st.booleans())
        peer = Peer(f"{n}", "native" if is_native else "taskflow", f"w{n}")
        peer.topics = {"x": frozenset(draw(st.sampled_from([["t"], ["t", "s"], ["s"]])))}
        peer.credit = draw(st.integers(0, 4)) if is_native else None
        peer.slots = draw(st.integers(0, 3)) if is_native else None
        peer.is_proven = draw(st.booleans())
        peer.has_failed = draw(st.booleans())
        peer.heard = draw(st.sampled_from([0.0, 100.0]))
        for number in range(draw(st.integers(0, 2))):
            sent(peer, number)
        found.append(peer)
    return found


def sent(peer: Peer, number: int, needs: Resources | None = None) -> None:
    """One more request is there."""
    ticket = Ticket(1, number + 1) if peer.is_native else None
    peer.take(Attempt(f"u{number}", 1, peer, ticket, sent=0.0, window=1.0, needs=needs))


def ranks(among: list[Peer], only_proven: bool) -> list[tuple[object, ...]]:
    """Of all who may have the next request, as the rules say it."""
    offering = [p for p in among if p.offers("t", ("x",)) and p.is_in_time(100.0)]
    if any(peer.is_proven for peer in offering):
        offering = [p for p in offering if p.is_proven or not (only_proven or p.open)]
    return [rank(peer) for peer in offering if peer.room > 0]


def rank(peer: Peer) -> tuple[object, ...]:
    return peer.is_native, len(peer.open) < (peer.slots or 0), peer.trust, peer.room


@given(peers(), st.lists(st.booleans(), max_size=12))
def test_each_goes_to_the_best_there_is_by_then(among: list[Peer], which: list[bool]) -> None:
    candidates = Candidates(among, WANT, 100.0)
    for number, only_proven in enumerate(which):
        expected = max(ranks(among, only_proven), default=None)  # type: ignore[type-var]
        found = candidates.choose(only_proven=only_proven)
        if found is None:
            assert expected is None
            continue
        peer, topic = found
        assert (rank(peer), topic) == (expected, "x")
        sent(peer, 100 + number)


def test_many_requests_do_not_look_at_all_workers_each() -> None:
    """Ten thousand are looked at once, and a thousand requests go to a thousand of them."""
    looked_at = 0

    class Watched(Peer):
        __slots__ = ()

        def offers(self, *about: object) -> str:
            nonlocal looked_at
            looked_at += 1
            return "x"

    among: list[Peer] = [Watched(f"{n}", "native", f"w{n}") for n in range(10_000)]
    for peer in among:
        peer.credit = peer.slots = 1
    candidates = Candidates(among, WANT, 0.0)
    chosen = set()
    for number in range(1000):
        found = candidates.choose()
        assert found is not None
        sent(found[0], number)
        chosen.add(found[0].key)
    assert (len(chosen), looked_at) == (1000, 10_000)


def test_what_is_needed_is_promised_once_and_nothing_to_who_is_spared() -> None:
    small, spared = (machine(cores) for cores in (2, 8))
    needs = Requirements(cores=1)
    want = WANT._replace(named_only=False, needs=needs)
    candidates = Candidates([small, spared], want, 0.0, [spared])
    for number in range(2):
        assert candidates.choose() == (small, "x")
        sent(small, number, needs.amount)
    assert candidates.choose() is None
    assert Candidates([small, spared], want, 0.0).choose() == (spared, "x")


def machine(cores: int) -> Peer:
    peer = Peer(f"{cores}", "native", f"w{cores}")
    peer.topics = {"x": frozenset(["t"])}
    peer.credit = peer.slots = 9
    peer.caps = frozenset([RESOURCES])
    peer.report = NodeReport("node", Resources(cores=cores))
    return peer


def test_nobody_is_there() -> None:
    choose: Callable[[], object] = Candidates([], WANT, 0.0).choose
    assert choose() is None
    assert choose() is None
