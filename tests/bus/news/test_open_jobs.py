"""Which lines about jobs go along into the next file of a journal."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news import Journal, read
from bus.news.open_jobs import OpenJobs
from protocol.history import Entry, History
from protocol.job_status import Jobs
from protocol.jobs import (
    ClusterSize,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobPlaced,
    QueueSize,
)
from tests.protocol.happened import job_events


def kept(events: list[JobEvent]) -> list[JobEvent]:
    """What goes along, in its order."""
    jobs = OpenJobs()
    for where, event in enumerate(events):
        jobs.note(event, where)
    return [events[where] for where in sorted(set(jobs.needed()))]


def test_a_job_goes_along_until_it_has_succeeded_or_failed_for_good() -> None:
    early, issued = JobPlaced(1, "4711", "Slurm"), JobIssued("j", "align", 1)
    failed, again = JobCompleted("j", "align", 1), JobIssued("j", "align", 2)
    assert kept([early, issued, failed, again]) == [early, issued, failed, again]
    for end in (JobCompleted("j", "align", 0), JobFailed("j", "align")):
        assert kept([early, issued, failed, again, end]) == []


def test_what_is_said_late_of_a_job_that_has_ended_stays_behind() -> None:
    """A leader hears of the exit before it hears of the scheduler's number."""
    end, late = JobCompleted("j", "align", 0), JobPlaced(1, "4711", "Slurm")
    assert kept([JobIssued("j", "align", 1), end, late]) == []
    again = JobIssued("j", "align", 1)
    assert kept([JobIssued("j", "align", 1), end, again, late]) == [again, late]


def test_of_sizes_the_last_go_along() -> None:
    sizes: list[JobEvent] = [QueueSize(1), ClusterSize("a", 1), ClusterSize("b", 1)]
    assert kept([*sizes, QueueSize(2), ClusterSize("a", 2)]) == [
        *(ClusterSize("b", 1), QueueSize(2), ClusterSize("a", 2))
    ]


@given(st.lists(job_events(st.sampled_from(["a", "b"]), st.integers(1, 4)), max_size=25))
@settings(deadline=None)
def test_what_goes_along_says_the_same_of_every_job_that_was_issued_and_is_open(
    events: list[JobEvent],
) -> None:
    """But for what was said of a job before it was issued for the first time."""
    all_jobs, some_jobs = Jobs(), Jobs()
    for event in events:
        all_jobs.apply(event, 1.0)
    for event in kept(events):
        some_jobs.apply(event, 1.0)
    assert some_jobs.queue_size == all_jobs.queue_size
    assert some_jobs.clusters == all_jobs.clusters
    ended = {
        event.job
        for event in events
        if isinstance(event, JobFailed)
        or (isinstance(event, JobCompleted) and event.exit_code == 0)
    }
    for job in all_jobs.open_jobs():
        if job.tries and job.job not in ended:
            assert [each.issued for each in some_jobs.by_name[job.job].tries] == [
                each.issued for each in job.tries
            ]
            assert some_jobs.by_name[job.job].state == job.state


def test_open_jobs_survive_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    with Journal(path, "x", segment_bytes=4000) as journal:
        journal.append([JobPlaced(1, "4711", "Slurm"), JobIssued("open", "align", 1)])
        for number in range(2, 60):
            journal.append(
                [JobIssued(f"j{number}", "align", number), JobCompleted(f"j{number}", "align", 0)]
            )
    assert path.with_name("x.journal.1").exists()
    history = History()
    for found in read(path, older=False):
        assert isinstance(found, Entry)
        history.apply(found)
    (job,) = history.jobs.open_jobs()
    assert (job.job, job.tries[0].external_id) == ("open", "4711")
    assert len(history.jobs.by_name) < 50
