"""A call as it is typed in a shell: which task, and its arguments, one word each.

The task is ``MODULE:FUNCTION`` or a wire name, which is the same with a dot. Nothing is imported:
the worker knows what is meant, and nobody here has to have it installed. An argument is a JSON
value, and ``NAME=VALUE`` gives it by name::

    images:resize '"cat.png"' 640 480 keep_ratio=true

A string keeps its quotes. Words that are no JSON are not taken for strings, for then ``007``,
``None`` and a forgotten bracket would silently be something else than was meant.

Pure; the command line calls it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from protocol.errors import ConfigurationError, ValueRefused
from protocol.task import MAX_NAME
from protocol.values import Json, loads


def task_name(word: str) -> str:
    """The wire name that is meant. Raises ``ConfigurationError`` if it can be none."""
    module, colon, path = word.partition(":")
    parts = [*module.split("."), *path.split(".")]
    if colon and not all(part.isidentifier() for part in parts):
        raise ConfigurationError(
            f"the task {word!r} cannot be found by anybody: write MODULE:FUNCTION, such as "
            "images:resize, or the name that `python -m executor workers` shows"
        )
    if not word or len(word) > MAX_NAME or not word.isprintable() or " " in word:
        raise ConfigurationError(
            f"the task {word!r} cannot be one: a name is 1 to {MAX_NAME} printable characters "
            "without a space"
        )
    return f"{module}.{path}" if colon else word


def arguments(words: Sequence[str]) -> tuple[list[Json], dict[str, Json]]:
    """Positional and named arguments. Raises ``ConfigurationError`` naming the word it is about."""
    positional: list[Json] = []
    named: dict[str, Json] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            positional.append(_value(word))
        elif name in named:
            raise ConfigurationError(f"the argument {name!r} is given twice")
        else:
            named[name] = _value(text, f"{name}=")
    return positional, named


def _value(text: str, before: str = "") -> Json:
    try:
        return loads(text)
    except ValueRefused as error:
        quoted = shlex.quote(f"{before}{json.dumps(text, ensure_ascii=False)}")
        raise ConfigurationError(
            f"the argument {before + text!r} is no JSON value ({error}); if a string is meant, it "
            f"needs its quotes, which the shell would take away: write {quoted}"
        ) from None
