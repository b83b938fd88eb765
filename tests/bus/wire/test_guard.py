"""Who has to sign, and what is done with who has not: from publisher to dispatcher."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.wire import Dispatcher, make_guard
from bus.wire.guard import Guard
from bus.wire.outgoing import properties_of
from protocol import messages
from protocol.envelope import HEADER, REQUEST, RESPONSE, Envelope, Header
from protocol.errors import ConfigurationError
from protocol.messages import Request, Response
from protocol.parcel import Parcel, Received, Refused
from protocol.signing import SIGNATURE
from protocol.topology import Dialect, Names
from tests.bus.wire.test_dispatcher import delivery

ONE, TWO = "11" * 32, "22" * 32
NATIVE, TASKFLOW = Names("native", "taskline"), Names("taskflow", "taskline")
INBOX = "default.b"
BODY = messages.encode(Request("m.task"))
HEADER_IN = Header(
    executor="ex", incarnation=1, boot="0" * 16, tickets="1:1", start_by=60000, mode="alo"
)
ASKED = Parcel(NATIVE.to_inbox(INBOX), Envelope(REQUEST, "ex", "uuid", HEADER_IN), BODY)
TOLD = Parcel(
    NATIVE.to_replies("ex"),
    Envelope(RESPONSE, None, "uuid", Header(boot="0" * 16, clock=5, tickets="1:1")),
    messages.encode(Response.running()),
)
BOTH: tuple[Dialect, ...] = ("native", "taskflow")


def keys(tmp_path: Path, text: str = f"one: {ONE}") -> Path:
    """A key file."""
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    return path


def guard_of(path: Path, *dialects: Dialect, required: bool | None = None) -> Guard:
    """Of one who reads everything that is sent in these tests."""
    queues = [NATIVE.inbox(INBOX), NATIVE.call_queue(INBOX), NATIVE.replies("ex")]
    guard = make_guard(path, required, dialects or ("native",), queues)
    assert guard is not None
    return guard


def arrives(parcel: Parcel, guard: Guard | None, **changes: Any) -> Any:
    """The delivery of what was sent, but for what a thief has changed."""
    said = properties_of(parcel, guard)
    about = {
        name: said.get(name)
        for name in ("content_type", "content_encoding", "type", "reply_to", "correlation_id")
    }
    headers = {**said["headers"], **changes.pop("headers", {})}
    body = changes.pop("body", parcel.body)
    return delivery(body, **{**about, "headers": headers, **changes})


def sorted_by(guard: Guard | None, *found: Any, at_worker: bool = True) -> Any:
    """What they are taken for, and how many were refused for what."""
    dispatcher = Dispatcher(at_worker=at_worker, guard=guard)
    return dispatcher.sort(found), dispatcher.refusals


def test_what_a_peer_with_the_keys_sends_is_let_in(tmp_path: Path) -> None:
    guard = guard_of(keys(tmp_path))
    (found,), refusals = sorted_by(guard, arrives(ASKED, guard))
    assert isinstance(found, Received)
    assert found.envelope == ASKED.envelope
    assert not refusals


def test_both_fan_outs_and_both_queues_are_destinations_of_their_readers(tmp_path: Path) -> None:
    guard = guard_of(keys(tmp_path))
    call = Parcel(NATIVE.to_everybody(NATIVE.call), Envelope("NOTIFY", "ex"), b"{}")
    (found,), _ = sorted_by(guard, arrives(call, guard))
    assert isinstance(found, Received)
    hello = Parcel(NATIVE.to_everybody(NATIVE.hello), Envelope("NOTIFY", "ex"), b"{}")
    (found,), refusals = sorted_by(guard, arrives(hello, guard))
    assert isinstance(found, Refused)
    assert refusals == {"signature_address": 1}


def test_a_message_is_signed_each_time_that_it_leaves(tmp_path: Path) -> None:
    """What is sent again after an outage must not be too old."""
    now = [1000.0]
    guard = guard_of(keys(tmp_path))
    guard._clock = lambda: now[0]
    first = properties_of(ASKED, guard)["headers"][SIGNATURE]
    now[0] += 7
    again = properties_of(ASKED, guard)["headers"][SIGNATURE]
    assert (first.split(" ")[2], again.split(" ")[2]) == ("1000000", "1007000")


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("unsigned", {"headers": {SIGNATURE: None}}),
        ("signature", {"headers": {SIGNATURE: "mine"}}),
        ("signature", {"headers": {HEADER: '{"v":1}'}}),
        ("signature", {"headers": {HEADER: None}}),
        ("signature", {"body": BODY.replace(b"m.task", b"m.evil")}),
        ("signature", {"reply_to": "thief"}),
        ("signature", {"correlation_id": "another"}),
        ("signature", {"type": "CANCEL"}),
        ("signature", {"type": None}),
        ("signature", {"body": 5}),
        ("compression", {"headers": {"compression": "application/x-gzip"}}),
        ("content_type", {"content_type": "application/x-python-serialize"}),
    ],
)
def test_whatever_a_thief_changes_is_refused_and_nobody_is_told(
    tmp_path: Path, reason: str, changes: dict[str, Any]
) -> None:
    """Else a stranger could end a request, or have an answer sent, by a bad message about it."""
    guard = guard_of(keys(tmp_path))
    (found,), refusals = sorted_by(guard, arrives(ASKED, guard, **changes))
    assert isinstance(found, Refused)
    assert refusals == {reason: 1}
    assert (found.kind, found.reply_to, found.correlation_id) == (None, None, None)


def test_a_peer_s_own_mistake_is_still_answered(tmp_path: Path) -> None:
    """What is signed and makes no sense comes from a peer, who has to hear of it."""
    guard = guard_of(keys(tmp_path))
    (found,), refusals = sorted_by(guard, arrives(replace(ASKED, body=b"{}"), guard))
    assert isinstance(found, Refused)
    assert refusals == {"schema": 1}
    assert (found.kind, found.reply_to, found.correlation_id) == (REQUEST, "ex", "uuid")


def test_bodies_are_checked_however_the_broker_hands_them_over(tmp_path: Path) -> None:
    guard = guard_of(keys(tmp_path))
    for body in (BODY, BODY.decode(), bytearray(BODY), memoryview(BODY)):
        (found,), _ = sorted_by(guard, arrives(ASKED, guard, body=body))
        assert isinstance(found, Received)


def test_while_not_everybody_has_keys_the_unsigned_is_let_in_and_the_forged_is_not(
    tmp_path: Path,
) -> None:
    guard = guard_of(keys(tmp_path), required=False)
    (plain, forged), refusals = sorted_by(
        guard, arrives(ASKED, None), arrives(ASKED, guard, reply_to="thief")
    )
    assert isinstance(plain, Received)
    assert isinstance(forged, Refused)
    assert refusals == {"signature": 1}
    assert "ACCEPTED" in str(guard)
    (found,), _ = sorted_by(None, arrives(ASKED, guard))  # and who has none reads it all the same
    assert isinstance(found, Received)


def test_where_taskflow_is_spoken_too_its_messages_pass_as_foreign_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    guard = guard_of(keys(tmp_path), *BOTH)
    theirs = Parcel(TASKFLOW.to_replies("ex"), Envelope(RESPONSE, None, "uuid"), TOLD.body)
    assert properties_of(theirs, guard)["headers"] == {}
    bad = replace(theirs, body=b"{}")
    (signed, foreign, refused, unsigned), refusals = sorted_by(
        guard,
        arrives(TOLD, guard),
        arrives(theirs, guard),
        arrives(bad, guard),
        arrives(TOLD, None),
        at_worker=False,
    )
    assert isinstance(signed, Received)
    assert not signed.envelope.is_foreign
    assert isinstance(foreign, Received)
    assert foreign.envelope.is_foreign
    assert isinstance(refused, Refused)
    assert refused.is_foreign
    assert isinstance(unsigned, Refused)
    assert refusals == Counter(schema=1, unsigned=1)


def test_what_is_asked_for_and_cannot_be_had_is_refused_at_once(tmp_path: Path) -> None:
    path = keys(tmp_path)
    with pytest.raises(ConfigurationError, match="needs keys: say --signing-keys FILE"):
        make_guard(None, True, ("native",), [])
    with pytest.raises(ConfigurationError, match="taskflow's peers know none"):
        make_guard(path, True, BOTH, [])
    with pytest.raises(ConfigurationError, match="taskflow's peers know none"):
        make_guard(path, True, ("taskflow",), [])
    assert make_guard(path, None, ("taskflow",), []) is None
    assert make_guard(None, None, ("native",), []) is None


def test_the_banner_names_keys_and_never_shows_them(tmp_path: Path) -> None:
    guard = guard_of(keys(tmp_path, f"two: {TWO}\none: {ONE}"))
    assert str(guard) == "with key two, accepts one too; what is unsigned is refused"
