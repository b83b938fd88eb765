"""The rules that can be taken out, read from ``rules.txt``: what they say, and where they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: A file, the whole lines that stand in it exactly once, and the lines that replace them.
Change = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule, and how it is taken out."""

    name: str
    #: What must not be forgotten, in words.
    rule: str
    changes: tuple[Change, ...]
    #: Why nobody misses it, if nobody does.
    harmless: str | None = None
    #: Whether it is missed within seconds: those run with the other tests.
    is_quick: bool = False


_HEAD: Final = re.compile(r"^rule (?P<name>.+?)(?P<quick> \(quick\))?$")


def read(text: str) -> tuple[Mutation, ...]:
    """All rules of such a text; what is before the first is for people."""
    return tuple(_mutation(part) for part in text.split("\n\n") if part.startswith("rule "))


def _mutation(part: str) -> Mutation:
    head, rule, *lines = part.strip("\n").split("\n")
    found = _HEAD.match(head)
    assert found is not None, head
    harmless = None
    if lines[0].startswith("harmless: "):
        harmless = lines.pop(0).removeprefix("harmless: ")
    changes: list[Change] = []
    for line in lines:
        if line.startswith("in "):
            changes.append((line.removeprefix("in "), "", ""))
        else:
            file, old, new = changes.pop()
            assert line[0] in "-+", line
            if line[0] == "-":
                old += f"{line[1:]}\n"
            else:
                new += f"{line[1:]}\n"
            changes.append((file, old, new))
    return Mutation(found["name"], rule, tuple(changes), harmless, found["quick"] is not None)


MUTATIONS: Final = read(Path(__file__).with_name("rules.txt").read_text(encoding="utf-8"))
