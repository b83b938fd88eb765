"""Who is told what: answers, beats, reminders, and what an executor is spared."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from protocol.envelope import Header
from protocol.messages import Request, Response
from protocol.tickets import MAX_NAMED, Ticket
from protocol.timing import BEAT, KEEP, RESULT_RESENDS
from protocol.topology import Names
from tests.worker.executors import BOOT, TASK, header, parcels, read, told
from worker import voice as room
from worker.effects import Effect, Send
from worker.known import MAX_DROPPED, SILENCE, Executors, Known
from worker.letters import Letters
from worker.outbox import PROBE
from worker.record import Record
from worker.slots import Slots
from worker.voice import AWAY, Voice
from worker.work import Offer


class Scene:
    """A worker process of one topic that knows one executor."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.executors = Executors()
        self.slots = Slots("w", 2, can_stop=True)
        self.slots.offer([Offer(TASK)])
        names = Names("native", "test")
        letters = Letters(
            names,
            ("x",),
            worker="w",
            boot=BOOT,
            slots=2,
            beat=BEAT,
            can_stop=True,
            takes_batches=self.executors.take_batches,
        )
        self.voice = Voice(letters, self.slots, self.executors, self.counts, pace=BEAT)
        known = self.executors.meet("ex-1", 0.0)
        assert known is not None
        self.known: Known = known

    def hold(self, number: int, state: str, now: float = 0.0) -> Record:
        """A record of this state, under a ticket of this number."""
        record = Record(f"u{number}", "ex-1", Request(TASK), Header(), now)
        self.known.hold(record, [Ticket(1, number)])
        record.state = state  # type: ignore[assignment]
        if state == "ended":
            self.known.outbox.keep(record, b'{"state":"SUCCESS","data":{"result":1}}', now)
        if state == "dropped":
            self.known.dropped += 1
        return record


@pytest.fixture
def scene() -> Scene:
    """Just met."""
    return Scene()


def are_repeated(effects: list[Effect]) -> set[bool]:
    """Whether these are said again in any case."""
    return {effect.is_repeated for effect in effects if isinstance(effect, Send)}


def test_an_answer_has_a_digest_even_of_nothing_and_a_beat_only_of_something(scene: Scene) -> None:
    answer = "ANSWER x to test.native_ex-1"
    assert told(scene.voice.answer("ex-1", 1.0, is_native=True)) == [answer, "HELD nothing"]
    assert told(scene.voice.beat(scene.known, 1.0)) == [answer]
    scene.hold(1, "queued")
    assert told(scene.voice.beat(scene.known, 1.0)) == [answer, "HELD queued 1:1"]
    assert scene.known.beat_at == 1.0 + BEAT


def test_an_executor_that_is_away_for_long_hears_from_us_less_often(scene: Scene) -> None:
    """Or a day of beats would wait for it, seventeen thousand of them."""
    scene.hold(1, "ended")
    scene.voice.beat(scene.known, AWAY)
    assert scene.known.beat_at == AWAY + BEAT
    scene.voice.beat(scene.known, AWAY + BEAT)
    assert scene.known.beat_at == AWAY + BEAT + PROBE
    scene.known.heard = AWAY + BEAT
    scene.voice.answer("ex-1", AWAY + BEAT, is_native=True)
    assert scene.known.beat_at == AWAY + 2 * BEAT


def test_an_executor_that_is_away_and_has_nothing_here_must_ask_to_hear_from_us(
    scene: Scene,
) -> None:
    """It may have ended for good, and nobody would ever read what is said to it."""
    scene.voice.beat(scene.known, KEEP)
    assert scene.known.beat_at == KEEP + BEAT
    scene.voice.beat(scene.known, KEEP + BEAT)
    assert scene.known.beat_at == math.inf
    scene.known.heard = KEEP + 2 * BEAT
    scene.voice.answer("ex-1", KEEP + 2 * BEAT, is_native=True)
    assert scene.known.beat_at == KEEP + 3 * BEAT


def test_a_beat_says_which_incarnation_is_served(scene: Scene) -> None:
    assert header(parcels(scene.voice.beat(scene.known, 1.0))[0]).incarnation is None
    scene.known.incarnation = 7
    assert header(parcels(scene.voice.beat(scene.known, 1.0))[0]).incarnation == 7
    assert header(parcels(scene.voice.hello(1.0))[0]).incarnation is None


def test_a_stranger_for_whom_there_is_no_room_is_offered_no_credit(scene: Scene) -> None:
    effects = scene.voice.answer("stranger", 1.0, is_native=True)
    assert told(effects) == ["ANSWER x to test.native_stranger", "HELD nothing"]
    assert header(parcels(effects)[0]).credit == 0


def test_who_is_full_is_offered_no_credit_wherever_it_is_told(scene: Scene) -> None:
    record = scene.hold(1, "ended")
    scene.known.dropped = MAX_DROPPED
    effects = scene.voice.beat(scene.known, 1.0)
    effects += scene.voice.end(scene.known, record, 1.0)
    effects += scene.voice.release(scene.known, "u2", (([Ticket(1, 2)], "full"),), 1.0)
    found = [header(parcel).credit for parcel in parcels(effects)]
    assert found == [0, None, 0, 0]
    assert header(parcels(scene.voice.hello(1.0))[0]).credit == 2


def test_more_than_a_digest_can_name_is_counted_and_the_beat_goes_out(scene: Scene) -> None:
    record = scene.hold(1, "running")
    record.tickets = [Ticket(1, 10**15 + 2 * number) for number in range(13_000)]
    effects = scene.voice.beat(scene.known, 1.0)
    assert told(effects) == ["ANSWER x to test.native_ex-1"]
    assert scene.counts == {"held_refused": 1}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("queued", []),
        ("running", ["RUNNING u1"]),
        ("ended", ["SUCCESS u1"]),
        ("dropped", ["DROPPED 1:1"]),
    ],
)
def test_how_it_is_with_a_request_is_told_by_its_state(
    scene: Scene, state: str, said: list[str]
) -> None:
    effects = scene.voice.again(scene.known, scene.hold(1, state), 1.0)
    assert told(effects) == said
    assert are_repeated(effects) <= {False}


def test_reminders_follow_the_schedule_or_are_a_probe(scene: Scene) -> None:
    scene.hold(1, "ended")
    scene.hold(2, "ended")
    assert scene.voice.reminders(scene.known, RESULT_RESENDS[0] - 0.1) == []
    effects = scene.voice.reminders(scene.known, RESULT_RESENDS[0])
    assert told(effects) == ["SUCCESS u1", "SUCCESS u2"]
    assert are_repeated(effects) == {True}
    assert RESULT_RESENDS[0] + PROBE > SILENCE
    assert scene.voice.reminders(scene.known, RESULT_RESENDS[0] + PROBE - 0.1) == []
    assert told(scene.voice.reminders(scene.known, RESULT_RESENDS[0] + PROBE)) == ["SUCCESS u1"]


def test_everything_is_all_results_and_all_that_was_dropped(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room._AT_ONCE <= MAX_NAMED  # of which its reader unfolds so many at most
    monkeypatch.setattr(room, "_AT_ONCE", 2)
    for number, state in enumerate(("ended", "dropped", "dropped", "running", "dropped"), 1):
        scene.hold(number, state)
    effects = scene.voice.everything(scene.known, 50.0, older=2.0)
    assert told(effects) == ["SUCCESS u1", "DROPPED 1:2-3", "DROPPED 1:5"]


def test_a_kind_that_an_executor_does_not_understand_is_not_sent_to_it(scene: Scene) -> None:
    scene.known.caps = ("release",)
    scene.hold(1, "dropped")
    assert told(scene.voice.answer("ex-1", 1.0, is_native=True)) == ["ANSWER x to test.native_ex-1"]
    assert scene.voice.everything(scene.known, 50.0, older=2.0) == []


def test_running_is_the_same_whoever_is_told(scene: Scene) -> None:
    native = scene.hold(1, "running")
    plain = Record("u2", "flow", Request(TASK), None, 0.0)
    for record in (native, plain):
        (parcel,) = parcels(scene.voice.running(record, 1.0))
        assert read(parcel).message == Response.running()
        assert (parcel.envelope.header is None) is (record is plain)
