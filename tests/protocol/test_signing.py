"""Whose message it is: what a signature covers, and which one is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigurationError, MessageRefused
from protocol.signing import MAX_SIGNATURE, Keys, Sealed, destination, parse_keys, sign, verify
from protocol.timing import SIGNATURE_AGE, SIGNATURE_AHEAD

ONE, TWO = "11" * 32, "22" * 32
KEYS = parse_keys(f"one: {ONE}\n", "keys")
NOW = 1_800_000_000.0
TO = destination("", "taskline.native_default.b")
SEALED = Sealed("REQUEST", "ex", "uuid", '{"v":1}')
BODY = b'{"x":1}'


def reason(
    signature: object,
    sealed: Sealed = SEALED,
    body: bytes = BODY,
    *,
    keys: Keys = KEYS,
    ours: tuple[str, ...] = (TO,),
    now: float = NOW,
) -> str | None:
    """Why it is refused; None if it is believed."""
    try:
        verify(keys, signature, ours, sealed, body, now)
    except MessageRefused as refusal:
        assert refusal.detail.isprintable()
        assert ONE not in refusal.detail
        return refusal.reason
    return None


def test_what_was_signed_is_believed() -> None:
    signature = sign(KEYS, TO, SEALED, BODY, NOW)
    assert reason(signature) is None
    assert len(signature) < 200


@pytest.mark.parametrize("size", [0, 1, 16 * 1024 - 1, 16 * 1024, 100_000])
def test_bodies_of_any_size_are_covered_to_their_last_byte(size: int) -> None:
    body = b"x" * size
    signature = sign(KEYS, TO, SEALED, body, NOW)
    assert reason(signature, body=body) is None
    assert reason(signature, body=body + b"x") == "signature"
    assert reason(signature, body=body[:-1] + b"y") == "signature"


@pytest.mark.parametrize(
    "changed",
    [
        replace(SEALED, kind="RESPONSE"),
        replace(SEALED, kind=None),
        replace(SEALED, reply_to="thief"),
        replace(SEALED, reply_to=None),
        replace(SEALED, correlation_id="another"),
        replace(SEALED, header='{"v":1,"at":2}'),
        replace(SEALED, header=None),
        replace(SEALED, header=""),
        replace(SEALED, kind="REQUESTe", reply_to="x"),
        replace(SEALED, kind="REQUEST", reply_to="exuuid", correlation_id=""),
    ],
)
def test_whatever_is_changed_beside_the_body_no_longer_fits(changed: Sealed) -> None:
    assert reason(sign(KEYS, TO, SEALED, BODY, NOW), changed) == "signature"


def test_a_header_that_is_empty_is_not_one_that_is_missing() -> None:
    """The first is refused as no header: a copy must not be turned into that."""
    bare = replace(SEALED, header=None)
    signature = sign(KEYS, TO, bare, BODY, NOW)
    assert reason(signature, bare) is None
    assert reason(signature, replace(SEALED, header="")) == "signature"


def test_a_property_that_is_missing_and_one_that_is_empty_are_the_same() -> None:
    """AMQP leaves it out, others send null or nothing."""
    signature = sign(KEYS, TO, replace(SEALED, reply_to=None), BODY, NOW)
    assert reason(signature, replace(SEALED, reply_to="")) is None


@pytest.mark.parametrize("part", range(5))
def test_no_part_of_the_signature_itself_can_be_changed(part: int) -> None:
    said = sign(KEYS, TO, SEALED, BODY, NOW).split(" ")
    said[part] = {0: "2", 1: "two", 2: said[2][:-1] + "1", 3: "/elsewhere", 4: "A" * 44}[part]
    keys = parse_keys(f"one: {ONE}\ntwo: {ONE}", "keys")
    assert reason(" ".join(said), keys=keys, ours=(TO, "/elsewhere")) == "signature"


NONSENSE: tuple[object, ...] = (
    None, 5, b"1 one", ["1"], "", " ", "1 one", "1 one ٣ / x", "1 one -5 / x", "1 one 5 / é",
    "1 one 5 / \udfff", "1 one 99999999999999999999 / x", "1 one 5 / x\n",
    "x" * (MAX_SIGNATURE + 1),
)  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_what_is_no_signature_is_refused_as_one(nonsense: object) -> None:
    assert reason(nonsense) == "signature"


@pytest.mark.parametrize("odd", [5, ["REQUEST"], {"a": 1}, 1.5, b"REQUEST"])
def test_properties_that_are_no_text_never_fit(odd: object) -> None:
    signature = sign(KEYS, TO, SEALED, BODY, NOW)
    for name in ("kind", "reply_to", "correlation_id", "header"):
        assert reason(signature, replace(SEALED, **{name: odd})) == "signature"


def test_half_a_surrogate_pair_does_not_trip_it() -> None:
    odd = replace(SEALED, reply_to="\udfff")
    assert reason(sign(KEYS, TO, odd, BODY, NOW), odd) is None


def test_a_copy_for_another_reader_is_refused() -> None:
    signature = sign(KEYS, "/another", SEALED, BODY, NOW)
    assert reason(signature) == "signature_address"


def test_the_window_ends_on_both_sides() -> None:
    signature = sign(KEYS, TO, SEALED, BODY, NOW)
    assert reason(signature, now=NOW + SIGNATURE_AGE - 1) is None
    assert reason(signature, now=NOW + SIGNATURE_AGE + 1) == "signature_age"
    assert reason(signature, now=NOW - SIGNATURE_AHEAD + 1) is None
    assert reason(signature, now=NOW - SIGNATURE_AHEAD - 1) == "signature_age"


def test_the_window_and_the_address_are_looked_at_only_in_what_is_genuine() -> None:
    """So that nothing is learnt, and nothing logged, of what a stranger claims."""
    said = sign(KEYS, "/another", SEALED, BODY, NOW).split(" ")
    said[4] = "A" * 44
    assert reason(" ".join(said), now=NOW + 2 * SIGNATURE_AGE) == "signature"


def test_keys_are_changed_one_side_after_the_other() -> None:
    """Both know both; then one signs with the new one; then the old one goes."""
    both = parse_keys(f"one: {ONE}\ntwo: {TWO}", "keys")
    turned = parse_keys(f"two: {TWO}\none: {ONE}", "keys")
    new = parse_keys(f"two: {TWO}", "keys")
    assert reason(sign(both, TO, SEALED, BODY, NOW), keys=KEYS) is None
    assert reason(sign(turned, TO, SEALED, BODY, NOW), keys=both) is None
    assert reason(sign(new, TO, SEALED, BODY, NOW), keys=turned) is None
    assert reason(sign(new, TO, SEALED, BODY, NOW), keys=KEYS) == "signature_key"
    another = parse_keys(f"one: {TWO}", "keys")
    assert reason(sign(another, TO, SEALED, BODY, NOW)) == "signature"


TEXT = st.one_of(st.none(), st.text(max_size=6))
MESSAGES = st.tuples(st.builds(Sealed, TEXT, TEXT, TEXT, TEXT), st.binary(max_size=9))


@settings(max_examples=50)
@given(MESSAGES, MESSAGES)
def test_two_messages_share_a_signature_only_if_they_say_the_same(
    one: tuple[Sealed, bytes], other: tuple[Sealed, bytes]
) -> None:
    """However their texts are cut up."""

    def said(sealed: Sealed, body: bytes) -> tuple[object, ...]:
        properties = (sealed.kind or "", sealed.reply_to or "", sealed.correlation_id or "")
        return (*properties, sealed.header, body)

    same = sign(KEYS, TO, *one, NOW) == sign(KEYS, TO, *other, NOW)
    assert same == (said(*one) == said(*other))


# key files ----------------------------------------------------------------------------------------


def test_a_key_file_has_a_line_for_each_key_and_the_first_signs() -> None:
    keys = parse_keys(f"# ours\n\n b.2 :  {TWO.upper()}  # newer\na-1:{ONE}\r\n", "keys")
    assert keys.signs.id == "b.2"
    assert keys.signs.secret == b"\x22" * 32
    assert list(keys.accepted) == ["b.2", "a-1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        (ONE, "line 1: write ID: SECRET"),
        (f"a b: {ONE}", "line 1: write ID: SECRET"),
        (f"\na: {ONE}\na: {TWO}", "line 3: there is a key 'a' already"),
        ("a: c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "line 1: the secret is not in hexadecimal digits"),
        ("a: 1234", "line 1: a secret of 2 bytes; 16 are the least"),
        ("a:", "line 1: a secret of 0 bytes"),
    ],
)
def test_what_is_wrong_with_a_key_file_is_said_by_line_without_the_secret(
    text: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_keys(text, "keys")
    assert words in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)
    assert ONE not in str(caught.value)


def test_no_secret_is_ever_shown() -> None:
    assert "\\x11" not in repr(KEYS)
    assert ONE not in repr(KEYS)
    assert "\\x11" not in repr(KEYS.signs)
