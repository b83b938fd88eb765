"""Toil's messages as events of ours, and back."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings

from bus.news import toil
from protocol.errors import MessageRefused
from protocol.events import to_fields
from protocol.jobs import JobStarted
from protocol.values import dumps
from tests.bus.news.toil.samples import any_message


class Reason(IntEnum):
    MEMLIMIT = 6


@given(any_message)
@settings(deadline=None)
def test_every_message_of_toils_is_an_event_of_ours(message: Any) -> None:
    event = toil.to_event(message)
    assert event is not None
    assert toil.to_message(event) == message


def test_what_the_other_does_not_have_is_none() -> None:
    assert toil.to_message(JobStarted(1)) is None
    assert toil.to_event(("a", "b")) is None


def test_an_enum_becomes_the_number_that_a_journal_can_hold() -> None:
    event = toil.to_event(toil.JobCompletedMessage("a", "j", Reason.MEMLIMIT))
    assert event is not None
    assert dumps(to_fields(event)) == '{"job":"j","kind":"a","exit_code":6}'


def test_a_field_that_cannot_be_is_refused() -> None:
    with pytest.raises(MessageRefused, match="exit_code=None"):
        toil.to_event(toil.JobCompletedMessage("a", "j", None))  # type: ignore[arg-type]
