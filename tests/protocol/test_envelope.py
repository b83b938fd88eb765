"""What travels beside a body: each thing that can be missing or wrong has its word."""

from __future__ import annotations

import inspect
import json
import string
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import envelope
from protocol.envelope import (
    BATCH,
    CANCEL,
    DROPPED,
    HELD,
    KINDS,
    MAX_HEADER,
    MAX_PROPERTY,
    NOTIFY,
    RECEIPT,
    RELEASE,
    REQUEST,
    RESPONSE,
    Envelope,
    Header,
    parse,
    parse_header,
)
from protocol.errors import MessageRefused
from tests.protocol.arbitrary import json_values, nearly, odd_values, texts
from tests.protocol.captured import FRAMES

REASONS = {
    "no_type", "unknown_type", "wrong_side", "no_reply_to", "no_correlation_id", "property",
    "header", "schema", "incomplete",
}  # fmt: skip

BOOT = "0123456789abcdef"
FULL = Header(
    caps=("release",), executor="ex1", incarnation=3, keep=60, worker="host-17", boot=BOOT,
    clock=123456, slots=4, credit=16, inbox=f"default.{BOOT}", beat=1000, replaces=BOOT[::-1],
    tickets="3:17-20,25 4:2", start_by=183456, attempt=2, base=1, mode="alo", time_limit=1500,
    soft_time_limit=500, end="done", node={"node": "host", "have": {"cores": 8}},
    need={"cores": 0.5},
)  # fmt: skip
ON_REQUEST = Header(
    executor="ex1", incarnation=1, boot=BOOT, tickets="1:1", start_by=60000, mode="alo"
)
ON_CANCEL = ON_REQUEST._replace(mode=None)
ON_RECEIPT = Header(executor="ex1", incarnation=1, boot=BOOT)
ON_RESPONSE = Header(boot=BOOT, clock=5, tickets="1:1")
#: HELD, RELEASE and DROPPED: tickets are in their bodies.
ON_DIGEST = Header(boot=BOOT, clock=5)

#: By kind and side, what a native peer's header has there, and nothing that is not needed.
NEEDED: dict[tuple[str, bool], Header] = {
    (REQUEST, True): ON_REQUEST,
    (CANCEL, True): ON_CANCEL,
    (RECEIPT, True): ON_RECEIPT,
    (RESPONSE, False): ON_RESPONSE,
    (HELD, False): ON_DIGEST,
    (RELEASE, False): ON_DIGEST,
    (DROPPED, False): ON_DIGEST,
}


def read(
    kind: object,
    reply_to: object = "ex1",
    correlation_id: object = "6f1",
    header: object = None,
    at_worker: bool = True,
) -> Envelope:
    """``parse`` with something good for all that a test is not about."""
    return parse(kind, reply_to, correlation_id, header, at_worker=at_worker)


def text_of(header: Header, *, without: str = "") -> str:
    """The header's text, with one field unsaid."""
    unsaid: dict[str, Any] = {without: None} if without else {}
    return header._replace(**unsaid).to_text()


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("no_type", {"kind": None}),
    ("unknown_type", {"kind": ""}),
    ("unknown_type", {"kind": "request"}),
    ("unknown_type", {"kind": "REQUEST\n"}),
    ("unknown_type", {"kind": "X" * 100_000}),
    ("unknown_type", {"kind": "\ud800"}),
    ("unknown_type", {"kind": 10**5000}),
    ("unknown_type", {"kind": ["REQUEST"]}),
    ("unknown_type", {"kind": {"REQUEST": 1}}),
    ("wrong_side", {"kind": REQUEST, "at_worker": False}),
    ("wrong_side", {"kind": RESPONSE, "at_worker": True}),
    ("wrong_side", {"kind": RELEASE, "at_worker": True}),
    ("wrong_side", {"kind": HELD, "at_worker": True}),
    ("wrong_side", {"kind": DROPPED, "at_worker": True}),
    ("wrong_side", {"kind": CANCEL, "at_worker": False}),
    ("wrong_side", {"kind": RECEIPT, "at_worker": False}),
    ("no_reply_to", {"kind": REQUEST, "reply_to": None}),
    ("no_reply_to", {"kind": REQUEST, "reply_to": ""}),
    ("no_reply_to", {"kind": NOTIFY, "reply_to": None, "correlation_id": None}),
    ("no_correlation_id", {"kind": REQUEST, "correlation_id": None}),
    ("no_correlation_id", {"kind": REQUEST, "correlation_id": ""}),
    ("no_correlation_id", {"kind": RESPONSE, "correlation_id": None, "at_worker": False}),
    ("no_correlation_id", {"kind": CANCEL, "correlation_id": None}),
    ("no_reply_to", {"kind": CANCEL, "reply_to": None}),
    ("no_reply_to", {"kind": RECEIPT, "reply_to": None}),
    ("property", {"kind": REQUEST, "reply_to": "x" * (MAX_PROPERTY + 1)}),
    ("property", {"kind": REQUEST, "reply_to": ["ex1"]}),
    ("property", {"kind": REQUEST, "correlation_id": 5}),
    ("property", {"kind": REQUEST, "correlation_id": "é" * 128}),
    ("property", {"kind": REQUEST, "correlation_id": "\ud800"}),
    ("header", {"kind": REQUEST, "header": {"v": 1}}),
    ("header", {"kind": REQUEST, "header": b'{"v":1}'}),
    ("header", {"kind": REQUEST, "header": ""}),
    ("header", {"kind": REQUEST, "header": '{"v":1'}),
    ("header", {"kind": REQUEST, "header": '{"v":1} {"v":1}'}),
    ("header", {"kind": REQUEST, "header": '{"v":NaN}'}),
    ("header", {"kind": REQUEST, "header": '{"v":1e999}'}),
    ("header", {"kind": REQUEST, "header": '{"x":' + "[" * 1000 + "]" * 1000 + "}"}),
    ("header", {"kind": REQUEST, "header": '{"v":1,"x":"' + "x" * MAX_HEADER + '"}'}),
    ("schema", {"kind": REQUEST, "header": "{}"}),
    ("schema", {"kind": REQUEST, "header": "[]"}),
    ("schema", {"kind": REQUEST, "header": "null"}),
    ("schema", {"kind": REQUEST, "header": '{"v":0}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":true}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1.5}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":"1"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"b":null}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"b":"0123456789ABCDEF"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"b":"0123456789abcdef\\n"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"ck":1' + "0" * 1000 + "}"}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"ck":1e300}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"credit":4097}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"caps":"release"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"tk":"1:2,"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"mode":"all"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"keep":-1}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"keep":1e300}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"bt":0}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"replaces":"w1"}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"tl":0}'}),
    ("schema", {"kind": REQUEST, "header": '{"v":1,"sl":0.5}'}),
    *(
        ("incomplete", {"kind": kind, "at_worker": side, "header": text_of(header, without=name)})
        for (kind, side), header in NEEDED.items()
        for name in Header._fields
        if name != "version" and getattr(header, name) is not None
    ),
    *(
        ("incomplete", {"kind": kind, "header": None, "at_worker": side})
        for kind, side in NEEDED
        if kind not in (REQUEST, RESPONSE)
    ),
]


@pytest.mark.parametrize(
    ("reason", "delivery"),
    REFUSED,
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_what_is_missing_or_wrong_is_refused_under_its_word(
    reason: str, delivery: dict[str, Any]
) -> None:
    """In one printable line that can be logged as it is."""
    with pytest.raises(MessageRefused) as caught:
        read(**delivery)
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 600
    assert caught.value.detail.isprintable()


def test_the_words_are_a_closed_list() -> None:
    """Each is tried above and named where ``parse`` is explained."""
    assert {reason for reason, _ in REFUSED} == REASONS
    explained = inspect.getdoc(parse) or ""
    assert all(f"``{reason}``" in explained for reason in REASONS)


@pytest.mark.parametrize(
    ("kind", "at_worker", "reply_to", "correlation_id"),
    [
        (NOTIFY, True, "ex1", None),
        (NOTIFY, False, None, None),
        (REQUEST, True, "ex1", "6f1"),
        (RESPONSE, False, None, "6f1"),
    ],
)
def test_a_taskflow_peer_says_what_its_kind_needs_and_has_no_header(
    kind: str, at_worker: bool, reply_to: str | None, correlation_id: str | None
) -> None:
    """Null, as the virtual transports have it, and absent, as amqp does, are the same."""
    around = Envelope(kind, reply_to, correlation_id, None)
    assert read(kind, reply_to, correlation_id, None, at_worker) == around
    assert read(kind, reply_to or "", correlation_id or "", None, at_worker) == around


def test_a_native_peer_says_what_its_kind_needs_in_its_header() -> None:
    """Read into the same values."""
    around = read(REQUEST, header=ON_REQUEST.to_text())
    assert around == Envelope(REQUEST, "ex1", "6f1", ON_REQUEST)
    around = read(RESPONSE, header=ON_RESPONSE.to_text(), at_worker=False)
    assert around.header == ON_RESPONSE
    for (kind, at_worker), header in NEEDED.items():
        assert read(kind, header=header.to_text(), at_worker=at_worker).header == header
    for kind in (HELD, RELEASE, DROPPED):
        assert read(kind, None, None, ON_DIGEST.to_text(), at_worker=False).kind == kind
    assert read(RECEIPT, "ex1", None, ON_RECEIPT.to_text()).correlation_id is None
    assert read(NOTIFY, "ex1", None, Header(executor="ex1").to_text()).header is not None


def test_an_answer_may_carry_addresses_it_does_not_need() -> None:
    """They are kept as they are."""
    assert read(NOTIFY, "ex1", "6f1", None, at_worker=False) == Envelope(NOTIFY, "ex1", "6f1")


@pytest.mark.parametrize("frame", FRAMES)
def test_captured_properties_are_read(frame: Any) -> None:
    """Every one of taskflow's frames, on the side it went to."""
    said = frame.properties
    reply_to, correlation_id = said.get("reply_to"), said.get("correlation_id")
    around = parse(frame.kind, reply_to, correlation_id, None, at_worker=frame.at_worker)
    assert around == Envelope(frame.kind, reply_to, correlation_id)


@given(
    *[st.sampled_from(KINDS) | st.none() | texts | json_values]
    + [st.none() | texts | odd_values | st.just("ex1")] * 2
    + [st.none() | texts | odd_values | json_values.map(json.dumps)],
    st.booleans(),
)
@settings(deadline=None)
def test_whatever_a_peer_says_is_read_or_refused(
    kind: object, reply_to: object, correlation_id: object, header: object, at_worker: bool
) -> None:
    """Nothing but a refusal is ever raised."""
    try:
        around = parse(kind, reply_to, correlation_id, header, at_worker=at_worker)
    except MessageRefused as refusal:
        assert refusal.reason in REASONS
        assert refusal.detail.isprintable()
    else:
        assert around.kind in KINDS
        assert around.reply_to or not at_worker


# the header ---------------------------------------------------------------------------------


def test_nothing_under_our_name_is_a_taskflow_peer() -> None:
    """An empty text is not nothing."""
    assert parse_header(None) is None
    with pytest.raises(MessageRefused):
        parse_header("")


def test_what_is_not_said_does_not_travel() -> None:
    """The header of a usual message is short."""
    assert Header().to_text() == '{"v":1}'
    assert len(ON_REQUEST.to_text()) < 160


def test_a_full_header_travels_under_its_short_names() -> None:
    """Those of the native dialect."""
    said = json.loads(FULL.to_text())
    assert said == {
        "v": 1, "caps": ["release"], "ex": "ex1", "in": 3, "keep": 60, "w": "host-17", "b": BOOT,
        "ck": 123456, "slots": 4, "credit": 16, "inbox": f"default.{BOOT}", "bt": 1000,
        "replaces": BOOT[::-1], "tk": "3:17-20,25 4:2", "sb": 183456, "at": 2, "base": 1,
        "mode": "alo", "tl": 1500, "sl": 500, "end": "done",
        "node": {"node": "host", "have": {"cores": 8}}, "need": {"cores": 0.5},
    }  # fmt: skip
    assert parse_header(FULL.to_text()) == FULL
    assert len(said) == len(Header._fields), "a field of the header is not looked at here"


name = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64)
count = st.integers(0, 2**53 - 1)
ordinal = st.integers(1, 2**53 - 1)
headers = st.builds(
    Header,
    version=ordinal,
    caps=st.none() | st.lists(name, max_size=5).map(tuple),
    executor=st.none() | name,
    incarnation=st.none() | ordinal,
    worker=st.none() | name,
    boot=st.none() | st.text("0123456789abcdef", min_size=16, max_size=16),
    clock=st.none() | count,
    slots=st.none() | count,
    credit=st.none() | st.integers(0, 4096),
    inbox=st.none() | texts,
    tickets=st.none() | st.sampled_from(["1:1", "3:17-20,25 4:2"]),
    start_by=st.none() | count,
    attempt=st.none() | ordinal,
    base=st.none() | ordinal,
    keep=st.none() | count,
    beat=st.none() | ordinal,
    replaces=st.none() | st.just(BOOT),
    time_limit=st.none() | ordinal,
    soft_time_limit=st.none() | ordinal,
    mode=st.sampled_from([None, "alo", "amo"]),
    end=st.sampled_from([None, "done", "stopped", "limit", "crash"]),
    node=st.none() | st.just({"node": "n", "have": {"cores": 2.5}, "cores_used": 0.5}),
    need=st.none() | st.just({"memory": 5, "accelerators": {"gpu": 1}}),
)


@given(headers)
@settings(deadline=None)
def test_a_header_comes_back_as_it_was(header: Header) -> None:
    """And travels as ASCII, which every broker's tables, keys and files take."""
    text = header.to_text()
    assert text.isascii()
    assert parse_header(text) == header


def test_fields_of_a_later_version_are_ignored() -> None:
    """A rolling upgrade begins with the workers."""
    later = {**json.loads(FULL.to_text()), "v": 2, "grace": 60, "x": {"y": [1]}, "version": 9}
    assert parse_header(json.dumps(later)) == FULL._replace(version=2)


def test_an_integer_may_be_written_with_a_point_and_is_one() -> None:
    """JSON Schema takes 3.0 for an integer; nobody who counts with it should meet a float."""
    header = parse_header('{"v":1.0,"in":3.0,"ck":5e3,"credit":16.0}')
    assert header == Header(incarnation=3, clock=5000, credit=16)
    assert {type(getattr(header, said)) for said in ("version", "incarnation", "clock")} == {int}


def test_a_header_is_refused_when_it_is_too_long_to_be_read() -> None:
    """By who reads it and already by who writes it."""
    room = MAX_HEADER - len('{"v":1,"x":""}')
    fits = json.dumps({"v": 1, "x": "x" * room}, separators=(",", ":"))
    assert len(fits) == MAX_HEADER
    assert parse_header(fits) == Header()
    with pytest.raises(MessageRefused, match=r"^header: ") as caught:
        parse_header(fits + " ")
    assert len(str(caught.value)) < 200
    scattered = ",".join(map(str, range(1, 2000, 2)))
    with pytest.raises(MessageRefused, match=r"^header: "):
        Header(tickets=f"1:{scattered}").to_text()


@pytest.mark.parametrize(
    "header",
    [Header(executor="a b"), Header(boot="x"), Header(clock=-1), Header(tickets=""), Header(0)],
)
def test_a_header_no_peer_would_take_is_not_written(header: Header) -> None:
    """A bug of ours shows where it is made."""
    with pytest.raises(MessageRefused, match=r"^schema: "):
        header.to_text()


@given(nearly([json.loads(FULL.to_text()), json.loads(ON_REQUEST.to_text())]))
@settings(deadline=None)
def test_a_header_that_is_nearly_one_is_read_or_refused(said: Any) -> None:
    """What is read can be counted with."""
    try:
        header = parse_header(json.dumps(said))
    except MessageRefused as refusal:
        assert refusal.reason in {"header", "schema"}
        return
    assert header is not None
    for value in header:
        assert not isinstance(value, (float, bool))
        assert not isinstance(value, int) or value / 1000 >= 0


def test_envelopes_and_headers_are_frozen() -> None:
    """They are handed from thread to thread."""
    with pytest.raises(AttributeError):
        FULL.boot = None  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Envelope(NOTIFY).kind = REQUEST  # type: ignore[misc]


def test_the_kinds_are_taskflows_three_and_ours() -> None:
    """All of ours are announced in ``caps``; beside them only what a peer is able to do."""
    assert KINDS == (NOTIFY, REQUEST, RESPONSE, HELD, CANCEL, RECEIPT, RELEASE, DROPPED, BATCH)
    kinds = {cap.upper() for cap in envelope.CAPS if cap != envelope.ENDS}
    assert kinds == set(KINDS) - {NOTIFY, REQUEST, RESPONSE}
    assert envelope.STOPS not in envelope.CAPS
    assert parse_header(Header(caps=(*envelope.CAPS, envelope.STOPS)).to_text()) is not None
    assert {kind for kind, _ in NEEDED} == set(KINDS) - {NOTIFY, BATCH}  # those in it need theirs
