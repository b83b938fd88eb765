"""What a task says reaches whoever runs it, and outside of a worker nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from protocol.errors import ValueRefused
from worker import progress, task_event
from worker.context import telling


def test_outside_of_a_worker_nothing_happens_but_the_checks() -> None:
    progress(0.5, file="a.png")
    task_event("saved", path="a.png")
    with pytest.raises(ValueRefused, match=r"task event 'saved'.paths: a set"):
        task_event("saved", paths={1})


def test_what_is_said_arrives_with_its_details_as_json() -> None:
    told: list[tuple[str, str]] = []
    with telling(lambda *event: told.append(event)):
        progress(0.25, file="a.png")
        task_event("saved", size=(1, 2))
    assert told == [
        ("update_progress", '{"file":"a.png","progress":0.25}'),
        ("saved", '{"size":[1,2]}'),
    ]


@pytest.mark.parametrize(("said", "arrives"), [(-3, "0.0"), (1, "1.0"), (float("inf"), "1.0")])
def test_a_fraction_is_moved_between_zero_and_one(said: float, arrives: str) -> None:
    told: list[tuple[str, str]] = []
    with telling(lambda *event: told.append(event)):
        progress(said)
    assert told == [("update_progress", f'{{"progress":{arrives}}}')]


def test_a_fraction_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueRefused, match="not finite"):
        progress(float("nan"))


@pytest.mark.parametrize("name", ["", None, 5])
def test_an_event_needs_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        task_event(name)


def test_details_have_room_for_as_many_levels_as_an_answer_leaves() -> None:
    value: list[object] = []
    for _ in range(196):
        value = [value]
    task_event("deep", value=value)
    with pytest.raises(ValueRefused, match="198 levels"):
        task_event("deep", value=[value])


def test_it_works_in_tasks_of_an_event_loop_and_in_its_threads() -> None:
    told: list[str] = []

    async def speak() -> None:
        await asyncio.gather(*(asyncio.to_thread(progress, n / 4) for n in range(3)))

    with telling(lambda _type, details: told.append(details)):
        asyncio.run(speak())
    assert sorted(told) == ['{"progress":0.0}', '{"progress":0.25}', '{"progress":0.5}']


def test_what_a_bare_thread_says_goes_nowhere() -> None:
    told: list[tuple[str, str]] = []
    with telling(lambda *event: told.append(event)):
        thread = threading.Thread(target=progress, args=(0.5,))
        thread.start()
        thread.join()
    inherits = bool(getattr(__import__("sys").flags, "thread_inherit_context", 0))
    assert bool(told) is inherits


def test_what_is_said_after_the_end_goes_nowhere() -> None:
    told: list[tuple[str, str]] = []
    with telling(lambda *event: told.append(event)) as tell:
        pass
    tell("late", "{}")
    progress(0.5)
    assert told == []
