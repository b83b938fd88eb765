"""The schema files, and the two validators that read them."""

from __future__ import annotations

import json
import time
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from taskflow import exceptions as flow_errors
from taskflow.engines.worker_based import protocol as theirs

from protocol import messages, schemas
from protocol.errors import MessageRefused
from tests.protocol.arbitrary import json_values, nearly, odd_values
from tests.protocol.captured import FRAMES

PRISTINE = {name: jsonschema.Draft7Validator(schema) for name, schema in schemas.SCHEMAS.items()}

BOOT = "0123456789abcdef"
CAUSE = {"exception_str": "'x'", "traceback_str": "", "exc_type_names": ["KeyError", "Exception"]}
FAILURE = {**CAUSE, "version": 1, "exc_args": ["boom", 42], "causes": [CAUSE]}
REVERT = {"task_cls": "a.B", "task_name": "b", "task_version": "1.0", "action": "revert"}


def captured(kind: str, *, at_worker: bool) -> list[Any]:
    """The bodies of taskflow's frames of one kind."""
    return [
        json.loads(frame.body)
        for frame in FRAMES
        if frame.kind == kind and frame.at_worker is at_worker
    ]


#: By schema, what it accepts: where the generated values begin.
VALID: dict[str, list[Any]] = {
    "notify-question": captured("NOTIFY", at_worker=True),
    "notify-answer": [{"topic": "t1", "tasks": []}, *captured("NOTIFY", at_worker=False)],
    "request": [
        {**REVERT, "args": [1], "arguments": {"x": 1}, "result": ["success", None]},
        {**REVERT, "result": ["failure", FAILURE], "failures": {"b": FAILURE}, "later": 1},
        {**REVERT, "result": None, "failures": {}, "task_version": []},
        *captured("REQUEST", at_worker=True),
    ],
    "response": [
        {"state": "SUCCESS", "data": {}},
        {"state": "WAITING", "data": {"result": [[]]}},
        *captured("RESPONSE", at_worker=False),
    ],
    "failure": [CAUSE, FAILURE, {**FAILURE, "version": 0, "later": None, "exc_args": []}],
    "header": [
        {"v": 1},
        {"v": 1, "ex": "ex1", "in": 3, "b": BOOT, "tk": "3:17-20,25 4:2", "sb": 0, "mode": "alo"},
        {"v": 2, "caps": ["release"], "w": "h-1", "b": BOOT, "ck": 0, "slots": 4, "credit": 4096}
        | {"inbox": f"default.{BOOT}", "at": 2, "base": 1, "end": "done", "later": {}},
        {"v": 1, "keep": 0, "bt": 1, "replaces": BOOT, "tl": 1, "sl": 1500},
    ],
    "header-own": [
        {},
        {"ck": 0, "tk": "3:17-20,25 4:2", "sb": 9, "at": 2, "base": 1, "mode": "amo"},
        {"tl": 1, "sl": 1500, "end": "limit", "later": []},
    ],
    "release": [
        {"items": [{"tickets": "3:17-20,25 4:2", "reason": "full"}]},
        {"items": [{"tickets": "1:1", "reason": reason} for reason in ("late", "drain")]},
        {"items": [{"tickets": "1:1", "reason": reason} for reason in ("cancelled", "over")]},
    ],
    "held": [
        {},
        {"queued": "1:1-3", "running": "1:4", "ended": "3:17-20,25 4:2", "dropped": "1:9"},
    ],
    "cancel": [
        {"if_started": "keep", "reason": "user"},
        {"if_started": "stop", "reason": "expired"},
        {"if_started": "keep", "reason": "superseded"},
    ],
    "receipt": [{"tickets": "3:17-20,25 4:2"}],
    "dropped": [{"tickets": "1:1"}],
    "batch": [
        {"messages": [{"type": "REQUEST", "header": {"v": 1}, "body": {}, "correlation_id": "u"}]},
        {"messages": [{"type": "X", "header": 1, "body": [], "later": 2}] * 3},
    ],
}


def agree(name: str, value: Any) -> bool:
    """What both validators say."""
    fast = schemas.is_valid(name, value)
    assert fast is PRISTINE[name].is_valid(value), value
    return fast


# the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", schemas.NAMES)
def test_a_schema_is_draft_7_and_says_so(name: str) -> None:
    """The fast validators know no later one."""
    schema = schemas.SCHEMAS[name]
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["title"]


def test_every_schema_has_a_file_and_every_file_is_a_schema() -> None:
    """None is forgotten in the list, none is left over in the folder."""
    files = {
        file.name.removesuffix(".json")
        for file in resources.files(schemas).iterdir()
        if file.name.endswith(".json")
    }
    assert files == {*schemas.NAMES, "definitions"}
    for file in files:
        text = resources.files(schemas).joinpath(f"{file}.json").read_text(encoding="utf-8")
        jsonschema.Draft7Validator.check_schema(json.loads(text))


def test_every_kind_of_message_has_a_schema() -> None:
    """And no two share one."""
    kinds: list[Any] = [
        messages.Question,
        messages.Answer,
        messages.Request,
        messages.Response,
        messages.Held,
        messages.Cancel,
        messages.Receipt,
        messages.Release,
        messages.Dropped,
    ]
    assert set(messages.Message.__args__) == set(kinds)
    assert len({kind.schema for kind in kinds} & set(schemas.NAMES)) == len(kinds)


# agreement ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", schemas.NAMES)
def test_what_is_valid_is_valid_to_both(name: str) -> None:
    """The samples that the generated values begin with, captured frames among them."""
    for value in VALID[name]:
        assert agree(name, value)
        schemas.validate(name, value)


TRICKY: list[tuple[str, Any, bool]] = [
    ("header", {"v": 1.0}, True),
    ("header", {"v": True}, False),
    ("header", {"v": 1.5}, False),
    ("header", {"v": 0.0}, False),
    ("header", {"v": 2**53 - 1}, True),
    ("header", {"v": 2**53}, False),
    ("header", {"v": 1e300}, False),
    ("header", {"v": 10**400}, False),
    ("header", {"v": -(10**400)}, False),
    ("header", {"v": 1, "ck": -0.0}, True),
    ("header", {"v": 1, "ck": False}, False),
    ("header", {"v": 1, "credit": 4096.0}, True),
    ("header", {"v": 1, "credit": 4097}, False),
    ("header", {"v": 1, "ex": "ex1\n"}, False),
    ("header", {"v": 1, "ex": "\nex1"}, False),
    ("header", {"v": 1, "ex": "x" * 64}, True),
    ("header", {"v": 1, "ex": "x" * 65}, False),
    ("header", {"v": 1, "ex": "٣"}, False),
    ("header", {"v": 1, "ex": None}, False),
    ("header", {"v": 1, "b": BOOT + "\n"}, False),
    ("header", {"v": 1, "b": BOOT + "0"}, False),
    ("header", {"v": 1, "tk": "1:2\n"}, False),
    ("header", {"v": 1, "tk": "1:2\n1:2"}, False),
    ("header", {"v": 1, "tk": "1:２"}, False),
    ("header", {"v": 1, "tk": ""}, False),
    ("header", {"v": 1, "mode": "alo\n"}, False),
    ("header", {"v": 1, "caps": []}, True),
    ("header", {"v": 1, "caps": ["x"] * 32}, True),
    ("header", {"v": 1, "caps": ["x"] * 33}, False),
    ("header", {"v": 1, "inbox": "é" * 255}, True),
    ("header", {"v": 1, "inbox": "😀" * 256}, False),
    ("header", [["v", 1]], False),
    ("failure", {**FAILURE, "exc_type_names": []}, False),
    ("failure", {**FAILURE, "version": 1.0}, True),
    ("failure", {**FAILURE, "version": True}, False),
    ("failure", {**FAILURE, "version": -1}, False),
    ("failure", {**FAILURE, "causes": [[]]}, False),
    ("failure", {**FAILURE, "causes": {}}, False),
    ("failure", {**FAILURE, "causes": [{**CAUSE, "causes": [{}]}]}, False),
    ("request", {**REVERT, "task_version": 1}, False),
    ("request", {**REVERT, "task_version": None}, False),
    ("request", {**REVERT, "result": []}, False),
    ("request", {**REVERT, "result": ["success"]}, False),
    ("request", {**REVERT, "result": ["success\n", 1]}, False),
    ("request", {**REVERT, "result": {"0": "success", "1": 1}}, False),
    ("request", {**REVERT, "result": False}, False),
    ("request", {**REVERT, "failures": {"b": None}}, False),
    ("request", {**REVERT, "failures": []}, False),
    ("response", {"state": "SUCCESS\n", "data": {}}, False),
    ("response", {"state": ["SUCCESS"], "data": {}}, False),
    ("response", {"state": "SUCCESS", "data": {"result": 1, "": 2}}, False),
    ("response", {"state": "SUCCESS", "data": []}, False),
    ("response", {"state": "SUCCESS", "data": None}, False),
    ("notify-question", {"": None}, False),
    ("notify-question", [], False),
    ("notify-question", None, False),
    ("notify-answer", {"topic": "t", "tasks": "abc"}, False),
    ("release", {"items": [{"tickets": "1:2", "reason": "full"}] * 64}, True),
    ("release", {"items": [{"tickets": "1:2", "reason": "full"}] * 65}, False),
    ("release", {"items": [{"tickets": "1:" + "9" * 200_000, "reason": "full"}]}, False),
    ("release", {"items": {}}, False),
    ("header", {"v": 1, "keep": 0}, True),
    ("header", {"v": 1, "keep": 60.0}, True),
    ("header", {"v": 1, "keep": True}, False),
    ("header", {"v": 1, "bt": 0}, False),
    ("header", {"v": 1, "bt": 5000.0}, True),
    ("header", {"v": 1, "replaces": BOOT + "\n"}, False),
    ("header", {"v": 1, "tl": 0.0}, False),
    ("header", {"v": 1, "sl": 2**53}, False),
    ("held", {"queued": ""}, False),
    ("held", {"queued": "1:1\n"}, False),
    ("held", {"queued": None}, False),
    ("held", {"": "1:1"}, False),
    ("held", {"dropped": "1:" + "9" * 199_998}, True),
    ("held", {"dropped": "1:" + "9" * 199_999}, False),
    ("held", [], False),
    ("cancel", {"if_started": "keep\n", "reason": "user"}, False),
    ("cancel", {"if_started": "keep", "reason": ["user"]}, False),
    ("cancel", {"if_started": True, "reason": "user"}, False),
    ("receipt", {"tickets": "1:2 "}, False),
    ("receipt", {"tickets": "1:２"}, False),
    ("dropped", {"tickets": "1:2", "": 1}, False),
]


@pytest.mark.parametrize(("name", "value", "valid"), TRICKY, ids=lambda value: str(value)[:50])
def test_the_validators_agree_where_they_might_not(name: str, value: Any, valid: bool) -> None:
    """Line ends, bools and floats for integers, large ints, empty arrays, ``$`` in a pattern."""
    assert agree(name, value) is valid


@pytest.mark.parametrize("name", schemas.NAMES)
@given(st.data())
@settings(deadline=None, max_examples=70, suppress_health_check=[HealthCheck.too_slow])
def test_the_validators_agree_on_what_is_nearly_valid(name: str, data: st.DataObject) -> None:
    """And what they refuse is worded in one line that can be logged."""
    value = data.draw(nearly(VALID[name]))
    if agree(name, value):
        schemas.validate(name, value)
        return
    with pytest.raises(MessageRefused) as caught:
        schemas.validate(name, value)
    assert caught.value.reason == "schema"
    detail = caught.value.detail
    assert detail.startswith(f"not a valid {name}: $")
    assert detail.isprintable()
    assert len(detail) < 3 * schemas.MAX_WORDING


@given(st.sampled_from(schemas.NAMES), json_values | odd_values)
@settings(deadline=None, max_examples=100)
def test_the_validators_agree_on_any_json(name: str, value: Any) -> None:
    """Nearly all of it refused, some of it by accident a message."""
    agree(name, value)


def test_a_tuple_is_an_array_to_both() -> None:
    """It travels as one; taskflow's validators have it so as well."""
    value = {"topic": "t1", "tasks": ("a", 5)}
    assert not schemas.is_valid("notify-answer", value)
    assert schemas.is_valid("notify-answer", {**value, "tasks": ("a",)})
    assert "$.tasks[1]: 5 is not of type 'string'" in schemas.word("notify-answer", value)


def accepted_by_taskflow(name: str, value: Any) -> bool:
    """By the validation its own peers do on receipt."""
    try:
        if name == "response":
            theirs.Response.validate(value)
        else:
            theirs.Notify.validate(value, response=name == "notify-answer")
    except flow_errors.InvalidFormat:
        return False
    return True


@pytest.mark.parametrize("name", ["notify-question", "notify-answer", "response"])
@given(st.data())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_what_taskflow_takes_we_take_and_nothing_else(name: str, data: st.DataObject) -> None:
    """Theirs exactly, for the kinds that are theirs; of a REQUEST we ask what their code asks."""
    value = data.draw(nearly(VALID[name]) | json_values)
    assert schemas.is_valid(name, value) is accepted_by_taskflow(name, value)


# words --------------------------------------------------------------------------------------


def test_a_refusal_is_in_jsonschemas_words_after_the_path() -> None:
    """Whole, for a message of usual size."""
    with pytest.raises(MessageRefused) as caught:
        schemas.validate("request", {**REVERT, "action": "undo"})
    assert str(caught.value) == (
        "schema: not a valid request: $.action: 'undo' is not one of ['execute', 'revert']"
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("response", {"state": "x" * 1_000_000, "data": {}}, "$.state"),
        ("response", {"state": 10**5000, "data": {}}, "$.state"),
        ("response", {"state": "\x1b[2J\n", "data": {}}, "$.state"),
        ("response", {"state": "EVENT", "data": {"x" * 1_000_000: 10**5000}}, "$.data"),
        ("response", dict.fromkeys(map(str, range(5000))), "$"),
        ("request", {**REVERT, "failures": {"x" * 1_000_000: 5}}, "$.failures['xxx"),
        ("request", {**REVERT, "failures": {"a\nb": 5}}, r"$.failures['a\nb']"),
        ("request", {**REVERT, "arguments": 5, "args": [0] * 5000}, "$.arg"),
        ("notify-answer", {"topic": "t\n" * 5000, "tasks": "\ud800"}, "$.tasks"),
        ("notify-answer", {"topic": "t1", "tasks": [1] * 5000}, "$.tasks[0]"),
        ("notify-question", {"x\n\u202e" * 5000: 1}, "$"),
    ],
    ids=lambda value: str(type(value)),
)
def test_a_wording_names_the_path_and_is_bounded_and_printable(
    name: str, value: Any, says: str
) -> None:
    """Whatever a peer has put into it: a log line is a line, and of a known length."""
    wording = schemas.word(name, value)
    assert wording.startswith(f"not a valid {name}: $")
    assert says in wording
    assert wording.isprintable()
    assert len(wording) < 3 * schemas.MAX_WORDING


def test_a_wording_of_something_deep_is_bounded_too() -> None:
    """As deep as a body may be, and wrong at the bottom."""
    value: dict[str, Any] = {}
    for _ in range(98):
        value = {**CAUSE, "causes": [value]}
    assert not schemas.is_valid("failure", value)
    wording = schemas.word("failure", value)
    assert "$.causes[0].causes[0]" in wording
    assert len(wording) < 3 * schemas.MAX_WORDING


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notify-answer", {"topic": "t1", "tasks": [1] * 200_000}),
        ("notify-answer", {"topic": 1, "tasks": ["a"] * 200_000}),
        ("request", {**REVERT, "result": ["failure", {**CAUSE, "causes": [1] * 200_000}]}),
        ("release", {"items": [1] * 200_000}),
        ("held", {"queued": "1:" + ",1" * 99_000}),
        ("held", {"queued": "1:" + "1" * 199_000 + "x"}),
        ("receipt", {"tickets": "1:" + "1-1," * 49_000}),
        ("cancel", dict.fromkeys(map(str, range(200_000)))),
    ],
    ids=["tasks", "topic", "causes", "items", "comma", "digits", "spans", "words"],
)
def test_a_megabyte_made_to_be_slow_to_word_is_not(name: str, value: Any) -> None:
    """Processor time, so that a busy machine does not count."""
    began = time.process_time()
    with pytest.raises(MessageRefused, match="schema"):
        schemas.validate(name, value)
    assert time.process_time() - began < 1.0
