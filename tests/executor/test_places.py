"""Which topics and queues an executor has."""

from __future__ import annotations

import pytest

from executor.places import queues_of, topics_of
from protocol.errors import ConfigurationError


def test_private_workers_have_a_topic_of_their_own_which_comes_first() -> None:
    assert topics_of(["a", "b"], "me", ["native"], 2) == ("private.me", "a", "b")
    assert topics_of(["a"], "me", ["taskflow"], 0) == ("a",)
    assert topics_of([], "me", ["native"], 1) == ("private.me",)


@pytest.mark.parametrize(
    ("topics", "name", "dialects", "workers", "words"),
    [
        ([], "me", ["native"], 0, "needs a topic"),
        (["me"], "me", ["native"], 0, "is one of its topics"),
        (["a"], "me", [], 0, "choose from"),
        (["a"], "me", ["esperanto"], 0, "choose from"),
        (["a"], "me", ["taskflow"], 1, "add 'native'"),
        (["a b"], "me", ["native"], 0, "topic 'a b'"),
    ],
)
def test_what_cannot_be_is_refused(
    topics: list[str], name: str, dialects: list[str], workers: int, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        topics_of(topics, name, dialects, workers)  # type: ignore[arg-type]


def test_the_replies_of_an_executor_with_a_name_are_kept_for_its_next_life() -> None:
    queues, passing = queues_of(["native", "taskflow"], "ex", "me", keeps_replies=True)
    assert [queue.name for queue in queues] == ["ex.native_me", "ex.native_me.hello", "ex_me"]
    assert [queue.name for queue in passing] == ["ex.native_me.hello"]
    queues, passing = queues_of(["native", "taskflow"], "ex", "me", keeps_replies=False)
    assert {queue.name for queue in passing} == {queue.name for queue in queues}


def test_an_exchange_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="exchange"):
        queues_of(["native"], "a b", "me", keeps_replies=False)
