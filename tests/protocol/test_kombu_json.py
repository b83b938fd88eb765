"""What taskflow's peers can read."""

from __future__ import annotations

import json

import pytest
from kombu.utils import json as kombu_json

from protocol.errors import ValueRefused
from protocol.failure import from_exception
from protocol.kombu_json import check, is_readable, readable_failure

VAST = 10**4300
FALSE_KIND = {"__type__": "person", "__value__": 1}


@pytest.mark.parametrize(
    "value",
    [None, True, 1.5, "text", [], {}, VAST - 1, {"__type__": 1}, {**FALSE_KIND, "more": 2}],
    ids=lambda value: type(value).__name__,
)
def test_what_kombu_reads_back_equal_may_be_sent(value: object) -> None:
    check(value, "result")
    assert kombu_json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("value", [VAST, -VAST, FALSE_KIND], ids=["vast", "-vast", "kind"])
def test_what_ends_a_taskflow_process_is_refused_with_its_path(value: object) -> None:
    with pytest.raises(ValueRefused, match=r"result\['a'\]\[1\]"):
        check({"a": [0, value]}, "result")
    assert not is_readable([value])


def test_a_failure_loses_only_the_arguments_that_cannot_be_read_at_every_depth() -> None:
    cause = KeyError("kept")
    failure = from_exception(ValueError("kept"))
    failure["causes"] = [from_exception(cause), from_exception(ValueError(FALSE_KIND))]
    told = readable_failure(failure)
    assert told["exc_args"] == ["kept"]
    assert [each["exc_args"] for each in told["causes"]] == [["kept"], []]
    assert failure["causes"][1]["exc_args"] == [FALSE_KIND]  # the original is untouched
    assert readable_failure(from_exception(ValueError(VAST)))["exc_args"] == []
