"""Which commands can run in a copy of a template, and what that copy has to do.

Only where it comes to the same as a process of its own: a console script of a preloaded module, as
packages install them for this very interpreter, or this interpreter with ``-m`` and a preloaded
module. A text is one that a shell would only take apart into words: plain characters, single
quotes, variables set before the program. Everything else, and whatever is in doubt, is None, and
runs as any other command. So is a command that sets what an interpreter reads at its own start.
Reads the script's first line, and once the installed entry points. Any thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Final, Literal

#: What an interpreter, or the loader below it, reads once, at its start.
_AT_START: Final = ("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_")
_ALSO_AT_START: Final = frozenset({"LANG", "HOME"})

_WORD: Final = re.compile(r"[ \t]*((?:[A-Za-z0-9_@%+:,./=-]|'[^'\0]*')+)(?=[ \t]|$)")
_SET: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
# fmt: off
#: What a shell would run itself, or read otherwise, although a program is called so.
_THE_SHELLS: Final = frozenset({
    "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare", "dirs",
    "do", "done", "echo", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export",
    "false", "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "if",
    "in", "jobs", "kill", "let", "local", "logout", "mapfile", "newgrp", "popd", "printf",
    "pushd", "pwd", "read", "readonly", "return", "select", "set", "shift", "shopt", "source",
    "suspend", "test", "then", "time", "times", "trap", "true", "type", "typeset", "ulimit",
    "umask", "unalias", "unset", "until", "wait", "while",
})
# fmt: on
_FIRST_LINE: Final = 256  # bytes; the kernel reads as many


@dataclass(frozen=True, slots=True)
class Program:
    """What a copy has to run."""

    kind: Literal["script", "module"]
    #: The script's path as it is started, or the module's name.
    target: str
    arguments: Sequence[str]
    #: The interpreter, as it would have been started.
    executable: str
    #: The whole environment.
    environment: Mapping[str, str]


def recognised(
    command: str | Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    modules: Collection[str],
) -> Program | None:
    """What a copy would run for this command; None: it needs a process of its own.

    ``environment``: all of it; ``folder``: where it runs; ``modules``: what is preloaded.
    """
    variables = dict(environment)
    words: Sequence[str] = [] if isinstance(command, str) else command
    if isinstance(command, str):
        words = _words_of(command, variables)
        if not words or words[0] in _THE_SHELLS:
            return None
        if not _is_same(variables.get("PWD"), folder):  # a shell sees to that
            variables["PWD"] = folder
    path = _found(words[0], variables, folder)
    if path is None or not _is_anywhere(variables.get("PYTHONPATH")):
        return None
    if _is_this_python(path):
        if len(words) < 3 or words[1] != "-m" or words[2] not in modules:
            return None
        return Program("module", words[2], words[3:], path, variables)
    if os.path.basename(path) not in _scripts(frozenset(modules)):
        return None
    interpreter = _interpreter(path, variables, folder)
    if interpreter is None or not _is_this_python(interpreter):
        return None
    return Program("script", path, words[1:], interpreter, variables)


def starts_alike(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether an interpreter starts in these environments in the same way."""
    return _read_at_start(one) == _read_at_start(other)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_AT_START) or name in _ALSO_AT_START
    }


def _words_of(text: str, variables: dict[str, str]) -> list[str]:
    """The words a shell makes of this; none: it is in doubt.

    What it sets for the program before that goes to ``variables``.
    """
    words: list[str] = []
    at, text = 0, text.strip(" \t")
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            return []
        at = match.end()
        raw = match[1]
        word = raw.replace("'", "")
        if not words and (setting := _SET.fullmatch(raw)):
            variables[setting[1]] = setting[2].replace("'", "")
        else:
            words.append(word)
    return words


def _found(program: str, variables: Mapping[str, str], folder: str) -> str | None:
    """Which file that is; None if there is none, or only relative to somewhere."""
    if "/" in program:
        path = os.path.join(folder, program)
        if path != program:  # it would be told by its relative name
            return None
        return path if os.access(path, os.X_OK) and os.path.isfile(path) else None
    path_said = variables.get("PATH")
    found = shutil.which(program, path=os.defpath if path_said is None else path_said)
    return found if found is not None and os.path.isabs(found) else None


@lru_cache(maxsize=1)
def _scripts(modules: frozenset[str]) -> frozenset[str]:
    """The names of the console scripts of these modules."""
    names: set[str] = set()
    for point in entry_points(group="console_scripts"):
        with contextlib.suppress(AttributeError):  # of a package that names none that can be
            if point.module in modules:
                names.add(point.name)
    return frozenset(names)


def _interpreter(path: str, variables: Mapping[str, str], folder: str) -> str | None:
    """What a script names in its first line, without options."""
    try:
        with open(path, "rb") as file:
            line = file.readline(_FIRST_LINE)
    except OSError:
        return None
    words = os.fsdecode(line).split()
    if not line.startswith(b"#!") or not line.endswith(b"\n"):
        return None
    words[0] = words[0][2:]
    if words[0] == "/usr/bin/env":
        del words[0]
    if len(words) != 1 or not words[0]:
        return None
    return _found(words[0], variables, folder)


def _is_this_python(path: str) -> bool:
    """Whether it is this interpreter, of this environment: a virtual one links to another's."""
    ours = os.path.abspath(sys.executable)
    is_beside = os.path.dirname(os.path.abspath(path)) == os.path.dirname(ours)
    return is_beside and os.path.realpath(path) == os.path.realpath(ours)


def _is_anywhere(path: str | None) -> bool:
    """Whether this list of folders means the same in any folder."""
    return not path or all(map(os.path.isabs, path.split(os.pathsep)))


def _is_same(path: str | None, folder: str) -> bool:
    try:
        return path is not None and os.path.isabs(path) and os.path.samefile(path, folder)
    except OSError:
        return False
