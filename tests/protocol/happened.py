"""What may have happened, as Hypothesis strategies: any event, and events that hang together."""

from __future__ import annotations

from hypothesis import strategies as st

from protocol.events import (
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
from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobAnnotated,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobKilled,
    JobMissing,
    JobPlaced,
    JobStarted,
    JobUpdated,
    QueueSize,
)
from tests.protocol.arbitrary import finite_floats, json_values, texts

_seconds = st.none() | finite_floats | st.integers(0, 10**6)
_numbers = st.integers(0, 10**20)
_names = texts | st.sampled_from(["hare", "tortoise"])
_dialects = st.sampled_from(["native", "taskflow"])
_few = st.sampled_from(["u1", "u2", "u3", "u4", "u5"])

_ints = st.integers(-(10**20), 10**20)


def job_events(
    jobs: st.SearchStrategy[str], batch_ids: st.SearchStrategy[int]
) -> st.SearchStrategy[JobEvent]:
    """Any event about these jobs and batch ids."""
    codes = st.integers(-1, 255)
    return st.one_of(
        st.builds(JobIssued, jobs, texts, batch_ids),
        st.builds(JobPlaced, batch_ids, texts, texts),
        st.builds(JobStarted, batch_ids),
        st.builds(JobKilled, batch_ids),
        st.builds(JobCompleted, jobs, texts, codes),
        st.builds(JobUpdated, jobs, codes),
        st.builds(JobFailed, jobs, texts),
        st.builds(JobMissing, jobs),
        st.builds(JobAnnotated, jobs, texts, texts),
        st.builds(QueueSize, _ints),
        st.builds(ClusterSize, _names, _ints),
        st.builds(ClusterDesired, _names, _ints),
    )


#: Each event with anything that it may say.
any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(Opened, texts, _numbers),
    st.just(Closed()),
    st.builds(
        Submitted,
        *(texts, texts, json_values, st.lists(texts, max_size=3), st.booleans(), _seconds),
        st.sampled_from(["alo", "amo"]),
        *(_seconds, _seconds, st.none() | texts, _seconds, st.integers(-100, 100)),
        *(st.none() | texts, st.none() | st.integers(1, 9), json_values),
        st.none() | texts,
    ),
    st.builds(
        Dispatched,
        *(texts, _numbers, _numbers, _dialects, texts, texts),
        *(st.none() | texts, st.none() | texts, st.none() | texts, st.none() | _numbers),
    ),
    st.builds(Running, texts, _numbers),
    st.builds(Progress, texts, finite_floats, json_values),
    st.builds(Over, texts, _numbers, st.sampled_from(["never", "lost", "dropped"])),
    st.builds(
        Round,
        *(texts, _numbers, _numbers, _numbers),
        st.sampled_from(["", "failure", "limit", "crash", "stopped"]),
        *(st.none() | _numbers, json_values, finite_floats),
    ),
    st.builds(Cancelled, texts, st.booleans()),
    st.builds(
        Ended,
        *(texts, st.sampled_from(["success", "failure", "error", "cancelled"]), json_values),
        *(st.none() | texts, st.booleans()),
    ),
    st.builds(Discarded, texts),
    st.builds(
        WorkerSeen,
        *(texts, _dialects, st.none() | texts, st.lists(texts, max_size=3)),
        st.none() | _numbers,
    ),
    st.builds(WorkerGone, texts, st.none() | texts),
    job_events(texts, _ints),
)

_small = st.integers(1, 4)
_about_few: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Dispatched,
        *(_few, _small, _small, st.just("native"), st.just("default"), _names),
        *(st.just("0" * 16), st.just("inbox"), st.just("1:1"), st.just(5)),
    ),
    st.builds(Running, _few, _small),
    st.builds(Progress, _few, st.sampled_from([0.0, 0.5, 1.0])),
    st.builds(Over, _few, _small, st.sampled_from(["never", "lost", "dropped"])),
    st.builds(Round, _few, _small, _small, st.integers(0, 2)),
    st.builds(Cancelled, _few, st.booleans()),
    st.builds(
        Ended,
        *(_few, st.sampled_from(["success", "failure", "error", "cancelled"]), json_values),
        *(st.none(), st.booleans()),
    ),
    st.builds(Discarded, _few),
    st.builds(WorkerSeen, _names, st.just("native"), st.just("0" * 16), st.just(["default"])),
    st.builds(WorkerGone, _names, st.just("0" * 16)),
    st.just(Closed()),
    job_events(_names, _small),
)


@st.composite
def some_events(draw: st.DrawFn) -> list[Event]:
    """Up to five requests, each submitted once, and whatever may be said about them, in any order.

    Much of it does not fit; what comes before its request was submitted is the least of it.
    """
    events: list[Event] = draw(st.lists(_about_few, max_size=25))
    for uuid in draw(st.lists(_few, unique=True, max_size=5)):
        key = draw(st.none() | st.sampled_from(["k1", "k2"]))
        submitted = Submitted(
            *(uuid, "t", draw(json_values), ["default"]), key=key, repeats=draw(st.none() | _few)
        )
        events.insert(draw(st.integers(0, len(events))), submitted)
    return events
