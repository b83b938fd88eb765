"""Walks at random, for some seconds; the million is ``python -m tests.joint``."""

from __future__ import annotations

from collections import Counter

import pytest

from protocol import messages
from protocol.envelope import Envelope
from protocol.parcel import Received
from protocol.states import SUCCESS
from tests.joint import channel
from tests.joint.promises import Broken
from tests.joint.scene import Scene
from tests.joint.steps import WEIGHTS
from tests.joint.walker import Taken, drawn, search, shrunk, take, told

WALKS = 800
FIRST = 1_000_000_000


def test_no_walk_breaks_a_promise() -> None:
    taken = Taken()
    found = search(range(FIRST, FIRST + WALKS), taken)
    if found is not None:
        few = shrunk(found.walk, found.broken.promise)
        pytest.fail(f"walk {found.number}, in {len(few.steps)} steps:\n{told(few)}")
    assert taken.walks == WALKS
    assert set(taken.words) == set(WEIGHTS), "a kind of step is never taken"
    words = {outcome.split()[1] for outcome in taken.outcomes}
    assert words >= {"success", "failure", "cancelled", "RequestTimeout", "WorkerLost"}


def test_a_walk_is_the_same_each_time_it_is_taken() -> None:
    walk = drawn(FIRST + 7)
    assert told(walk) == told(walk)
    assert len(told(walk).splitlines()) > 20


def test_what_is_remembered_is_what_would_have_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks are quick because little of what travels is read anew: that changes nothing."""
    remembered, looked_at = channel.arrived, 0

    def both(around: Envelope, body: bytes, at_worker: bool) -> Received:
        nonlocal looked_at
        looked_at += 1
        said = remembered(around, body, at_worker)
        message = messages.decode(around.kind, body, at_worker=at_worker)
        assert said == Received(channel.carried(around, at_worker), message)
        return said

    monkeypatch.setattr(channel, "arrived", both)
    assert search(range(FIRST, FIRST + 40), Taken()) is None
    assert looked_at > 1000


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_in_a_good_network_each_request_costs_its_messages_and_no_more(mode: str) -> None:
    """Asked, started, ended, receipted: four, where a receipt does not find company."""
    scene = Scene(workers=3, slots=2)
    scene.passes(10.0, silent=False)
    before = scene.world.channel.sent
    for n in range(30):
        scene.submit(f"u{n}", mode=mode)
        scene.everything_arrives()
        for worker, run in scene.world.runs():
            worker.end(run, "done")
            scene.everything_arrives()
    assert scene.comes_to_rest() < 1.0
    promises = scene.world.promises
    assert set(promises.starts.values()) == {1}
    assert Counter(said.split()[0] for said in promises.seen.values()) == {"success": 30}
    beats = 6 * scene.world.time
    assert scene.world.channel.sent - before < 4 * 30 + beats
    assert SUCCESS not in promises.seen


def test_a_broken_promise_is_found_and_told() -> None:
    """The walker is not blind: a run that ends twice is seen."""
    scene = Scene()
    scene.submit("u0")
    scene.everything_arrives()
    promises = scene.world.promises
    promises.saw("u0", "success x")
    with pytest.raises(Broken, match="G1"):
        promises.saw("u0", "failure x")
    take(drawn(FIRST), Taken())
