"""What happened, in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from executor.commands.sentences import SHOWN, duration, printable, sentence
from protocol.events import (
    EVENTS,
    Cancelled,
    Closed,
    Discarded,
    Dispatched,
    Ended,
    Event,
    Opened,
    Over,
    Progress,
    Round,
    Running,
    Submitted,
    WorkerGone,
    WorkerSeen,
)
from protocol.failure import from_exception
from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobAnnotated,
    JobCompleted,
    JobFailed,
    JobIssued,
    JobKilled,
    JobMissing,
    JobPlaced,
    JobStarted,
    JobUpdated,
    QueueSize,
)
from tests.protocol.happened import any_event

SENTENCES: list[tuple[Event, str]] = [
    (Opened("nightly", 3), "executor nightly opened, incarnation 3"),
    (
        Opened("nightly", 3, "nightly.5e6f7a8b"),
        "executor nightly opened, incarnation 3 of nightly.5e6f7a8b",
    ),
    (Closed(), "executor closed in order"),
    (Submitted("u", "images.resize", {}, ["a"]), "request u submitted: images.resize"),
    (
        Submitted("u", "t", {}, ["a"], mode="amo", key="thumbnail a.png"),
        "request u submitted: t (at most once, key 'thumbnail a.png')",
    ),
    (
        Submitted("u", "t", {}, ["a"], rate="5/m", max_running=2),
        "request u submitted: t (rate 5/m, max_running 2)",
    ),
    (
        Submitted("u", "t", {}, ["a"], not_before=1e20, priority=-3),
        "request u submitted: t (priority -3, not before 100000000000000000000.000)",
    ),
    (
        Dispatched("u", 2, 1, "native", "a", "hare", "0f"),
        "request u, attempt 2: to hare (0f)",
    ),
    (Dispatched("u", 1, 1, "taskflow", "a", "hare"), "request u, attempt 1: to hare"),
    (Running("u", 2), "request u, attempt 2: runs"),
    (Progress("u", 0.333), "request u: 33% done"),
    (
        Over("u", 2, "never"),
        "request u, attempt 2: over, it was not started there and will not be",
    ),
    (Over("u", 2, "lost"), "request u, attempt 2: over, its worker is silent or gone"),
    (
        Over("u", 2, "dropped"),
        "request u, attempt 2: over, its worker has thrown the result away",
    ),
    (Round("u", 3), "request u: a new round from attempt 3 on"),
    (
        Round("u", 3, 2),
        "request u: a new round from attempt 3 on; 2 runs have ended their process",
    ),
    (
        Round("u", 3, 0, 2, "failure", 2, {"exc_type_names": ["E"], "exception_str": "x"}, 1.54),
        (
            "request u: a new round from attempt 3 on, retry 2, in 1.5 s, after attempt 2 failed: "
            "E: x"
        ),
    ),
    (
        Round("u", 3, 0, 2, "limit", 2),
        ("request u: a new round from attempt 3 on, retry 2, after attempt 2 failed"),
    ),
    (Cancelled("u"), "request u: cancelled"),
    (Cancelled("u", force=True), "request u: cancelled by force"),
    (Ended("u", "success", [1, "ä"], "hare"), 'request u: success, by hare: [1,"\\u00e4"]'),
    (Ended("u", "success"), "request u: success: null"),
    (Ended("u", "failure", {"odd": 1}), "request u: failure: failure: "),
    (Ended("u", "failure", "odd"), "request u: failure"),
    (
        Ended("u", "error", {"type": "WorkerLost", "message": "gone"}),
        "request u: error: WorkerLost: gone",
    ),
    (Ended("u", "cancelled"), "request u: cancelled"),
    (
        Ended("u", "error", {"type": "PoisonTask", "message": "x"}, "hare", dead=True),
        "request u: error, by hare, a dead letter: PoisonTask: x",
    ),
    (Discarded("u"), "request u: dropped from the dead letters"),
    (
        Submitted("v", "t", None, ["a"], retries={"max": 3}, repeats="u"),
        "request v submitted: t (retries 3, repeats u)",
    ),
    (
        WorkerSeen("hare", "native", "0f", ["a", "b"], 4),
        "worker hare (0f) is there, topics a, b, 4 slots",
    ),
    (WorkerSeen("hare", "taskflow", None, ["a"]), "worker hare is there, topics a"),
    (WorkerGone("hare", "0f"), "worker hare (0f) is gone"),
    (JobIssued("j", "align reads", 7), "job j issued: align reads, batch id 7"),
    (JobPlaced(7, "4711", "Slurm"), "batch id 7: 4711 at Slurm"),
    (JobStarted(7), "batch id 7: runs"),
    (JobKilled(7), "batch id 7: killed"),
    (JobCompleted("j", "align", -9), "job j came back: align, exit code -9"),
    (JobUpdated("j", 1), "job j is to be looked at, status 1"),
    (JobFailed("j", "align"), "job j has failed for good: align"),
    (JobMissing("j"), "job j is missing in the batch system"),
    (JobAnnotated("j", "queue", "x" * 200), f"job j: queue = {'x' * SHOWN}…"),
    (QueueSize(3), "queue: 3 jobs"),
    (ClusterSize("t4g", 3), "machines of type t4g: 3 are there"),
    (ClusterDesired("t4g", 4), "machines of type t4g: 4 are wanted"),
]


@pytest.mark.parametrize(("event", "words"), SENTENCES, ids=[words for _, words in SENTENCES])
def test_each_event_is_a_sentence(event: Event, words: str) -> None:
    assert sentence(event) == words


def test_the_table_above_has_every_event() -> None:
    assert {type(event) for event, _ in SENTENCES} == set(EVENTS.values())


def test_a_failure_says_what_was_raised() -> None:
    ended = Ended("u", "failure", from_exception(ValueError("no such file")), "hare")
    assert sentence(ended) == "request u: failure, by hare: ValueError: no such file"


def test_what_is_long_is_shortened_and_what_a_terminal_would_obey_is_shown() -> None:
    assert len(sentence(Ended("u", "success", "x" * 10**6))) < SHOWN + 50
    assert sentence(Cancelled("\x1b[31mu\n")) == r"request \x1b[31mu\n: cancelled"
    assert printable("ä ö\t\u202e") == r"ä ö\t\u202e"


@given(any_event)
@settings(deadline=None)
def test_any_event_is_a_sentence_on_one_line(event: Event) -> None:
    """Whatever peers have put into it."""
    assert sentence(event).isprintable()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((-1.0, "0 s"), (0.4, "0 s"), (119.0, "119 s"), (121.0, "2 min"), (7000.0, "117 min")),
        *((7300.0, "2 h"), (170_000.0, "47 h"), (180_000.0, "2 days")),
    ],
)
def test_a_duration_is_rough(seconds: float, words: str) -> None:
    assert duration(seconds) == words
