"""What may travel, what is refused and in which words, and that text of any kind is survived."""

from __future__ import annotations

import array
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import sys
import threading
import tracemalloc
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import values
from protocol.errors import ValueRefused

# -- generated values

STRINGS = st.text(st.characters())  # lone surrogates included
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 700).map(lambda digits: 10**digits - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STRINGS
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(STRINGS, inner)
        | st.dictionaries(STRINGS, inner).map(collections.OrderedDict)
    ),
    max_leaves=25,
)
ODD = st.sampled_from(
    [b"x", {1}, math.nan, math.inf, 1j, object(), object, {1: 2}, {None: 1}, {(1,): 2}, range(3)]
)
ANYTHING = st.recursive(
    SCALARS | ODD,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(STRINGS | st.integers() | st.none(), inner)
    ),
    max_leaves=25,
)


def arrived(value: Any) -> Any:
    """The value as it should arrive: tuples as lists, two surrogate halves as their character."""
    if isinstance(value, (list, tuple)):
        return [arrived(item) for item in value]
    if isinstance(value, dict):
        return {arrived(key): arrived(item) for key, item in value.items()}
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return value


def nested(levels: int) -> list[Any]:
    """A list in a list in a list …, ``levels`` of them."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def refusal(value: object, what: str = "v") -> ValueRefused:
    """The refusal of ``value``, which ``check`` and ``dumps`` must give alike."""
    with pytest.raises(ValueRefused) as checked:
        values.check(value, what)
    with pytest.raises(ValueRefused) as written:
        values.dumps(value, what)
    assert str(checked.value) == str(written.value)
    assert checked.value.path == written.value.path
    return checked.value


@given(PLAIN)
def test_json_values_arrive_as_they_left(value: Any) -> None:
    values.check(value, "v")
    text = values.dumps(value)
    assert text.isascii()
    for data in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode())):
        assert values.loads(data) == arrived(value)


@given(PLAIN)
def test_what_was_read_is_written_again_as_it_was(value: Any) -> None:
    text = values.dumps(value)
    assert values.rewritten(values.loads(text)) == text


def test_so_is_what_no_encoder_writes_quickly() -> None:
    text = "[" * values.MAX_DEPTH + "9" * 6000 + "]" * values.MAX_DEPTH
    assert values.rewritten(values.loads(text)) == text


@given(ANYTHING)
def test_what_check_accepts_arrives_and_what_it_refuses_names_its_place(value: Any) -> None:
    try:
        values.check(value, "argument 'x'")
    except ValueRefused as refused:
        assert refused.path.startswith("argument 'x'")
        assert str(refused).startswith(f"{refused.path}: ")
        assert "changed" not in str(refused)
    else:
        assert values.loads(values.dumps(value)) == arrived(value)


@given(st.binary() | st.text(st.characters()))
def test_nothing_but_a_refusal_comes_of_arbitrary_text(data: bytes | str) -> None:
    try:
        value = values.loads(data)
    except ValueRefused as refused:
        assert refused.path == ""
    else:
        values.check(value, "what was read")


JSONISH = st.lists(
    st.sampled_from(
        ["[", "]", "{", "}", '"', "\\", '\\"', ":", ",", "1", "-", ".", "e999", "NaN", "null", " ",
         '"a":', "[" * 150, "]" * 150, "{}", '"[[[["', "9" * 700, "\\ud800", "é"]
    )
).map("".join)  # fmt: skip


@given(JSONISH)
def test_nothing_but_a_refusal_comes_of_text_that_is_nearly_json(text: str) -> None:
    try:
        value = values.loads(text.encode())
    except ValueRefused:
        return
    values.check(value, "what was read")
    assert values.loads(values.dumps(value)) == value


@given(PLAIN)
def test_other_peoples_json_is_read_alike(value: Any) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False, indent=1)
        expected = json.loads(text)
        data = text.encode()
    except ValueError:  # digits beyond their limit, or a surrogate that has no UTF-8
        return
    assert values.loads(data) == expected


@given(PLAIN)
def test_text_is_what_the_standard_library_writes(value: Any) -> None:
    try:
        expected = json.dumps(value, separators=(",", ":"))
    except ValueError:  # digits beyond its limit
        return
    assert values.dumps(value) == expected
    assert values._write(value) == expected, "the writer without a stack says the same"


# -- what travels


class Text(str):
    """A string of a library's own."""


class Real(float):
    """A float of a library's own, as ``numpy.float64`` is."""


class Whole(int):
    """An int of a library's own, whose text is not its digits."""

    def __repr__(self) -> str:
        return "whole"

    __str__ = __repr__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Text("a"), "a"),
        (Real(1.5), 1.5),
        (Whole(7), 7),
        (Whole(10**700), 10**700),
        ([Whole(3)] * 20, [3] * 20),
        (collections.OrderedDict(b=1, a=(2,)), {"b": 1, "a": [2]}),
        (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        ({Text("k"): 1}, {"k": 1}),
        ((), []),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (sys.float_info.max, sys.float_info.max),
    ],
)
def test_subclasses_that_lose_nothing_arrive_as_the_plain_value(value: Any, expected: Any) -> None:
    back = values.loads(values.dumps(value))
    assert back == expected
    assert type(back) is type(expected)
    assert math.copysign(1, back) == math.copysign(1, expected) if back == 0.0 else True


def test_a_lone_surrogate_travels_through_bytes_and_two_halves_join() -> None:
    """A file name with undecodable bytes arrives whole; JSON cannot keep two halves apart."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert values.loads(values.dumps(name).encode("ascii")) == name
    assert values.loads(values.dumps("\ud83d\ude00").encode("ascii")) == "\U0001f600"
    assert values.loads(values.dumps("\ude00\ud83d").encode("ascii")) == "\ude00\ud83d"


@pytest.fixture(params=[None, 0, 640])
def digit_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """The interpreter's own limit as it is, off, and as low as it goes."""
    if request.param is None or not hasattr(sys, "set_int_max_str_digits"):
        yield
        return
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(request.param)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.usefixtures("digit_limit")
@pytest.mark.parametrize("digits", [1, 599, 600, 601, 640, 641, 4300, 4301, 50_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_ints_of_any_size_travel_whatever_the_interpreters_limit(digits: int, sign: int) -> None:
    for number in (sign * 10 ** (digits - 1), sign * (10**digits - 1)):
        expected = ("-" if sign < 0 else "") + (
            "9" * digits if number == sign * (10**digits - 1) else "1" + "0" * (digits - 1)
        )
        assert values.dumps(number) == expected
        assert values.loads(expected) == number
        assert values.loads(values.dumps({"a": [1, number, "x", []]})) == {
            "a": [1, number, "x", []]
        }
    if hasattr(sys, "get_int_max_str_digits"):
        before = sys.get_int_max_str_digits()
        values.dumps(10**5000)
        assert sys.get_int_max_str_digits() == before


@given(st.integers(0, 9_000), st.integers())
def test_digits_of_large_ints_are_right(bits: int, salt: int) -> None:
    number = (salt << bits) ^ (salt * 0x9E3779B97F4A7C15)
    digits = values._digits_of(number)
    assert values._int_of(digits) == number
    quotient, last = divmod(abs(number), 10**9)
    assert int(digits[-9:].lstrip("-")) == last or not quotient
    assert digits.lstrip("-").lstrip("0") == digits.lstrip("-") or number == 0


def test_a_digit_run_in_a_string_or_a_float_is_no_large_int() -> None:
    digits = "7" * 5000
    assert values.loads(f'["{digits}", 0.{digits}, 1]') == [digits, 7 / 9, 1]


# -- what is refused, and in which words


class Colour(enum.IntEnum):
    """An enumeration whose members are ints."""

    RED = 1


class Mood(str, enum.Enum):
    """An enumeration whose members are strings."""

    GOOD = "good"


class Point(NamedTuple):
    """A namedtuple."""

    x: int


@dataclasses.dataclass
class Size:
    """A dataclass."""

    width: int


class Settings(dict):  # type: ignore[type-arg]
    """A dict with more to it."""


class Row(list):  # type: ignore[type-arg]
    """A list with more to it."""


class Pair(tuple):  # type: ignore[type-arg]
    """A tuple with more to it."""


class Hostile(type):
    """A metaclass that answers nothing."""

    def __hash__(cls) -> int:
        raise RuntimeError("no hash")

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("no equality")

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Unhelpful(metaclass=Hostile):
    """An object that answers nothing either."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no class")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"x", "bytes cannot travel; encode them, for instance with base64"),
        (bytearray(b"x"), "a bytearray cannot travel; encode it, for instance with base64"),
        ({1}, "a set cannot travel; turn it into a list"),
        (frozenset(), "a frozenset cannot travel; turn it into a list"),
        (range(3), "a range cannot travel; turn it into a list, or send its bounds"),
        ({}.keys(), "a dict_keys cannot travel; turn it into a list"),
        ((x for x in "ab"), "a generator cannot travel; turn it into a list"),
        (collections.deque(), "a collections.deque cannot travel; turn it into a list"),
        (array.array("i"), "an array.array cannot travel; send its .tolist()"),
        (1j, "a complex cannot travel; send [z.real, z.imag]"),
        (math.nan, "a float that is not finite (nan or inf) cannot travel; send None or a string"),
        (-math.inf, "a float that is not finite (nan or inf) cannot travel"),
        (Real("nan"), "a float that is not finite"),
        (datetime.datetime(2020, 1, 1), "a datetime.datetime cannot travel; send its .isoformat()"),
        (datetime.date(2020, 1, 1), "a datetime.date cannot travel; send its .isoformat()"),
        (datetime.timedelta(1), "a datetime.timedelta cannot travel; send its .total_seconds()"),
        (pathlib.Path("x"), "cannot travel; send str(path)"),
        (decimal.Decimal(1), "a decimal.Decimal cannot travel; send str(…) of it"),
        (uuid.UUID(int=0), "an uuid.UUID cannot travel; send str(…) of it"),
        (Colour.RED, "it is a member of an Enum: send its .value or its .name"),
        (Mood.GOOD, "it is a member of an Enum: send its .value or its .name"),
        (Point(1), "it would lose its field names: send its ._asdict() or tuple(…)"),
        (Pair(), "cannot travel; send tuple(…) of it"),
        (Size(1), "cannot travel; send dataclasses.asdict(…) of it"),
        (Settings(), "it would arrive as a plain dict: send dict(…) of it"),
        (Row(), "it would arrive as a plain list: send list(…) of it"),
        (Future(), "wait for it and send its result()"),
        (ValueError("x"), "a ValueError cannot travel; send its text: str(…)"),
        (print, "a builtin_function_or_method cannot travel; send its name"),
        (int, "a class cannot travel; send its name"),
        (object(), "an object cannot travel; send what it consists of, for instance as a dict"),
    ],
)
def test_what_cannot_travel_is_refused_with_what_to_do(value: object, sentence: str) -> None:
    for place, path in ((value, "v"), ([1, (value,)], "v[1][0]"), ({"a": value}, "v.a")):
        refused = refusal(place)
        assert refused.path == path
        assert str(refused).startswith(f"{path}: ")
        assert sentence in str(refused)
    assert isinstance(refusal(value), TypeError)


def test_an_object_that_answers_nothing_is_refused_like_any_other() -> None:
    """Neither its class's hash, equality and name nor its own repr and class are asked."""
    for place, path in (
        (Unhelpful(), "v"),
        ([Unhelpful()] * 20, "v[0]"),
        ({"a": Unhelpful()}, "v.a"),
    ):
        refused = refusal(place)
        assert refused.path == path
        assert "Unhelpful cannot travel; send what it consists of" in str(refused)
    assert "its key of which repr() fails is a" in str(refusal({Unhelpful(): 1}))


def test_numpys_scalars_and_arrays_are_told_how_to_travel() -> None:
    """By their names alone: this test needs no numpy, and neither do we."""
    generic = type("generic", (), {"__module__": "numpy"})
    int64 = type("int64", (generic,), {"__module__": "numpy"})
    ndarray = type("ndarray", (), {"__module__": "numpy"})
    assert "a numpy.int64 cannot travel; send its .item()" in str(refusal(int64()))
    assert "a numpy.ndarray cannot travel; send its .tolist()" in str(refusal(ndarray()))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([0, 1, 2, {"size": {1}}], "argument 'images'[3].size"),
        ({"a b": {"": [{1}]}}, "argument 'images'['a b'][''][0]"),
        ({"été": {1}}, "argument 'images'.été"),
        ({"\ud800": {1}}, "argument 'images'['\\ud800']"),
        ({"k" * 500: {1}}, "argument 'images'['" + "k" * 59 + "…]"),
        ([{"ok": 1}] * 9 + [{"bad": b""}], "argument 'images'[9].bad"),
        ([*range(50), math.nan], "argument 'images'[50]"),
        ([0.5] * 50 + [math.inf], "argument 'images'[50]"),
    ],
)
def test_a_refusal_names_the_path(value: object, path: str) -> None:
    refused = refusal(value, "argument 'images'")
    assert refused.path == path
    assert str(refused).startswith(f"{path}: ")


def test_the_first_offence_in_document_order_is_named() -> None:
    assert refusal([[[{1}]], b"", 1j]).path == "v[0][0][0]"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (3, "its key 3 is an int"),
        (True, "its key True is a bool"),
        (None, "its key None is a NoneType"),
        (1.5, "its key 1.5 is a float"),
        ((1, 2), "its key (1, 2) is a tuple"),
        (b"k", "its key b'k' is a bytes"),
        (Mood.GOOD, "its key "),
        (pytest.param(10**5000, "of which repr() fails is an int", id="huge")),
    ],
)
def test_a_key_that_is_no_string_is_named(key: object, shown: str) -> None:
    refused = refusal({"a": [{"fine": 1, key: 2}]})
    assert refused.path == "v.a[0]"
    assert shown in str(refused)
    assert str(refused).endswith("only strings can be keys; turn it into one with str(…)")


def test_a_cycle_is_refused_and_shared_parts_are_not() -> None:
    loop: dict[str, Any] = {"a": [1]}
    loop["a"].append({"back": loop})
    refused = refusal(loop)
    assert refused.path == "v.a[1].back"
    assert "contains itself" in str(refused)
    twice: list[Any] = []
    twice += [twice, twice]
    assert "contains itself" in str(refusal(twice))
    shared = [1, {"x": 2}]
    assert values.loads(values.dumps([shared, shared])) == [shared, shared]


def test_shared_parts_are_not_looked_at_again_and_again() -> None:
    """2^60 paths lead to the set; the answer comes at once all the same."""
    value: list[Any] = [{1}]
    for _ in range(60):
        value = [value, value]
    assert refusal(value).path == "v" + "[0]" * 61
    good: list[Any] = []
    for _ in range(60):
        good = [good, good]
    values.check(good, "v")
    assert refusal([good, {1}]).path == "v[1]"


def test_a_part_that_is_good_high_up_may_still_be_too_deep_further_down() -> None:
    part = nested(150)
    deep: list[Any] = [part]
    for _ in range(100):
        deep = [deep]
    assert "more than 200 levels" in str(refusal([part, deep]))


@pytest.mark.parametrize("leaf", [[], {}, ()])
def test_two_hundred_levels_travel_and_one_more_does_not(leaf: object) -> None:
    def within(levels: int) -> Any:
        value: Any = leaf
        for _ in range(levels - 1):
            value = {"a": value}
        return value

    fits = within(values.MAX_DEPTH)
    assert values.loads(values.dumps(fits)) == arrived(fits)
    refused = refusal(within(values.MAX_DEPTH + 1))
    assert "nested more than 200 levels deep" in str(refused)
    assert len(refused.path) <= values.MAX_PATH + 1
    text = '{"a":' * values.MAX_DEPTH + "[]" + "}" * values.MAX_DEPTH
    with pytest.raises(ValueRefused, match="more than 200 levels"):
        values.loads(text)


def at_the_end_of_the_stack(action: Any, room: int) -> Any:
    """Call ``action`` with about ``room`` frames left in a thread of its own."""
    outcome: list[Any] = []

    def descend(left: int) -> Any:
        return descend(left - 1) if left else action()

    def run() -> None:
        try:
            outcome.append(descend(sys.getrecursionlimit() - room))
        except Exception as error:  # handed to the test's thread
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return outcome[0]


def test_deep_values_are_written_where_the_stack_has_no_room_for_recursion() -> None:
    value = nested(values.MAX_DEPTH)
    text = values.dumps(value)
    assert at_the_end_of_the_stack(lambda: values.dumps(value), 60) == text
    refused = at_the_end_of_the_stack(lambda: values.dumps([*value, {1}]), 60)
    assert isinstance(refused, ValueRefused)
    read = at_the_end_of_the_stack(lambda: values.loads(text), 60)
    assert read == value or isinstance(read, ValueRefused)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[{}," * 100_000,
        '["\\"",' * 100_000,
        '["\\\\",' * 100_000,
        '["\\\\\\"]]]]",' * 100_000,
        '["é",' * 100_000,
    ],
)
def test_text_that_is_far_too_deep_is_refused_before_anything_descends(text: str) -> None:
    """Even where somebody has raised the recursion limit beyond what the C stack holds."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        for data in (text, text.encode()):
            with pytest.raises(ValueRefused, match="nested more than 200 levels"):
                values.loads(data)
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_strings_are_not_depth() -> None:
    for string in ("[" * 1000, '"[' * 500, '\\"[' * 500, "\\", '"', "é[" * 500, '\\\\"{' * 300):
        assert values.loads(values.dumps([string, string])) == [string, string]
    assert values.loads("[" + ",".join(["[{}]"] * 1000) + "]") == [[{}]] * 1000


@pytest.mark.parametrize("length", range(16 * 1024 - 4, 16 * 1024 + 5))
def test_a_string_of_any_length_hides_its_brackets_and_shows_those_behind_it(length: int) -> None:
    """They are counted in pieces of 16 KiB, and a string may end in another than it began in."""
    hidden = "[" * length
    assert values.loads(values.dumps([hidden, hidden])) == [hidden, hidden]
    for before in (f'["{hidden}",', f'["{hidden}","",', f'["{hidden}","{hidden}",'):
        with pytest.raises(ValueRefused, match="nested more than 200 levels"):
            values.loads(before + "[" * values.MAX_DEPTH)


@given(text=st.text('[{]}"x'), most=st.integers(0, 12))
def test_whether_there_are_few_brackets_is_told_of_texts_and_bytes_alike(
    text: str, most: int
) -> None:
    brackets = text.count("[") + text.count("{")
    assert values.has_few(text, most) == values.has_few(text.encode(), most) == (brackets <= most)


@pytest.mark.parametrize("piece", [b'{"a":', b'""', b'["",', b'["[",', b'{"\\"":'])
def test_to_look_at_the_brackets_of_a_text_takes_little_more_than_the_text(piece: bytes) -> None:
    """A peer's text, which may be made for the purpose and be refused after the look."""
    text = piece * (2_000_000 // len(piece))
    tracemalloc.start()
    try:
        with pytest.raises(ValueRefused):
            values.loads(text)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        with contextlib.suppress(ValueRefused):
            values.demand_few(text, "the body", 10)
        _, again = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(peak, again) < 4 * len(text)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", "not JSON: Expecting value at character 0"),
        (b"", "not JSON"),
        ("nul", "not JSON"),
        ("NaN", "JSON with NaN, which is no JSON"),
        ("[Infinity]", "JSON with Infinity, which is no JSON"),
        ("-Infinity", "JSON with -Infinity, which is no JSON"),
        ("1e999", "JSON with the number 1e999, which no float can hold"),
        ("-" + "9" * 400 + ".0", "which no float can hold"),
        ("1 2", "not JSON: Extra data at character 2"),
        ("{}x", "not JSON: Extra data"),
        ('{"a":1,}', "not JSON"),
        ("{a:1}", "not JSON"),
        ("01", "not JSON"),
        ("'a'", "not JSON"),
        ('"\x00"', "not JSON: Invalid control character"),
        ('"\\x"', "not JSON"),
        ('"abc', "not JSON"),
        ("\ufeff1", "not JSON"),
        ("1\u00a0", "not JSON"),
        ("١", "not JSON"),
        (b'"\xff"', "not UTF-8: invalid start byte at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\x80"', "not UTF-8"),
        ("1".encode("utf-16"), "not UTF-8"),
        ("1".encode("utf-16-le"), "not JSON"),
        ({}, "JSON is text or bytes, and this is a dict"),
        (None, "JSON is text or bytes, and this is a NoneType"),
    ],
)
def test_text_that_is_no_json_is_refused_in_a_sentence(data: Any, sentence: str) -> None:
    with pytest.raises(ValueRefused) as refused:
        values.loads(data)
    assert sentence in str(refused.value)
    assert refused.value.path == ""


def test_of_duplicate_keys_the_last_one_counts() -> None:
    assert values.loads('{"a":1,"a":2}') == {"a": 2}


def test_a_value_changed_by_another_thread_meanwhile_is_written_or_refused() -> None:
    """Never half a text, never a stranger's error."""
    value: dict[str, Any] = {str(n): n for n in range(200)}
    done = threading.Event()

    def change() -> None:
        n = 0
        while not done.is_set():
            n += 1
            value[f"x{n % 50}"] = {1} if n % 3 else [n]
            value.pop(f"x{(n + 25) % 50}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            try:
                values.loads(values.dumps(value))
            except ValueRefused:
                pass
    finally:
        done.set()
        thread.join(30)


# -- a text that may not be longer


def test_what_is_certainly_too_long_is_refused_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "_text", lambda *_: pytest.fail("it was written"))
    for refuse in (values.dumps, values.check):
        with pytest.raises(ValueRefused, match=r"the result: at least 1\.9 MiB") as caught:
            refuse(["x" * 1_000_000] * 2, "the result", 1000)
        assert caught.value.path == "the result"


_DOUBLED: Any = ["leaf"]
for _ in range(40):
    _DOUBLED = [_DOUBLED, _DOUBLED]
_NESTED: Any = {"k" * values._LONG: ["\U0001f600" * values._LONG] * values.MANY}
for _ in range(values._FEW):
    _NESTED = [_NESTED, *["\U0001f600" * values._LONG] * (values.MANY - 1)]


@given(PLAIN)
def test_what_is_taken_to_be_small_is(value: Any) -> None:
    """Only the text of what is not small is measured before it is written."""
    if values._survey(value) == "small":
        assert len(values.dumps(value)) < values.SMALL


@pytest.mark.parametrize(
    "value",
    [_DOUBLED, _NESTED, ["x" * (values._LONG + 1)], {"x" * (values._LONG + 1): 1}, list(range(9))],
)
def test_what_may_be_long_is_not_taken_to_be_small(value: Any) -> None:
    """A part that is met twice is written twice; forty such, one in the other, are a million
    million.
    """
    assert values._survey(value) == "plain"
    with pytest.raises(ValueRefused):
        values.dumps(_DOUBLED, "value", values.SMALL)


def test_what_turns_out_too_long_when_it_is_written_is_refused_too() -> None:
    assert values.dumps("é" * 10, "it", 62) == '"' + "\\u00e9" * 10 + '"'
    with pytest.raises(ValueRefused, match="it: 62 bytes as JSON"):
        values.dumps("é" * 10, "it", 61)


def test_what_cannot_travel_is_named_before_its_size() -> None:
    with pytest.raises(ValueRefused, match="a set cannot travel"):
        values.dumps(["x" * 5000, {1}], "it", 1000)
