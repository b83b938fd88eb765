"""Bodies: taskflow's byte for byte in meaning, and whatever else a peer sends is refused."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_serialization import jsonutils
from oslo_utils import reflection
from taskflow import task as flow_task
from taskflow.engines.worker_based import protocol as theirs
from taskflow.types import failure as flow_failure

from protocol import messages
from protocol.envelope import (
    CANCEL,
    DROPPED,
    HELD,
    KINDS,
    NOTIFY,
    RECEIPT,
    RELEASE,
    REQUEST,
    RESPONSE,
)
from protocol.errors import MessageRefused, ValueRefused
from protocol.messages import (
    Answer,
    Cancel,
    Dropped,
    Held,
    Message,
    Question,
    Receipt,
    Release,
    Request,
    Response,
)
from protocol.size import MAX_BODY
from protocol.values import MAX_CONTAINERS
from tests.protocol.arbitrary import json_values, texts
from tests.protocol.captured import FRAMES, Frame


class Add(flow_task.Task):  # type: ignore[misc]
    """A task of a flow."""

    def execute(self, x: int, y: int) -> int:
        """Their sum."""
        return x + y


TASK = reflection.get_class_name(Add)


def a_failure() -> flow_failure.Failure:
    """Taskflow's own, with a cause."""
    try:
        try:
            raise KeyError("missing")
        except KeyError as missing:
            raise ValueError("boom", 42) from missing
    except ValueError:
        return flow_failure.Failure()


def json_of(message: Message) -> Any:
    """The body as a peer's parser gives it."""
    return json.loads(messages.encode(message))


def as_sent(body: Any) -> Any:
    """Taskflow's body as a peer's parser gives it; kombu writes it by way of oslo."""
    return json.loads(jsonutils.dumps(body))


# taskflow -----------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", FRAMES)
def test_captured_frames_are_read_and_written_again_the_same(frame: Frame) -> None:
    """Bytes or text, as the broker hands them over."""
    message = messages.decode(frame.kind, frame.body.encode(), at_worker=frame.at_worker)
    assert message.kind == frame.kind
    assert messages.decode(frame.kind, frame.body, at_worker=frame.at_worker) == message
    assert json_of(message) == json.loads(frame.body)


def test_the_frames_show_every_kind_and_every_shape() -> None:
    """So that the test above means something."""
    bodies = [json.loads(frame.body) for frame in FRAMES]
    assert {frame.kind for frame in FRAMES} == {NOTIFY, REQUEST, RESPONSE}
    assert {body.get("action") for body in bodies} >= {"execute", "revert"}
    assert {body.get("state") for body in bodies} >= {"RUNNING", "EVENT", "SUCCESS", "FAILURE"}
    assert any("failures" in body for body in bodies)


def test_notify_is_as_taskflow_writes_it() -> None:
    """Question and answer, and each passes taskflow's own validation."""
    assert json_of(Question()) == as_sent(theirs.Notify().to_dict())
    theirs.Notify.validate(json_of(Question()), response=False)
    tasks = ["tasks.Add", "tasks.Boom"]
    answer = json_of(Answer("t1", tuple(tasks)))
    assert answer == as_sent(theirs.Notify(topic="t1", tasks=tasks).to_dict())
    theirs.Notify.validate(answer, response=True)


def test_an_execute_is_as_taskflow_writes_it() -> None:
    """With its arguments, and no result or failures."""
    arguments = {"x": 1, "y": [2, {"z": None}]}
    own = theirs.Request(Add("adder"), "6f1", theirs.EXECUTE, arguments)
    body = json_of(Request(TASK, "adder", arguments=arguments))
    assert body == as_sent(own.to_dict())
    theirs.Request.validate(body)
    unit = theirs.Request.from_dict(body, task_uuid="6f1")
    assert (unit.task_cls, unit.task_name, unit.action) == (TASK, "adder", "execute")
    assert unit.arguments == {"arguments": arguments, "task_uuid": "6f1"}


def test_a_revert_after_success_is_as_taskflow_writes_it() -> None:
    """The result is a pair, the failures are of the others."""
    failure = a_failure()
    own = theirs.Request(
        Add("adder"), "6f1", theirs.REVERT, {}, result={"sum": 3}, failures={"boomer": failure}
    )
    body = json_of(
        Request(
            TASK,
            "adder",
            action="revert",
            result=("success", {"sum": 3}),
            failures={"boomer": failure.to_dict()},
        )
    )
    assert body == as_sent(own.to_dict())
    theirs.Request.validate(body)
    given_back = theirs.Request.from_dict(body).arguments
    assert given_back["result"] == {"sum": 3}
    assert given_back["failures"]["boomer"].check(ValueError)


def test_a_revert_after_failure_is_as_taskflow_writes_it() -> None:
    """The result is the failure."""
    failure = a_failure()
    own = theirs.Request(Add("adder"), "6f1", theirs.REVERT, {}, result=failure, failures=None)
    body = json_of(Request(TASK, "adder", action="revert", result=("failure", failure.to_dict())))
    assert body == as_sent(own.to_dict())
    theirs.Request.validate(body)
    assert theirs.Request.from_dict(body).arguments["result"].check(ValueError)


@pytest.mark.parametrize(
    ("ours", "own"),
    [
        (Response.running(), theirs.Response(theirs.RUNNING)),
        (Response.success(None), theirs.Response(theirs.SUCCESS, result=None)),
        (Response.success([1, "x"]), theirs.Response(theirs.SUCCESS, result=(1, "x"))),
        (
            Response.failure(a_failure().to_dict()),
            theirs.Response(theirs.FAILURE, result=a_failure().to_dict()),
        ),
        (
            Response.event(messages.UPDATE_PROGRESS, {"progress": 0.5}),
            theirs.Response(
                theirs.EVENT,
                event_type=flow_task.EVENT_UPDATE_PROGRESS,
                details={"progress": 0.5},
            ),
        ),
    ],
    ids=lambda value: getattr(value, "state", ""),
)
def test_a_response_is_as_taskflow_writes_it(ours: Response, own: theirs.Response) -> None:
    """And taskflow makes of it what we meant."""
    body = json_of(ours)
    assert body == as_sent(own.to_dict())
    theirs.Response.validate(body)
    back = theirs.Response.from_dict(body)
    assert back.state == ours.state
    if ours.state == theirs.FAILURE:
        assert back.data["result"].check(ValueError)


requests = st.builds(
    Request,
    task=texts,
    name=texts.filter(bool),
    version=st.lists(st.integers(0, 9), max_size=3).map(tuple) | texts,
    action=st.sampled_from(["execute", "revert"]),
    args=st.lists(json_values, max_size=2).map(tuple),
    arguments=st.dictionaries(texts, json_values, max_size=3),
    result=st.none() | st.tuples(st.just("success"), json_values),
    failures=st.none() | st.just({}) | st.just({"boomer": as_sent(a_failure().to_dict())}),
)
responses = (
    st.just(Response.running())
    | st.builds(Response.success, json_values)
    | st.builds(Response.event, texts, st.dictionaries(texts, json_values, max_size=3))
)
reasons: st.SearchStrategy[messages.ReleaseReason] = st.sampled_from(
    ["full", "late", "drain", "cancelled", "over"]
)
named = st.sampled_from(["1:1", "3:17-20,25 4:2"])
digests = st.builds(Held, *[st.just("") | named] * 4)
ours = (
    digests
    | st.builds(
        Cancel,
        st.sampled_from(["keep", "stop"]),
        st.sampled_from(["user", "expired", "superseded"]),
    )
    | st.builds(Receipt, named)
    | st.builds(Dropped, named)
)
#: Read by a worker; all others by an executor.
TO_WORKER = (REQUEST, CANCEL, RECEIPT)
releases = st.lists(st.tuples(st.just("3:17-20,25 4:2"), reasons), min_size=1, max_size=5).map(
    lambda items: Release(tuple(items))
)
answers = st.builds(Answer, texts, st.lists(texts, max_size=4).map(tuple))


@given(requests)
@settings(deadline=None)
def test_every_request_passes_taskflows_validation(request: Request) -> None:
    """``args`` of ours included: taskflow lets unknown keys pass."""
    theirs.Request.validate(json_of(request))


@given(responses)
@settings(deadline=None)
def test_every_response_passes_taskflows_validation(response: Response) -> None:
    """Whatever a task returns or says."""
    theirs.Response.validate(json_of(response))


# there and back -----------------------------------------------------------------------------


@given(requests | responses | releases | ours | answers | st.just(Question()))
@settings(deadline=None)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    """As ASCII on the way, whatever is in it."""
    at_worker = isinstance(message, Question) or message.kind in TO_WORKER
    body = messages.encode(message)
    assert body.isascii()
    assert messages.decode(message.kind, body, at_worker=at_worker) == message


def test_a_body_comes_in_any_bytes_a_broker_has() -> None:
    """Whatever its client library hands over."""
    body = messages.encode(Response.success("é"))
    for form in (body, bytearray(body), memoryview(body), body.decode()):
        assert messages.decode(RESPONSE, form, at_worker=False) == Response.success("é")


def test_a_request_names_itself_after_its_task_unless_told_otherwise() -> None:
    """Positional arguments are written only if there are any: taskflow knows none."""
    body = json_of(Request("tasks.add"))
    assert body == {
        "task_cls": "tasks.add",
        "task_name": "tasks.add",
        "task_version": [1, 0],
        "action": "execute",
        "arguments": {},
    }
    assert json_of(Request("tasks.add", args=(1, 2)))["args"] == [1, 2]


def test_a_request_may_leave_out_its_arguments_and_say_that_there_is_no_result() -> None:
    """As taskflow's worker reads it: null counts as absent."""
    body = {"task_cls": "a", "task_name": "b", "task_version": "1.0", "action": "revert"}
    expected = Request("a", "b", "1.0", "revert")
    for said in (body, {**body, "result": None}, {**body, "of a later version": [1]}):
        assert messages.decode(REQUEST, json.dumps(said), at_worker=True) == expected


def test_ints_of_any_size_travel() -> None:
    """Longer than Python would print."""
    large = 7**6000
    body = messages.encode(Response.success({"n": large}))
    assert messages.decode(RESPONSE, body, at_worker=False) == Response.success({"n": large})


def test_a_digest_leaves_out_what_it_has_none_of() -> None:
    """Empty is how nothing at all is said: the proof of absence."""
    assert json_of(Held()) == {}
    assert json_of(Held(running="1:2")) == {"running": "1:2"}
    assert json_of(Held("1:1", "1:2", "1:3", "1:4")) == {
        "queued": "1:1",
        "running": "1:2",
        "ended": "1:3",
        "dropped": "1:4",
    }
    assert messages.decode(HELD, b"{}", at_worker=False) == Held()


def test_messages_are_frozen() -> None:
    """They are handed from thread to thread."""
    with pytest.raises(FrozenInstanceError):
        Response.running().state = "SUCCESS"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Request("tasks.add").args = (1,)  # type: ignore[misc]


# what is refused on the way out -------------------------------------------------------------


def test_a_value_that_cannot_travel_is_refused_with_its_path() -> None:
    """Before anything is asked about the shape of the message: this is the user's to mend."""
    with pytest.raises(ValueRefused, match=r"arguments\.x\[1\].*set"):
        messages.encode(Request("tasks.add", arguments={"x": [1, {2}]}))
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueRefused, match="cycle"):
        messages.encode(Response.success(cycle))
    failure = a_failure().to_dict()
    failure["causes"] = [failure]
    with pytest.raises(ValueRefused, match="cycle"):
        messages.encode(Request("a", failures={"b": failure}))


@pytest.mark.parametrize(
    "message",
    [
        Response("DONE"),
        Response("RUNNING", {"result": 1, "more": 2}),
        Response("EVENT", {"event_type": "x"}),
        Request("a", action="undo"),  # type: ignore[arg-type]
        Request("a", result=("perhaps", 1)),
        Request("a", result=("failure", {"text": "no failure dict"})),
        Request("a", failures={"b": {}}),
        Release(()),
        Release((("1:2\n", "full"),)),
        Release((("1:2", "bored"),)),  # type: ignore[arg-type]
        Release((("1:2", "full"),) * 65),
        Answer("t1", (5,)),  # type: ignore[arg-type]
        Held("1:"),
        Held(dropped="1:" + "9" * 200_000),
        Cancel("keep", "bored"),  # type: ignore[arg-type]
        Cancel("", "user"),  # type: ignore[arg-type]
        Receipt(""),
        Dropped("1:2,"),
    ],
    ids=repr,
)
def test_a_body_its_own_schema_refuses_is_not_sent(message: Message) -> None:
    """An answer may never be malformed: taskflow's executor dies of it."""
    with pytest.raises(MessageRefused, match=r"^schema: "):
        messages.encode(message)


# what is refused on the way in --------------------------------------------------------------

DEEP = '{"state": "SUCCESS", "data": {"result": ' + "[" * 100_000 + "]" * 100_000 + "}}"
FAILURE = '{"exception_str": "", "traceback_str": "", "exc_type_names": ["Exception"]'
REVERT = '{"task_cls": "a", "task_name": "b", "task_version": [1, 0], "action": "revert"'
#: Failures inside each other as deep as JSON may go, the innermost without its names.
NESTED = (
    f'{REVERT}, "failures": {{"b": '
    + f'{FAILURE}, "causes": [' * 98
    + '{"exception_str": ""}'
    + "]}" * 98
    + "}}"
)


@pytest.mark.parametrize(
    "body",
    [
        b"", "", "   ", b"\xff", b'{"state": "RUNNING", "data": {', "{}{}", "NaN", "Infinity",
        '{"state": "SUCCESS", "data": {"result": NaN}}', '{"data": 1e999}', "'x'", "\ufeff{}",
        DEEP, DEEP.encode(), b"\x80\x04N.", None, 5, {}, {"state": "RUNNING", "data": {}}, ["x"],
    ],
    ids=lambda body: repr(body)[:30],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_json_is_refused_as_such(kind: str, body: object) -> None:
    """Truncated, of another encoding, too deep, or no text at all."""
    with pytest.raises(MessageRefused) as caught:
        messages.decode(kind, body, at_worker=kind in TO_WORKER)
    assert caught.value.reason == "json"
    assert len(caught.value.detail) < 300
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        (NOTIFY, "[]", "$:"),
        (NOTIFY, "null", "$:"),
        (NOTIFY, '{"topic": "t1"}', "$:"),
        (NOTIFY, '{"topic": "t1", "tasks": ["a", 5]}', "$.tasks[1]:"),
        (NOTIFY, '{"topic": "t1", "tasks": [], "v": 1}', "$:"),
        (REQUEST, "{}", "$:"),
        (REQUEST, '"text"', "$:"),
        (REQUEST, REVERT.replace("revert", "revert\\n") + "}", "$.action:"),
        (REQUEST, REVERT + ', "arguments": [1]}', "$.arguments:"),
        (REQUEST, REVERT + ', "arguments": null}', "$.arguments:"),
        (REQUEST, REVERT + ', "args": {}}', "$.args:"),
        (REQUEST, REVERT + ', "result": 5}', "$.result:"),
        (REQUEST, REVERT + ', "result": ["success"]}', "$.result:"),
        (REQUEST, REVERT + ', "result": ["success", 2, 3]}', "$.result:"),
        (REQUEST, REVERT + ', "result": ["perhaps", 2]}', "$.result[0]:"),
        (REQUEST, REVERT + ', "result": ["failure", "boom"]}', "$.result[1]:"),
        (REQUEST, REVERT + ', "result": ["failure", {}]}', "$.result[1]:"),
        (REQUEST, REVERT + ', "failures": {"b c": 5}}', "$.failures['b c']:"),
        (REQUEST, REVERT + ', "failures": {"b\\n": 5}}', "$.failures['b\\n']:"),
        (REQUEST, REVERT + ', "failures": {"\\ud800": 5}}', "$.failures['\\ud800']:"),
        (REQUEST, NESTED, "$.failures"),
        (RESPONSE, '{"state": "RUNNING"}', "$:"),
        (RESPONSE, '{"state": "DONE", "data": {}}', "$.state:"),
        (RESPONSE, '{"state": "EVENT", "data": {"event_type": "x", "details": []}}', "$.data"),
        (RESPONSE, '{"state": "EVENT", "event_type": "x", "details": {}}', "$:"),
        (RELEASE, '{"items": []}', "$.items:"),
        (RELEASE, '{"items": [{"tickets": "1:2", "reason": "full", "x": 1}]}', "$.items[0]:"),
        (RELEASE, '{"items": [{"tickets": "1:x", "reason": "full"}]}', "$.items[0].tickets:"),
        (HELD, "[]", "$:"),
        (HELD, '{"queued": ""}', "$.queued:"),
        (HELD, '{"running": ["1:2"]}', "$.running:"),
        (HELD, '{"ended": "1:2", "later": "1:2"}', "$:"),
        (CANCEL, "{}", "$:"),
        (CANCEL, '{"if_started": "keep"}', "$:"),
        (CANCEL, '{"if_started": "stop\\n", "reason": "user"}', "$.if_started:"),
        (CANCEL, '{"if_started": "stop", "reason": "user", "grace": 1}', "$:"),
        (RECEIPT, "{}", "$:"),
        (RECEIPT, '{"tickets": "1:2-"}', "$.tickets:"),
        (DROPPED, "{}", "$:"),
        (DROPPED, '{"tickets": ["1:2"]}', "$.tickets:"),
    ],
    ids=lambda value: value[:40],
)
def test_json_that_is_no_such_message_is_refused_with_the_path(
    kind: str, body: str, path: str
) -> None:
    """Two words for the counter and the reader: ``schema``, and where."""
    with pytest.raises(MessageRefused) as caught:
        messages.decode(kind, body, at_worker=kind in TO_WORKER)
    assert caught.value.reason == "schema"
    assert path in caught.value.detail


def test_a_question_has_nothing_in_it() -> None:
    """As taskflow has it."""
    assert messages.decode(NOTIFY, b"{}", at_worker=True) == Question()
    for body in ('{"x": 1}', "[]", '{"topic": "t1", "tasks": []}'):
        with pytest.raises(MessageRefused, match=r"^schema: "):
            messages.decode(NOTIFY, body, at_worker=True)


@given(
    st.sampled_from(KINDS),
    st.binary(max_size=40) | texts | json_values.map(json.dumps),
    st.booleans(),
)
@settings(deadline=None)
def test_whatever_a_body_is_it_is_read_or_refused(
    kind: str, body: bytes | str, at_worker: bool
) -> None:
    """Nothing but a refusal is ever raised."""
    try:
        messages.decode(kind, body, at_worker=at_worker)
    except MessageRefused as refusal:
        assert refusal.reason in {"json", "schema"}
        assert refusal.detail.isprintable()


# -- how long


def test_a_body_of_the_longest_is_written_and_read_and_one_byte_more_is_not() -> None:
    around = len(messages.encode(Response.success("")))
    longest = messages.encode(Response.success("x" * (MAX_BODY - around)))
    assert len(longest) == MAX_BODY
    assert isinstance(messages.decode(RESPONSE, longest, at_worker=False), Response)
    with pytest.raises(ValueRefused, match=r"the body of a RESPONSE: (at least )?16\.0 MiB"):
        messages.encode(Response.success("x" * (MAX_BODY - around + 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_too_long_is_refused_unread(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "loads", lambda _: pytest.fail("it was read"))
    for at_worker in (True, False):
        with pytest.raises(MessageRefused, match="16,777,217 bytes") as caught:
            messages.decode(kind, bytes(MAX_BODY + 1), at_worker=at_worker)
        assert caught.value.reason == "too_long"


def test_more_lists_and_dicts_than_a_message_holds_are_not_read() -> None:
    """16 MiB of empty lists were 360 MB at their reader, and a minute until the next request."""
    body = b'{"state":"SUCCESS","data":{"result":[' + b"[]," * MAX_CONTAINERS + b"1]}}"
    with pytest.raises(MessageRefused, match=r"1,000,003 lists and dicts") as caught:
        messages.decode(RESPONSE, body, at_worker=False)
    assert caught.value.reason == "json"
    with pytest.raises(ValueRefused, match="columns instead of rows"):
        messages.encode(Response.success([[]] * MAX_CONTAINERS))
    text = "[{" * MAX_CONTAINERS  # in a string they are letters
    said = messages.encode(Response.success(text))
    assert messages.decode(RESPONSE, said, at_worker=False) == Response.success(text)
