"""What may travel: JSON, and how it is written and read.

Decided here: a value travels if it is None, a bool, an int of any size, a finite float, a
string, or a list, tuple or dict with string keys of such values, at most ``MAX_DEPTH`` deep. It
arrives as the same plain value, except that a tuple arrives as a list. Everything else is refused
with its path and what to do instead, never converted silently.

Subclasses travel where nothing a reader could miss is lost:

* of ``str``, ``int`` and ``float``: yes, as the plain value, which is what they are
  (BeautifulSoup's strings, ``numpy.float64``);
* an ``Enum`` member, be it an ``IntEnum``: no. It would arrive as an int for which ``is
  Colour.RED`` is silently false; send its ``.value``;
* ``OrderedDict``, ``defaultdict`` and ``Counter``: yes, as a dict. Any other subclass of dict or
  list: no, its attributes would be lost and its methods might tell another story;
* a namedtuple: no. It would arrive as a list without its field names.

A string travels even if it holds a lone surrogate (a file name from ``os.fsdecode``), because
the text is ASCII with escapes, as taskflow's peers write it. A high surrogate followed by a low one
arrives as the one character they spell: JSON cannot tell these apart.

Ints that ``int()`` and ``str()`` refuse (of 4300 digits), or take quadratic time for, are converted
by halves here, whatever the interpreter's limit says.

Not decided here: the shape of messages (``schemas``), how long a body may be (``size``), who is
told of a refusal.
Called by everything that makes or reads a body; any thread; no user code runs (but the ``repr`` of
a key that is refused).
"""

from __future__ import annotations

import json
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact
from enum import Enum
from itertools import accumulate
from math import isfinite
from typing import Any, Final, Literal, NoReturn

from protocol.errors import ValueRefused
from protocol.size import at_least, too_long

#: A value that may travel: the user's payload, of which nothing more is known.
Json = Any

#: Lists and dicts in one message. An empty one is three characters to write and 64 bytes to read:
#: 16 MiB of them would be 360 MB.
MAX_CONTAINERS: Final = 1_000_000
MAX_DEPTH: Final = 200  # containers inside each other; far below any stack's end on either side
LARGE_DIGITS: Final = 600  # decimal digits; below 640, the lowest limit Python lets anyone set
MANY: Final = 8  # items; from here on it pays to look at the types of all of them first
MAX_PATH: Final = 400  # characters of a path in an error; the middle of a longer one is left out
MAX_KEY: Final = 60  # characters of one key in such a path

_LARGE: Final[int] = 10**LARGE_DIGITS
_LARGE_BITS: Final = _LARGE.bit_length() - 1  # an int of no more bits has no more digits

_LEAVES: Final = frozenset({str, bool, type(None)})
_ONLY_INTS: Final = frozenset({int})
_ONLY_FLOATS: Final = frozenset({float})
_DICTS: Final = frozenset({dict, OrderedDict, defaultdict, Counter})
_LISTS: Final = frozenset({list, tuple})
_CONTAINERS: Final = _DICTS | _LISTS

#: ``small`` is ``plain``, and its text has less than :data:`SMALL` bytes.
_Verdict = Literal["small", "plain", "large", "refused"]

#: At most so many lists and dicts, each of at most ``MANY`` items and these of so many characters,
#: twelve bytes each at worst.
_FEW: Final = 64
_LONG: Final = 1000
SMALL: Final = (_FEW + 1) * MANY * 2 * (12 * _LONG + 4)


def check(value: object, what: str, most: int | None = None) -> None:
    """Raise :class:`~protocol.errors.ValueRefused` unless ``value`` may travel.

    ``what`` is what the value is to the user, and begins the path: with ``argument 'images'`` the
    error may say ``argument 'images'[3].size: a set cannot travel; turn it into a list``. Cycles
    and values deeper than :data:`MAX_DEPTH` are refused too, and what no text of ``most`` bytes
    can hold. Any thread; never recursive.
    """
    if _survey(value) == "refused":
        _refuse(value, what)
    if most is not None:
        _demand_room(value, what, most)


def dumps(value: object, what: str = "value", most: int | None = None) -> str:
    """The compact ASCII JSON text of ``value``, which is checked first as :func:`check` does.

    Raises :class:`~protocol.errors.ValueRefused`, also if another thread changes the value so that
    it can no longer be written, and if its text is longer than ``most`` bytes: before it is
    written, where that is certain then.
    """
    verdict = _survey(value)
    if verdict == "refused":
        _refuse(value, what)
    if most is None:
        return _text(value, what, verdict)
    if verdict != "small" or most < SMALL:
        _demand_room(value, what, most)
    text = _text(value, what, verdict)
    if len(text) > most:
        raise ValueRefused(too_long(what, len(text)), what)
    return text


def rewritten(value: Json) -> str:
    """The compact ASCII JSON text of what :func:`loads` has read: it is not checked again."""
    try:
        return _ENCODER.encode(value)
    except (ValueError, RecursionError):  # a large int, or a stack that is nearly full
        return dumps(value)


def loads(data: str | bytes | bytearray | memoryview, max_depth: int = MAX_DEPTH) -> Json:
    """The value of a JSON text; bytes are strict UTF-8.

    Raises :class:`~protocol.errors.ValueRefused` (its ``path`` empty) for anything that is not one
    JSON value by RFC 8259: NaN and Infinity, an exponent beyond a float, trailing text, invalid
    UTF-8; and for more than ``max_depth`` levels, which are counted before anything descends.
    Of duplicate keys the last one counts.
    """
    if isinstance(data, str):
        text = data
    elif isinstance(data, (bytes, bytearray, memoryview)):
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueRefused(f"not UTF-8: {error.reason} at byte {error.start}") from None
    else:
        raise ValueRefused(f"JSON is text or bytes, and this is {_an(_name(type(data)))}")
    if not has_few(text, max_depth) and _depth(_bytes_of(text)) > max_depth:
        raise ValueRefused(f"JSON nested more than {max_depth} levels deep")
    try:
        if len(text) <= LARGE_DIGITS:
            return _DECODER.decode(text)
        return _read(text)
    except json.JSONDecodeError as error:
        raise ValueRefused(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueRefused("JSON that the rest of the calling thread's stack cannot hold") from None


def has_few(text: str | bytes, most: int) -> bool:
    """Whether a JSON text is seen at a glance to have no more than ``most`` lists and dicts.

    Brackets in strings count here like all others. They are looked for by ``replace``, which stops
    at ``most`` and finds the few of a long text in a tenth of the time that ``count`` takes.
    """
    if len(text) <= most:
        return True
    if isinstance(text, str):
        more = len(text) - len(text.replace("[", "", most + 1))
        return more <= most and more + len(text) - len(text.replace("{", "", most + 1)) <= most
    more = len(text) - len(text.replace(b"[", b"", most + 1))
    return more <= most and more + len(text) - len(text.replace(b"{", b"", most + 1)) <= most


def demand_few(text: str | bytes, what: str, most: int) -> None:
    """Raise ``ValueRefused`` if a JSON text holds more than ``most`` lists and dicts.

    They are counted as they are written: to read them is what costs.
    """
    if has_few(text, most):
        return
    brackets = _brackets(_bytes_of(text) if isinstance(text, str) else text)
    found = brackets.count(b"[") + brackets.count(b"{")
    if found > most:
        raise ValueRefused(
            f"{what}: {found:,} lists and dicts, and a message holds no more than {most:,}; send "
            "columns instead of rows, or put it where both sides can read it and send its path",
            what,
        )


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold; an int of a peer's may be larger."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


# -- checking


def _demand_room(value: object, what: str, most: int) -> None:
    size = at_least(value, most)
    if size > most:
        raise ValueRefused(too_long(what, size, is_least=True), what)


def _survey(value: Any) -> _Verdict:
    """Level by level, so that the depth is the number of rounds.

    A container met twice on one level is looked at once, so a cycle ends at ``MAX_DEPTH`` without
    growing, and costs no book-keeping where there is none.
    """
    leaves, dicts, containers = _LEAVES, _DICTS, _CONTAINERS
    lowest, highest = -_LARGE, _LARGE
    verdict: _Verdict = "small"
    met = 0  # containers
    try:
        level: Iterable[Any] = (value,) if type(value) in containers else ((value,),)
        for _ in range(MAX_DEPTH):
            inner: dict[int, Any] = {}
            before = met
            for container in level:
                items = container
                if type(container) in dicts:
                    for key in container:
                        if type(key) is not str and not _is_plain(type(key), str):
                            return "refused"
                        if len(key) > _LONG and verdict == "small":
                            verdict = "plain"
                    items = container.values()
                if len(items) > MANY:
                    if verdict == "small":
                        verdict = "plain"
                    kinds = set(map(type, items))
                    if kinds <= leaves:
                        continue
                    if kinds == _ONLY_FLOATS and all(map(isfinite, items)):
                        continue
                    if kinds == _ONLY_INTS and lowest < min(items) and max(items) < highest:
                        continue
                for item in items:
                    kind = type(item)
                    if kind is str:
                        if len(item) > _LONG and verdict == "small":
                            verdict = "plain"
                        continue
                    if kind in leaves:
                        continue
                    if kind is int:
                        if not lowest < item < highest:
                            verdict = "large"
                    elif kind is float:
                        if item - item:  # nan for nan and both infinities, 0.0 otherwise
                            return "refused"
                    elif kind in containers:
                        inner[id(item)] = item
                        met += 1
                    elif _scalar_refusal(item) is not None:
                        return "refused"
                    elif issubclass(kind, str):
                        if verdict == "small":
                            verdict = "plain"
                    elif issubclass(kind, int) and int.bit_length(item) > _LARGE_BITS:
                        verdict = "large"
            if verdict == "small" and (met > _FEW or met - before > len(inner)):
                verdict = "plain"  # also of what is met twice, which is written twice
            if not inner:
                return verdict
            level = inner.values()
    except Exception:  # changed by another thread, or a metaclass whose hash() raises
        return "refused"
    return "refused"


def _is_plain(kind: type, *bases: type) -> bool:
    return issubclass(kind, bases) and not issubclass(kind, Enum)


def _scalar_refusal(value: Any) -> str | None:
    """Why this, which is no container of ours, cannot travel; None if it can."""
    kind = type(value)
    if kind is type(None) or _is_plain(kind, str, int):
        return None
    if _is_plain(kind, float):
        if isfinite(value):
            return None
        return "a float that is not finite (nan or inf) cannot travel; send None or a string"
    for ancestor in _mro(kind):
        known = _ADVICE.get(_known_as(ancestor))
        if known is not None:
            subject, advice = known
            return f"{subject or _an(_name(kind))} cannot travel; {advice}"
    if issubclass(kind, tuple):
        named = any("_fields" in type.__getattribute__(c, "__dict__") for c in _mro(kind))
        advice = (
            "it would lose its field names: send its ._asdict() or tuple(…)"
            if named
            else "send tuple(…) of it"
        )
    elif issubclass(kind, list):
        advice = "it would arrive as a plain list: send list(…) of it"
    elif issubclass(kind, dict):
        advice = "it would arrive as a plain dict: send dict(…) of it"
    elif any("__dataclass_fields__" in type.__getattribute__(c, "__dict__") for c in _mro(kind)):
        advice = "send dataclasses.asdict(…) of it"
    else:
        advice = "send what it consists of, for instance as a dict"
    return f"{_an(_name(kind))} cannot travel; {advice}"


#: What to do instead, by ``<top-level module>.<class>`` of the class or its nearest known ancestor:
#: (subject, or empty for the class's own name; advice). By name, so that nothing is imported.
_ADVICE: Final[dict[str, tuple[str, str]]] = {
    "builtins.bytes": ("bytes", "encode them, for instance with base64"),
    "builtins.bytearray": ("", "encode it, for instance with base64"),
    "builtins.memoryview": ("", "encode it, for instance with base64"),
    "builtins.set": ("", "turn it into a list"),
    "builtins.frozenset": ("", "turn it into a list"),
    "builtins.range": ("", "turn it into a list, or send its bounds"),
    "builtins.generator": ("", "turn it into a list"),
    "builtins.dict_keys": ("", "turn it into a list"),
    "builtins.dict_values": ("", "turn it into a list"),
    "builtins.dict_items": ("", "turn it into a list"),
    "builtins.map": ("", "turn it into a list"),
    "builtins.filter": ("", "turn it into a list"),
    "builtins.zip": ("", "turn it into a list"),
    "builtins.mappingproxy": ("", "turn it into a dict"),
    "builtins.complex": ("", "send [z.real, z.imag]"),
    "builtins.function": ("", "send its name, or what it returns"),
    "builtins.builtin_function_or_method": ("", "send its name, or what it returns"),
    "builtins.method": ("", "send its name, or what it returns"),
    "builtins.coroutine": ("", "await it and send what it returns"),
    "builtins.type": ("a class", "send its name"),
    "builtins.BaseException": ("", "send its text: str(…)"),
    "_io._IOBase": ("an open file", "send its path or what it contains"),
    "array.array": ("", "send its .tolist()"),
    "asyncio.Future": ("", "wait for it and send its result()"),
    "_asyncio.Future": ("", "wait for it and send its result()"),
    "concurrent.Future": ("", "wait for it and send its result()"),
    "collections.deque": ("", "turn it into a list"),
    "datetime.date": ("", "send its .isoformat()"),
    "datetime.time": ("", "send its .isoformat()"),
    "datetime.timedelta": ("", "send its .total_seconds()"),
    "decimal.Decimal": ("", "send str(…) of it"),
    "enum.Enum": ("", "it is a member of an Enum: send its .value or its .name"),
    "fractions.Fraction": ("", "send str(…) of it"),
    "ipaddress._IPAddressBase": ("", "send str(…) of it"),
    "numpy.generic": ("", "send its .item()"),
    "numpy.ndarray": ("", "send its .tolist()"),
    "pathlib.PurePath": ("", "send str(path)"),
    "uuid.UUID": ("", "send str(…) of it"),
}


# -- naming what was refused


def _refuse(value: object, what: str) -> NoReturn:
    path, reason = what, "it changed while it was being checked; send a copy"
    try:
        found = _first_offence(value)
    except RuntimeError:
        found = None
    if found is not None:
        steps, reason = found
        path += "".join(steps)
    if len(path) > MAX_PATH:
        path = f"{path[: MAX_PATH // 2]}…{path[-MAX_PATH // 2 :]}"
    raise ValueRefused(f"{path}: {reason}", path)


def _first_offence(root: object) -> tuple[list[str], str] | None:
    """The path and the reason of the first thing, in document order, that cannot travel.

    Depth first with a stack of our own. A container found good is not entered again at the same
    depth or above, so that shared parts do not multiply. Types are compared by identity only.
    """
    steps: list[str] = []
    open_ids: list[int] = []  # containers on the path, outermost first
    good: dict[int, int] = {}  # id of a container -> the depth down to which it is known good
    todo: list[Iterator[tuple[str, Any]]] = [iter([("", root)])]
    while todo:
        entry = next(todo[-1], None)
        if entry is None:
            todo.pop()
            if open_ids:
                good[open_ids.pop()] = len(todo)
                steps.pop()
            continue
        step, item = entry
        kind = type(item)
        if not any(kind is container for container in _CONTAINERS):
            reason = _scalar_refusal(item)
            if reason is not None:
                return [*steps, step], reason
            continue
        if id(item) in open_ids:
            return [*steps, step], "it contains itself, and a cycle cannot travel; break it"
        if len(open_ids) == MAX_DEPTH:
            return [*steps, step], f"nested more than {MAX_DEPTH} levels deep; flatten it"
        if good.get(id(item), -1) >= len(todo):
            continue
        if any(kind is mapping for mapping in _DICTS):
            for key in item:
                if not _is_plain(type(key), str):
                    return [*steps, step], (
                        f"its key {_shown(key)} is {_an(_name(type(key)))}, and only strings can "
                        "be keys; turn it into one with str(…)"
                    )
            children = iter([(_key_step(key), child) for key, child in item.items()])
        else:
            children = ((f"[{index}]", child) for index, child in enumerate(item))
        steps.append(step)
        open_ids.append(id(item))
        todo.append(children)
    return None


def _key_step(key: str) -> str:
    if str.isidentifier(key) and len(key) <= MAX_KEY:
        return f".{key}"
    return f"[{_shown(key)}]"


def _shown(key: object) -> str:
    try:
        text = repr(str.__str__(key)[: MAX_KEY + 1] if isinstance(key, str) else key)
    except Exception:  # a repr of the user's own, or an int of too many digits
        text = "of which repr() fails"
    return text if len(text) <= MAX_KEY else f"{text[:MAX_KEY]}…"


def _mro(kind: type) -> tuple[type, ...]:
    return type.__dict__["__mro__"].__get__(kind)  # type: ignore[no-any-return]


def _module(kind: type) -> str:
    module = type.__dict__["__module__"].__get__(kind)
    return module if type(module) is str else ""


def _known_as(kind: type) -> str:
    return f"{_module(kind).partition('.')[0]}.{type.__dict__['__name__'].__get__(kind)}"


def _name(kind: type) -> str:
    module, name = _module(kind), type.__dict__["__qualname__"].__get__(kind)
    return name if module in ("builtins", "") else f"{module}.{name}"


def _an(name: str) -> str:
    return f"an {name}" if name[:1] in "aeiouAEIOU" else f"a {name}"


# -- writing


def _text(value: object, what: str, verdict: _Verdict) -> str:
    if verdict in ("small", "plain"):
        try:
            return _ENCODER.encode(value)
        except (TypeError, ValueError, RuntimeError):
            pass  # changed under our hands, or the caller's stack is nearly full: _write can tell
    try:
        return _write(value)
    except RuntimeError as error:
        raise ValueRefused(f"{what}: it changed while it was being written", what) from error


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=True, check_circular=False, allow_nan=False, separators=(",", ":")
)


def _write(root: object) -> str:
    """JSON without the C encoder: for large ints, and where the stack has no room for recursion."""
    pieces: list[str] = []
    todo: list[tuple[str, Any]] = [("", root)]  # text to write, then a value unless _NOTHING
    while todo:
        text, value = todo.pop()
        pieces.append(text)
        if value is _NOTHING:
            continue
        kind = type(value)
        if kind in _LISTS:
            todo.append(("]", _NOTHING))
            items = list(value)
            todo.extend((",", item) for item in items[:0:-1])
            todo.append(("[", items[0] if items else _NOTHING))
        elif kind in _DICTS:
            todo.append(("}", _NOTHING))
            pairs = [(f"{_ENCODER.encode(key)}:", item) for key, item in value.items()]
            todo.extend((f",{key}", item) for key, item in pairs[:0:-1])
            todo.append((f"{{{pairs[0][0]}", pairs[0][1]) if pairs else ("{", _NOTHING))
        elif isinstance(value, int) and int.bit_length(value) > _LARGE_BITS:
            pieces.append(_digits_of(int(value)))
        elif _scalar_refusal(value) is None:
            pieces.append(_ENCODER.encode(value))
        else:
            raise RuntimeError("what was checked is no longer there")
    return "".join(pieces)


_NOTHING: Final = object()


def _digits_of(number: int) -> str:
    """``str(number)`` without its limit and its quadratic time: by halves, in exact decimals.

    Multiplication of decimals is by number-theoretic transform where it pays (libmpdec).
    """
    bits = abs(number).bit_length()
    exact = Context(prec=bits // 3 + 9, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])
    powers: dict[int, Decimal] = {}

    def decimal_of(part: int, width: int) -> Decimal:
        if width <= _LARGE_BITS:
            return Decimal(part)
        low_width = width // 2
        if low_width not in powers:
            powers[low_width] = exact.power(Decimal(2), low_width)
        high, low = part >> low_width, part & ((1 << low_width) - 1)
        return exact.fma(
            decimal_of(high, width - low_width), powers[low_width], decimal_of(low, low_width)
        )

    digits = str(decimal_of(abs(number), bits))
    return f"-{digits}" if number < 0 else digits


# -- reading


def _read(text: str) -> Json:
    """By the quick decoder, unless there may be large ints that it would take its time over."""
    if not 0 < _digit_limit() <= _MOST_DIGITS and _has_large_int(text):
        return _LARGE_DECODER.decode(text)
    try:
        return _DECODER.decode(text)
    except (json.JSONDecodeError, ValueRefused):
        raise
    except ValueError:  # an int of more digits than the interpreter's limit
        return _LARGE_DECODER.decode(text)


#: Digits from which on ``int()`` refuses; 0: never. Python 3.10.7 was the first to have it.
_digit_limit: Final[Callable[[], int]] = getattr(sys, "get_int_max_str_digits", lambda: 0)
_MOST_DIGITS: Final = 5000  # that ``int()`` may be given: some 30 µs; the usual limit is 4300


def _has_large_int(text: str) -> bool:
    """Or so many digits in a string."""
    return _LARGE_RUN in _bytes_of(text).translate(_DIGITS_ONLY)


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_LARGE_RUN: Final = b"0" * (LARGE_DIGITS + 1)
#: Every digit becomes ``0`` and everything else a space, so that a long run is found by one ``in``.
_DIGITS_ONLY: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_BRACKETS: Final = b"[]{}"
#: All bytes but the brackets, and the quotes that tell which of those are in strings.
_NO_MARKS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS + b'"')
_AT_ONCE: Final = 16 * 1024  # bytes of a text that are in pieces at one time
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _depth(raw: bytes) -> int:
    """How deep a JSON text goes, counted without going there.

    Right for every prefix that is JSON so far, which is as far as a parser descends.
    """
    return max(accumulate(map(_STEPS.__getitem__, _brackets(raw))), default=0)


def _brackets(raw: bytes) -> bytearray:
    """The brackets of a JSON text, without those in strings.

    To split and to join takes up to fifty bytes for each quote: of a text that is little else, many
    times its length, if it were done to all of it at once.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = raw.translate(None, _NO_MARKS)
    found = bytearray()
    is_in_string = False
    for start in range(0, len(marks), _AT_ONCE):
        pieces = marks[start : start + _AT_ONCE].split(b'"')
        found += b"".join(pieces[is_in_string::2])
        is_in_string ^= len(pieces) % 2 == 0
    return found


def _int_of(text: str) -> int:
    """``int(text)`` for JSON's ints, without its limit and its quadratic time: by halves."""
    if len(text) <= LARGE_DIGITS:
        return int(text)
    powers: dict[int, int] = {}

    def int_of(digits: str) -> int:
        if len(digits) <= LARGE_DIGITS:
            return int(digits)
        low_width = len(digits) // 2
        if low_width not in powers:
            powers[low_width] = 5**low_width
        high, low = int_of(digits[:-low_width]), int_of(digits[-low_width:])
        return ((high * powers[low_width]) << low_width) + low

    return -int_of(text[1:]) if text[0] == "-" else int_of(text)


def _float_of(text: str) -> float:
    number = float(text)
    if number - number:
        raise ValueRefused(f"JSON with the number {text[:MAX_KEY]}, which no float can hold")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueRefused(f"JSON with {name}, which is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_float_of)
_LARGE_DECODER: Final = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_float_of, parse_int=_int_of
)
