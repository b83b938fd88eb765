"""The JSON Schemas of the protocol: the files beside this module are the source.

They are draft-07, the newest draft the fast validators know. Each is compiled once, at import, into
a plain function (fastjsonschema); that function says yes or no on every message, on send and on
receipt. Only after a no is ``jsonschema`` loaded and asked, because its words are the better ones,
and only about what it can look at in milliseconds. The two agree; a test generates values to show
it.

Bodies of NOTIFY, REQUEST and RESPONSE and the failure dict are taskflow's
(``taskflow.engines.worker_based.protocol``, ``taskflow.types.failure``), with what its code demands
beyond its schemas written down as schema: a result is a pair, failures are failure dicts. The
header and the other kinds are ours: open where a later version may add a field, closed where a
changed body would be a new kind.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import fastjsonschema

from protocol.errors import MessageRefused
from protocol.values import LARGE_DIGITS, Json

NAMES: Final = (
    "notify-question",
    "notify-answer",
    "request",
    "response",
    "failure",
    "header",
    "header-own",
    "held",
    "cancel",
    "receipt",
    "release",
    "dropped",
    "batch",
)


def _read(name: str) -> dict[str, Any]:
    text = pkgutil.get_data(__name__, f"{name}.json")
    assert text is not None, "the loader of this package cannot read its files"
    schema: dict[str, Any] = json.loads(text)
    return schema


_DEFINITIONS: Final = _read("definitions")["definitions"]

#: Each schema whole, by name: its file, with the definitions they share put in.
SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    name: {**_read(name), "definitions": _DEFINITIONS} for name in NAMES
}


class _Compiled(dict[str, Callable[[Json], Json]]):
    """The compiled validators by name, each made when it is first asked for.

    To make them takes a process longer than to import the rest of this package, and each side
    needs half of them. Any thread; at worst two make the same one.
    """

    def __missing__(self, name: str) -> Callable[[Json], Json]:
        # use_default would write defaults into the message that is being looked at.
        made: Callable[[Json], Json] = fastjsonschema.compile(SCHEMAS[name], use_default=False)
        self[name] = made
        return made


_FAST: Final = _Compiled()

#: Longest words about a value and longest path to it, in characters, the middle of longer ones left
#: out: a peer's megabyte must not end up in a log line.
MAX_WORDING = 300
MAX_PATH = 200
MAX_KEY = 60  # characters of one key in such a path

#: Values in a body that jsonschema is asked about, and how deep they may be. It looks at each of
#: them even after the first error, takes up to 70 µs for it, and descends by recursion: a megabyte
#: made for the purpose would keep it busy for 20 s. What is larger gets the fast validator's words.
MAX_ASKED = 1000
MAX_ASKED_DEPTH = 20
#: An int of more bits has more digits than ``repr`` may be allowed to print.
_MAX_BITS: Final = LARGE_DIGITS * 3


def is_valid(name: str, value: Json) -> bool:
    """Whether the compiled validator of schema ``name`` accepts ``value``."""
    try:
        _FAST[name](value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def validate(name: str, value: Json) -> None:
    """Raise :class:`~protocol.errors.MessageRefused`, reason ``schema``, unless it is a ``name``.

    The detail names the path and what is wrong there: see :func:`word`.
    """
    if not is_valid(name, value):
        raise MessageRefused("schema", word(name, value))


def word(name: str, value: Json) -> str:
    """What is wrong with ``value`` as a ``name``: the path to it, then jsonschema's words.

    One printable line of a few hundred characters, whatever a peer has sent.
    """
    if not _can_be_asked_about(value):
        return f"not a valid {name}: {_shortened(_fast_words(name, value), MAX_WORDING)}"
    error = _first_error(name, value)
    if error is None:  # the two disagree: a bug that the test of their agreement exists to find
        return f"not a valid {name}"
    words = _shortened(error.message, MAX_WORDING)
    return f"not a valid {name}: {_path(error.absolute_path)}: {words}"


def _first_error(name: str, value: Json) -> Any:
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - see _validator

    return best_match(_validator(name).iter_errors(value))


@cache
def _validator(name: str) -> Any:
    """jsonschema's, for Draft 7, but a tuple is an array, as on the wire and to the fast one.

    Imported here: it takes longer than all the schemas, and most processes never refuse anything.
    """
    import jsonschema  # noqa: PLC0415

    plain = jsonschema.Draft7Validator
    kind = jsonschema.validators.extend(
        plain,
        type_checker=plain.TYPE_CHECKER.redefine(
            "array", lambda _, value: isinstance(value, (list, tuple))
        ),
    )
    return kind(SCHEMAS[name])


def _can_be_asked_about(value: Json) -> bool:
    level: list[Json] = [value]
    left = MAX_ASKED
    for _ in range(MAX_ASKED_DEPTH):
        inner: list[Json] = []
        for item in level:
            if isinstance(item, int) and item.bit_length() > _MAX_BITS:
                return False
            if isinstance(item, (dict, list, tuple)):
                left -= len(item)
                if left < 0:
                    return False
                inner.extend(item.values() if isinstance(item, dict) else item)
        if not inner:
            return True
        level = inner
    return False


def _fast_words(name: str, value: Json) -> str:
    try:
        _FAST[name](value)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message).replace("data", "$", 1)
    return "nothing is wrong with it"


def _path(steps: Iterable[str | int]) -> str:
    return _shortened("$" + "".join(map(_step, steps)), MAX_PATH)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if step.isidentifier() and len(step) <= MAX_KEY:
        return f".{step}"
    return f"[{step[:MAX_KEY]!r}{'…' if len(step) > MAX_KEY else ''}]"


def _shortened(text: str, limit: int) -> str:
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-limit // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
