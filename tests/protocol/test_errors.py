"""The tree that is drawn is the tree that is there."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from protocol import errors
from protocol.errors import (
    IllegalTransition,
    JournalError,
    JournalLocked,
    MessageRefused,
    RequestEnded,
    RequestTimeout,
    TasklineError,
    ValueRefused,
    WaitTimeout,
    WorkerLost,
)

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and value.__module__ == errors.__name__
}

#: A request that came to its end without a result or an exception of the task's own.
ENDED = [kind for kind in CLASSES.values() if issubclass(kind, RequestEnded)]

#: A branch of the drawing: what is left of it, the class, the rest of the line.
_BRANCH = re.compile(r"^(?P<left>[ │]*)[├└]── (?P<name>\w+) +(?P<rest>.*)$")
#: The builtin it is as well, if the line ends with one.
_BUILTIN = re.compile(r"\((?P<name>\w+)\)$")


def drawn() -> dict[str, tuple[str, ...]]:
    """The drawing as ``{class: (names of its bases)}``."""
    doc = inspect.getdoc(errors)
    assert doc is not None
    bases: dict[str, tuple[str, ...]] = {"TasklineError": ("Exception",)}
    above = ["TasklineError"]  # the way from the root to the line before
    for line in doc.splitlines():
        branch = _BRANCH.match(line.removeprefix("    "))
        if branch is None:
            continue
        depth = len(branch["left"]) // 4 + 1
        builtin = _BUILTIN.search(branch["rest"])
        bases[branch["name"]] = (above[depth - 1], *([builtin["name"]] if builtin else []))
        above[depth:] = [branch["name"]]
    return bases


def test_the_drawing_equals_the_classes() -> None:
    """Every class with its bases, and no class that is not there."""
    assert drawn() == {
        name: tuple(base.__name__ for base in kind.__bases__) for name, kind in CLASSES.items()
    }


def test_the_drawing_has_every_branch() -> None:
    """A branch drawn in some other way would be missed above if its class had gone as well."""
    doc = inspect.getdoc(errors) or ""
    assert doc.count("──") == len(drawn()) - 1


def test_all_of_them_are_exported_in_order() -> None:
    """And nothing else."""
    assert sorted(CLASSES) == errors.__all__


@pytest.mark.parametrize("kind", CLASSES.values(), ids=str)
def test_every_class_says_when_it_comes(kind: type[TasklineError]) -> None:
    """A docstring of its own."""
    assert issubclass(kind, TasklineError)
    assert len((kind.__dict__["__doc__"] or "").split()) >= 5


@pytest.mark.parametrize("kind", [RequestTimeout, WaitTimeout])
def test_time_outs_are_time_outs(kind: type[TasklineError]) -> None:
    """``except TimeoutError`` is enough for who does not know us, and the words are kept."""
    assert issubclass(kind, TimeoutError)
    assert str(kind("request 6f1 expired after 60.0 s")) == "request 6f1 expired after 60.0 s"


def test_how_a_request_ended_says_which() -> None:
    """Each has the uuid; nothing else of ours ends one but expiry and the task's own failure."""
    assert {kind.__name__ for kind in ENDED} == {
        "RequestEnded",
        "TaskCancelled",
        "TimeLimitExceeded",
        "MemoryLimitExceeded",
        "WorkerLost",
        "ResultLost",
        "PoisonTask",
    }
    assert WorkerLost("fell silent").request_uuid == ""


def test_a_locked_journal_is_a_journal_that_cannot_be_written() -> None:
    """Who cannot write it does not have to know why."""
    assert issubclass(JournalLocked, JournalError)
    assert JournalLocked("in use").holder == ""


def test_a_request_nobody_knows_is_a_failed_look_up() -> None:
    """``except LookupError`` is enough for who does not know us."""
    assert issubclass(errors.UnknownRequest, LookupError)


def test_nothing_else_is_a_time_out() -> None:
    """So that ``except TimeoutError`` means what it says."""
    late = {name for name, kind in CLASSES.items() if issubclass(kind, TimeoutError)}
    assert late == {"RequestTimeout", "WaitTimeout", "AcquisitionTimeout"}


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (ValueRefused("argument 'x': a set", "argument 'x'"), ("path",)),
        (MessageRefused("schema", "$.state: 1 is no state"), ("reason", "detail")),
        (IllegalTransition("WAITING", "SUCCESS"), ("state", "event")),
        (RequestTimeout("expired", request_uuid="6f1", state="PENDING"), ("request_uuid", "state")),
        (JournalLocked("ex1.journal is written by another", holder="pid 17"), ("holder",)),
        (
            errors.InsufficientSystemResources(
                "too large", resource="cores", requested=9.0, available=8.0, source="w", hint="h"
            ),
            ("resource", "requested", "available", "source", "hint"),
        ),
        (
            errors.AcquisitionTimeout("late", resource="cores", requested=2, available=1),
            ("resource", "requested", "available"),
        ),
        *((kind("said", request_uuid="6f1"), ("request_uuid",)) for kind in ENDED),
        *((kind("said"), ()) for kind in CLASSES.values() if "__init__" not in kind.__dict__),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, TasklineError) else "",
)
def test_an_error_survives_a_pickle(error: TasklineError, attributes: tuple[str, ...]) -> None:
    """A user's own processes pass them on; words and subject arrive."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    for attribute in attributes:
        assert getattr(copy, attribute) == getattr(error, attribute) != ""
