"""A journal is never used from inside itself, whoever's code runs there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from executor.pen import Pen
from protocol.errors import JournalError
from protocol.events import Closed, Event

DEADLINE = 30.0  # seconds


class Paper:
    """A journal with a lock, in the middle of which other code may run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lines: list[Event] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def append(self, events: Sequence[Event], /) -> None:
        with self.lock:
            self.lines += events
            self.meanwhile()

    def find(self, uuid: str, /) -> None:
        with self.lock:
            self.meanwhile()

    def find_key(self, key: str, /) -> str:
        with self.lock:
            self.meanwhile()
            return f"of {key}"


@pytest.fixture
def paper() -> Paper:
    return Paper()


def test_what_is_asked_of_it_is_done(paper: Paper) -> None:
    pen = Pen(paper)
    pen.append([Closed()])
    assert paper.lines == [Closed()]
    assert pen.find("u1") is None
    assert pen.find_key("key") == "of key"


@pytest.mark.parametrize("inside", ["append", "find", "find_key"])
@pytest.mark.parametrize("outside", ["append", "find", "find_key"])
def test_a_signal_handler_or_a_finalizer_in_the_middle_of_it_is_refused(
    paper: Paper, inside: str, outside: str
) -> None:
    """Instead of waiting for a lock that its own thread holds; what was being done goes on."""
    pen = Pen(paper)
    refused: list[JournalError] = []
    uses: dict[str, Callable[[], object]] = {
        "append": lambda: pen.append([Closed()]),
        "find": lambda: pen.find("u1"),
        "find_key": lambda: pen.find_key("key"),
    }

    def interrupt() -> None:
        with pytest.raises(JournalError, match="signal handler or a finalizer") as found:
            uses[inside]()
        refused.append(found.value)

    paper.meanwhile = interrupt
    uses[outside]()
    assert len(refused) == 1
    paper.meanwhile = lambda: None
    uses[inside]()


def test_another_thread_waits_for_its_turn(paper: Paper) -> None:
    pen = Pen(paper)
    begun = threading.Event()
    other = threading.Thread(target=lambda: (begun.set(), pen.append([Closed()])))

    def meanwhile() -> None:
        paper.meanwhile = lambda: None
        other.start()
        assert begun.wait(DEADLINE)

    paper.meanwhile = meanwhile
    pen.append([Closed()])
    other.join(DEADLINE)
    assert paper.lines == [Closed(), Closed()]


def test_after_an_error_it_can_be_used_again(paper: Paper) -> None:
    pen = Pen(paper)

    def fail() -> None:
        raise JournalError("disk full")

    paper.meanwhile = fail
    for _ in range(2):
        with pytest.raises(JournalError, match="disk full"):
            pen.append([Closed()])
