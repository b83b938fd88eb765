"""The demo's task: what one Python source file consists of. An ordinary function on plain values.

Cyclomatic complexity is McCabe's (IEEE Transactions on Software Engineering SE-2, 1976): the
decisions in a function plus one, counted in the source:

======================================  ==========================================================
``if``, ``elif``, ``a if b else c``     1
``for``, ``async for``, ``while``       1
each ``for``, ``if`` of a comprehension 1
each ``except``, ``except*``            1
``and``, ``or``                         1 for each: ``a and b and c`` counts 2
``case``                                1, but 0 for a last resort (``case _``, ``case name``);
                                        1 more if it has a guard (``case … if b``)
``else``, ``finally``, ``with``,        0: they do not decide
``try``, ``match``, ``return``, …
``assert``                              0: it states what holds, and ``python -O`` drops it
======================================  ==========================================================

A function inside another counts for itself. A lambda's decisions belong to what it is written in,
like those of a class body, of a decorator and of a default value. A file's complexity is that of
all its functions, and of what stands outside of any, which is one more block.

Runs in a worker's process; imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import hashlib
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_DECISIONS: Final = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)

#: The name of the block that is the file itself.
MODULE: Final = "<module>"


class Worst(TypedDict):
    """The most complex block of a file."""

    #: Qualified name, such as ``Parser.feed``; ``<module>`` for the file itself.
    name: str
    line: int
    complexity: int


class FileSurvey(TypedDict):
    """What ``survey`` returns."""

    path: str
    bytes: int
    #: Of the content, 64 hex digits.
    sha256: str
    lines: int
    functions: int
    classes: int
    complexity: int
    worst: Worst
    #: How long it took to survey it.
    seconds: float
    #: Process id of the worker that did it: a worker's tasks run in child processes of its own.
    worker: int


@dataclass(frozen=True, slots=True)
class Block:
    """A function, or what is outside of any."""

    name: str
    line: int
    complexity: int


def survey(path: str) -> FileSurvey:
    """Survey one file. Raises ``OSError`` if it cannot be read, ``SyntaxError`` if not Python."""
    began = time.perf_counter()
    content = Path(path).read_bytes()
    # Bytes, not text: the parser knows byte order marks and ``# coding:`` lines by itself.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in old files; nobody asked
        tree = ast.parse(content, path)
    found = blocks(tree)
    worst = max(found, key=lambda block: block.complexity)
    return {
        "path": path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "lines": len(content.splitlines()),
        "functions": len(found) - 1,
        "classes": sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree)),
        "complexity": sum(block.complexity for block in found),
        "worst": {"name": worst.name, "line": worst.line, "complexity": worst.complexity},
        "seconds": time.perf_counter() - began,
        "worker": os.getppid(),
    }


def blocks(tree: ast.Module) -> list[Block]:
    """The file itself and each of its functions, by line."""
    names, lines, complexities = [MODULE], [1], [1]
    # What is still to be looked at: a node, the name it is in, the block its decisions count for.
    # A list and no recursion, for source may be nested deeper than Python's stack.
    waiting: list[tuple[ast.AST, str, int]] = [(tree, "", 0)]
    while waiting:
        node, scope, block = waiting.pop()
        complexities[block] += decisions(node)
        inside = outside = (scope, block)
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            name = f"{scope}.{node.name}" if scope else node.name
            inside = (name, block)
            if isinstance(node, _FUNCTIONS):
                inside = (name, len(names))
                names.append(name)
                lines.append(node.lineno)
                complexities.append(1)
        for field, value in ast.iter_fields(node):
            where = inside if field == "body" else outside
            children = value if isinstance(value, list) else [value]
            waiting += [(child, *where) for child in children if isinstance(child, ast.AST)]
    return sorted(map(Block, names, lines, complexities), key=lambda block: block.line)


def decisions(node: ast.AST) -> int:
    """What this node alone adds to the complexity, by the table above."""
    if isinstance(node, _DECISIONS):
        return 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.match_case):
        return (not _takes_anything(node.pattern)) + (node.guard is not None)
    return 0


def _takes_anything(pattern: ast.pattern) -> bool:
    """Whether this is ``_``, a name, or one of these in parentheses or after an ``as`` or ``|``."""
    if isinstance(pattern, ast.MatchAs):
        return pattern.pattern is None or _takes_anything(pattern.pattern)
    return isinstance(pattern, ast.MatchOr) and _takes_anything(pattern.patterns[-1])
