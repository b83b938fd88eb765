"""When a list has been taken: confirms counted, in whatever way RabbitMQ gives them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bus.wire import confirms, deadlines
from bus.wire.confirms import Confirms, NotTaken
from bus.wire.testing import ManualClock


class Line:
    """As much of py-amqp's channel and kombu's connection as confirms have to do with.

    Each drain does the next of what it was given to do.
    """

    def __init__(self, *steps: Callable[[Any], object]) -> None:
        self.events: dict[str, set[Callable[..., object]]] = defaultdict(set)
        self.is_blocked = False
        self.transport = self
        self.beats = 0
        self._steps = list(steps)

    def confirm_select(self) -> None:
        """Nothing to be seen."""

    def drain_events(self, timeout: float) -> None:
        """One step."""
        if not self._steps:
            raise TimeoutError
        self._steps.pop(0)(self)

    def heartbeat_check(self) -> None:
        """Counted."""
        self.beats += 1

    def say(self, event: str, *arguments: object) -> None:
        """As RabbitMQ does."""
        for each in self.events[event]:
            each(*arguments)


def ack(tag: int, multiple: bool = False) -> Callable[[Line], None]:
    """A confirm."""
    return lambda line: line.say("basic_ack", tag, multiple)


def nack(tag: int) -> Callable[[Line], None]:
    """A refusal."""
    return lambda line: line.say("basic_nack", tag, False)


def returned(key: str) -> Callable[[Line], None]:
    """A mandatory message that found no queue."""
    return lambda line: line.say("basic_return", None, "E", key, None)


def wait(line: Line, sent: int, already: int = 0, waits: list[bool] | None = None) -> object:
    """Publish so many, then wait."""
    counted = Confirms(line)
    counted.sent = sent
    return counted.wait(line, already, [].append if waits is None else waits.append)


def test_one_by_one_all_at_once_and_in_any_order() -> None:
    assert wait(Line(ack(1), ack(2), ack(3)), 3) == set()
    assert wait(Line(ack(3, True)), 3) == set()
    assert wait(Line(ack(3), ack(1), ack(2)), 3) == set()
    assert wait(Line(ack(2, True), ack(3)), 3) == set()


def test_what_found_no_queue_is_told() -> None:
    assert wait(Line(returned("a"), ack(1), ack(2)), 2) == {("E", "a")}


def test_of_a_list_that_is_refused_the_beginning_that_was_taken_is_known() -> None:
    with pytest.raises(NotTaken, match="refused 1") as caught:
        wait(Line(ack(1), ack(2), nack(3)), 5)
    assert caught.value.taken == 2


def test_of_a_later_list_the_beginning_counts_from_its_own_first() -> None:
    with pytest.raises(NotTaken) as caught:
        wait(Line(ack(10, True), ack(12), nack(11)), 15, already=10)
    assert caught.value.taken == 0


def test_what_found_no_queue_is_not_taken_although_it_is_confirmed() -> None:
    with pytest.raises(NotTaken) as caught:
        wait(Line(returned("a"), ack(1), ack(2), nack(3)), 5)
    assert caught.value.taken == 0


def test_a_broker_that_falls_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "CONFIRM_TIMEOUT", 0.05)
    line = Line(ack(1))
    with pytest.raises(NotTaken, match="4 messages were not confirmed") as caught:
        wait(line, 5)
    assert caught.value.taken == 1
    assert line.beats > 1


def test_each_confirm_gives_the_rest_as_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow line is no silent one: 200 messages, each of which takes almost the whole time."""
    clock = ManualClock()
    monkeypatch.setattr(confirms, "time", SimpleNamespace(monotonic=clock))

    def slowly(tag: int) -> Callable[[Line], None]:
        def step(line: Line) -> None:
            clock.advance(deadlines.CONFIRM_TIMEOUT - 1.0)
            line.say("basic_ack", tag, False)

        return step

    assert wait(Line(*(slowly(n) for n in range(1, 201))), 200) == set()


def test_a_broker_that_says_it_has_no_room_is_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "CONFIRM_TIMEOUT", 0.0)

    def block(line: Line) -> None:
        line.is_blocked = True

    def unblock(line: Line) -> None:
        line.is_blocked = False
        line.say("basic_ack", 1, False)

    waits: list[bool] = []
    assert wait(Line(block, lambda _: None, lambda _: None, unblock), 1, waits=waits) == set()
    assert waits == [True, True, True, False]

    monkeypatch.setattr(deadlines, "BLOCKED_TIMEOUT", 0.0)  # but not for ever
    with pytest.raises(NotTaken, match="says it is out of memory or disk"):
        wait(Line(block), 1)
