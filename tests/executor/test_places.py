"""Which topics and queues an executor has."""

from __future__ import annotations

import pytest

from executor.places import check_topics, queues_of, topics_of
from protocol.errors import ConfigurationError


def test_private_workers_have_a_topic_of_their_own_which_comes_first() -> None:
    assert topics_of(("a", "b"), "me", 2) == ("private.me", "a", "b")
    assert topics_of(("a",), "me", 0) == ("a",)
    assert topics_of(check_topics([], ["native"], 1), "me", 1) == ("private.me",)


@pytest.mark.parametrize(
    ("topics", "dialects", "workers", "words"),
    [
        ([], ["native"], 0, "needs a topic"),
        (["a"], [], 0, "choose from"),
        (["a"], ["esperanto"], 0, "choose from"),
        (["a"], ["taskflow"], 1, "add 'native'"),
        (["a b"], ["native"], 0, "topic 'a b'"),
    ],
)
def test_what_cannot_be_is_refused(
    topics: list[str], dialects: list[str], workers: int, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_topics(topics, dialects, workers)  # type: ignore[arg-type]


def test_an_executor_that_is_called_as_one_of_its_topics_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is one of its topics"):
        topics_of(("a", "me"), "me", 0)


def test_answers_have_a_queue_in_each_dialect_and_hellos_one_in_ours() -> None:
    replies, hellos = queues_of(["native", "taskflow"], "ex", "me")
    assert [queue.name for queue in replies] == ["ex.native_me", "ex_me"]
    assert [queue.name for queue in hellos] == ["ex.native_me.hello"]


def test_an_exchange_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="exchange"):
        queues_of(["native"], "a b", "me")
