"""The names of jobs and of messages."""

from __future__ import annotations

import pytest

from bus.news.toil import Names, get_job_kind
from bus.news.toil.messages import MESSAGES, topic_of
from tests.bus.news.toil.samples import MESSAGES as LEADER


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (Names("job", "unit", "display", "stats", "id"), "unit"),
        (Names("job", "", "display", "stats", "id"), "job"),
        (Names("", "", "display", "stats", "id"), "display"),
        (Names("", "", "", "stats", "id"), "Unknown Job"),
    ],
)
def test_the_kind_of_a_job_is_the_first_name_it_has(names: Names, kind: str) -> None:
    assert get_job_kind(names) == kind


def test_topics_are_those_a_real_leader_writes() -> None:
    """And a class of somebody else's is called by where it is."""
    topics = {topic_of(message) for message in MESSAGES}
    assert {line.split("\t")[0] for line in LEADER.read_text().splitlines()} <= topics
    assert len(topics) == 10
    assert topic_of(Names) == "bus.news.toil.messages.Names"
