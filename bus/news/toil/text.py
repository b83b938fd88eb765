"""One message as Toil writes it: a line of fields with tabs between them. Pure.

A line is the topic, a tab, the fields, each after the first with a tab before it, a line end::

    toil.bus.JobIssuedMessage<TAB>align reads<TAB>kind-align/instance-1<TAB>17<LF>

Text is written with Python's ``unicode_escape``, so that a line is ASCII and holds no other tab and
line end; a number, a bool or None as ``format`` has it, an enum of numbers as its number. What is
written is, byte for byte, what Toil writes.

What a field was is known from its class alone, and Toil reads some of its own back as something
else, or not at all. Here they come back as what they were, as far as that can be told:

* False in a bool field (Toil: True);
* None in a field of a number or a bool, and in one that says it may be None, where the text "None"
  is taken for it as well (Toil: an error). In a plain text field None is the text "None";
* fields of ``X | None``, postponed annotations, and messages without fields (Toil: errors);
* letters that somebody wrote as UTF-8 without escaping them (Toil: other letters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

Message = TypeVar("Message")

#: What makes a field of its text.
_Reader = Callable[[str], Any]


def message_to_bytes(message: Iterable[Any]) -> bytes:
    """The fields of a named tuple, without topic and line end.

    Raises ``RuntimeError`` for a field that is no text, number, bool or None.
    """
    return b"\t".join(
        [item.encode("unicode_escape") if type(item) is str else _plain(item) for item in message]
    )


def lines_of(messages: Sequence[tuple[Any, ...]], templates: Mapping[type, str]) -> bytes | None:
    """The whole lines of many messages, several times quicker than one by one.

    ``templates``: of each class, :func:`template_of`. None if any field needs a closer look.
    """
    if not _SIMPLE.issuperset(map(type, chain.from_iterable(messages))):
        return None
    text = "".join([templates[type(message)].format(*message) for message in messages])
    bare = text.replace("\t", "").replace("\n", "")
    separators = sum([len(message) or 1 for message in messages]) + len(messages)
    if len(text) - len(bare) == separators and "\\" not in bare and bare.isascii():
        return text.encode("ascii") if bare.isprintable() else None
    return None


def template_of(topic: str, message_type: Any) -> str:
    """A line of this class whose fields need no escapes, for ``str.format``."""
    fields = "\t".join(["{}"] * len(message_type._fields))
    return f"{topic.replace('{', '{{').replace('}', '}}')}\t{fields}\n"


#: What ``str.format`` writes as Toil does, but for the escapes of a text.
_SIMPLE: Final = frozenset({str, int, float, bool, NoneType})


def _plain(item: object) -> bytes:
    if type(item) is int:
        return b"%d" % item
    if isinstance(item, (int, float)) or item is None:
        return f"{item}".encode()
    if isinstance(item, str):
        return item.encode("unicode_escape")
    raise RuntimeError(f"Cannot store message argument of type {type(item)}: {item}")


def bytes_to_message(message_type: type[Message], data: bytes) -> Message:
    """The message of :func:`message_to_bytes`, its fields read as the class's annotations say.

    Raises ``RuntimeError`` if there are not as many fields as there should be, or one has a type
    that cannot be read; ``ValueError`` for a field that cannot be what it should be.
    """
    form = form_of(message_type)
    if b"\\" in data or not data.isascii():
        parts: list[Any] = [_text(part) for part in data.split(b"\t")]
    else:
        parts = data.decode("ascii").split("\t")
    if len(parts) != form.length:
        if form.length == 0 and not data:
            return message_type()
        names = getattr(message_type, "_fields", None)
        raise RuntimeError(f"Cannot parse {names} from {data!r}")
    for place, read in form.readers:
        parts[place] = read(parts[place])
    return message_type(*parts)


def _text(part: bytes) -> str:
    if not part.isascii():
        try:
            part = part.decode("utf-8").encode("latin-1", "backslashreplace")
        except UnicodeDecodeError:
            pass  # no UTF-8 either: each byte is a letter
    return part.decode("unicode_escape")


class Form(NamedTuple):
    """How messages of a class are read."""

    #: Fields.
    length: int
    #: Of those fields that are no plain text: their places, and what reads them.
    readers: tuple[tuple[int, _Reader], ...]


def form_of(message_type: type) -> Form:
    """Raises ``RuntimeError`` for a class that cannot be read."""
    form = _FORMS.get(message_type)
    if form is None:
        form = _FORMS[message_type] = _make_form(message_type)
    return form


_FORMS: Final[dict[type, Form]] = {}


def _make_form(message_type: type) -> Form:
    names = getattr(message_type, "_fields", None)
    if names is None:
        raise RuntimeError(f"Cannot get field types from {message_type}")
    try:
        hints = get_type_hints(message_type)
    except NameError as error:
        raise RuntimeError(f"Cannot get field types from {message_type}: {error}") from error
    kinds = [hints[name] for name in names]
    found = [(place, _reader(kind)) for place, kind in enumerate(kinds) if kind is not str]
    return Form(len(names), tuple(found))


def _reader(kind: Any) -> _Reader:
    if kind in _READERS:
        return _READERS[kind]
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not NoneType]
        if len(parts) == 1 and (parts[0] is str or parts[0] in _READERS):
            inner = _READERS.get(parts[0], str)
            return lambda text: None if text == _NONE else inner(text)
    raise RuntimeError(f"Cannot read message argument of type {kind}")


_NONE: Final = "None"


def _int(text: str) -> int | None:
    return None if text == _NONE else int(text)


def _float(text: str) -> float | None:
    return None if text == _NONE else float(text)


def _bool(text: str) -> bool | None:
    return None if text == _NONE else text not in ("", "False", "0")


_READERS: Final[dict[Any, _Reader]] = {int: _int, float: _float, bool: _bool}
