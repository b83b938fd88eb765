"""What job events come to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.history import Entry, History
from protocol.job_status import JOB_STATES, MAX_EARLY, ClusterStatus, Jobs, JobStatus, JobTry
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
from tests.protocol.happened import job_events

ISSUED = JobIssued("j", "align", 1)


def fold(*events: JobEvent) -> Jobs:
    """Stamped 1.0, 2.0 and so on."""
    jobs = Jobs()
    for stamp, event in enumerate(events, 1):
        jobs.apply(event, float(stamp))
    return jobs


STATES: list[tuple[list[JobEvent], str]] = [
    ([JobUpdated("j", 0)], "WAITING"),
    ([JobAnnotated("j", "a", "b")], "WAITING"),
    ([ISSUED], "PENDING"),
    ([ISSUED, JobPlaced(1, "4711", "Slurm")], "PENDING"),
    ([ISSUED, JobStarted(1)], "RUNNING"),
    ([JobStarted(1), ISSUED], "RUNNING"),
    ([ISSUED, JobStarted(1), JobCompleted("j", "align", 0)], "SUCCESS"),
    ([ISSUED, JobUpdated("j", 0)], "SUCCESS"),
    ([ISSUED, JobCompleted("j", "align", 1)], "FAILURE"),
    ([ISSUED, JobCompleted("j", "align", 1), JobIssued("j", "align", 2)], "PENDING"),
    ([ISSUED, JobCompleted("j", "align", 0), JobFailed("j", "align")], "FAILURE"),
    ([ISSUED, JobFailed("j", "align")], "FAILURE"),
    ([ISSUED, JobFailed("j", "align"), JobIssued("j", "align", 2)], "PENDING"),
    ([ISSUED, JobMissing("j")], "PENDING"),
    ([ISSUED, JobKilled(1)], "FAILURE"),
    ([JobCompleted("j", "align", 0)], "SUCCESS"),
]


@pytest.mark.parametrize(("events", "state"), STATES)
def test_each_sequence_comes_to_this_state(events: list[JobEvent], state: str) -> None:
    jobs = fold(*events)
    assert jobs.by_name["j"].state == state
    assert jobs.open_jobs() == (
        [jobs.by_name["j"]] if state in ("WAITING", "PENDING", "RUNNING") else []
    )


def test_the_table_above_has_every_state() -> None:
    assert {state for _, state in STATES} == set(JOB_STATES)


def test_a_job_keeps_each_of_its_tries() -> None:
    """The second one has no external id yet, and not the first one's."""
    jobs = fold(
        *(ISSUED, JobPlaced(1, "4711", "Slurm"), JobStarted(1), JobMissing("j")),
        *(JobCompleted("j", "align", 1), JobIssued("j", "align", 2), JobKilled(2)),
    )
    assert jobs.by_name == {
        "j": JobStatus(
            "j",
            1.0,
            "align",
            [
                JobTry(1, 1.0, "4711", "Slurm", 3.0, 5.0, 1, False, True),
                JobTry(2, 6.0, None, None, None, 7.0, None, True),
            ],
        )
    }


def test_what_is_said_of_a_batch_id_before_it_is_issued_is_kept() -> None:
    jobs = fold(JobPlaced(1, "4711", "Slurm"), ISSUED)
    assert jobs.by_name["j"].tries == [JobTry(1, 2.0, "4711", "Slurm")]


def test_of_batch_ids_that_are_never_issued_the_newest_are_kept() -> None:
    jobs = fold(*(JobPlaced(number, "x", "Slurm") for number in range(MAX_EARLY + 1)))
    jobs.apply(JobIssued("old", "align", 0), 0.0)
    jobs.apply(JobIssued("new", "align", MAX_EARLY), 0.0)
    tries = [job.tries[0].external_id for job in jobs.by_name.values()]
    assert tries == [None, "x"]


def test_the_last_annotation_of_a_name_counts() -> None:
    jobs = fold(
        JobAnnotated("j", "a", "1"), JobAnnotated("j", "b", "2"), JobAnnotated("j", "a", "3")
    )
    assert jobs.by_name["j"].annotations == {"a": "3", "b": "2"}


def test_queue_and_machines_are_as_they_were_said_last() -> None:
    jobs = fold(
        *(QueueSize(3), QueueSize(2), ClusterSize("t4g", 1), ClusterDesired("t4g", 5)),
        ClusterDesired("m5", 2),
    )
    assert jobs.queue_size == 2
    assert jobs.clusters == {"t4g": ClusterStatus(1, 5), "m5": ClusterStatus(None, 2)}


_some = st.lists(job_events(st.sampled_from(["a", "b"]), st.integers(1, 3)), max_size=20)


@given(_some)
@settings(deadline=None)
def test_a_history_folds_them_and_any_sequence_fits(events: list[JobEvent]) -> None:
    history = History()
    for number, event in enumerate(events, 1):
        history.apply(Entry(number, float(number), event))
    assert history.problems == []
    assert history.jobs.by_name == fold(*events).by_name
    assert all(job.state in JOB_STATES for job in history.jobs.by_name.values())
