"""What one file consists of: complexities counted by hand, and files of every odd kind."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from pathlib import Path
from textwrap import dedent

import pytest

from executor.demo.survey import MODULE, blocks, survey
from protocol.values import check

#: Source, and the complexity of each block, counted by hand.
SAMPLES: dict[str, tuple[str, dict[str, int]]] = {
    "nothing": ("", {MODULE: 1}),
    "a straight line": ("x = 1\nprint(x)\n", {MODULE: 1}),
    "a function that does nothing": ("def f(): pass", {MODULE: 1, "f": 1}),
    "if": ("def f(a):\n if a: pass", {MODULE: 1, "f": 2}),
    "else decides nothing": ("def f(a):\n if a: pass\n else: pass", {MODULE: 1, "f": 2}),
    "elif": ("def f(a):\n if a: pass\n elif a > 1: pass\n else: pass", {MODULE: 1, "f": 3}),
    "a ternary": ("def f(a): return 1 if a else 2", {MODULE: 1, "f": 2}),
    "for": ("def f(a):\n for x in a: pass", {MODULE: 1, "f": 2}),
    "for, with else": ("def f(a):\n for x in a: pass\n else: pass", {MODULE: 1, "f": 2}),
    "while": ("def f(a):\n while a: a -= 1", {MODULE: 1, "f": 2}),
    "async for": ("async def f(a):\n async for x in a: pass", {MODULE: 1, "f": 2}),
    "with decides nothing": ("def f(a):\n with a: pass", {MODULE: 1, "f": 1}),
    "assert decides nothing": ("def f(a):\n assert a", {MODULE: 1, "f": 1}),
    "but what it asserts may": ("def f(a, b):\n assert a and b", {MODULE: 1, "f": 2}),
    "try with two handlers": (
        "def f():\n try: pass\n except OSError: pass\n except ValueError: pass\n else: pass",
        {MODULE: 1, "f": 3},
    ),
    "finally alone": ("def f():\n try: pass\n finally: pass", {MODULE: 1, "f": 1}),
    "and": ("def f(a, b): return a and b", {MODULE: 1, "f": 2}),
    "three in a row": ("def f(a, b, c): return a or b or c", {MODULE: 1, "f": 3}),
    "mixed": ("def f(a, b, c): return a and b or not c", {MODULE: 1, "f": 3}),
    "a comparison of three is none": ("def f(a): return 1 < a < 3", {MODULE: 1, "f": 1}),
    "a comprehension is a loop": ("def f(a): return [x for x in a]", {MODULE: 1, "f": 2}),
    "with two conditions": (
        "def f(a): return {x for x in a if x if x > 1}",
        {MODULE: 1, "f": 4},
    ),
    "two loops and a condition": (
        "def f(a): return {x: y for x in a for y in x if y}",
        {MODULE: 1, "f": 4},
    ),
    "a generator": ("def f(a): return sum(x for x in a)", {MODULE: 1, "f": 2}),
    "a lambda is part of where it stands": (
        "def f(a): return lambda x: x if x else a",
        {MODULE: 1, "f": 2},
    ),
    "match with a last resort": (
        "def f(a):\n match a:\n  case 1: pass\n  case 2 | 3: pass\n  case _: pass",
        {MODULE: 1, "f": 3},
    ),
    "match without": (
        "def f(a):\n match a:\n  case 1: pass\n  case [x, *_]: pass",
        {MODULE: 1, "f": 3},
    ),
    "a name takes anything": (
        "def f(a):\n match a:\n  case 1: pass\n  case x: pass",
        {MODULE: 1, "f": 2},
    ),
    "so does an alternative that ends so": (
        "def f(a):\n match a:\n  case (1 | _) as x: pass",
        {MODULE: 1, "f": 1},
    ),
    "a guard decides": (
        "def f(a):\n match a:\n  case 1 if a: pass\n  case x if x > 1: pass\n  case _: pass",
        {MODULE: 1, "f": 4},
    ),
    "a function in a function": (
        "def f(a):\n def g(b):\n  if b: pass\n if a: pass\n while a: pass",
        {MODULE: 1, "f": 3, "f.g": 2},
    ),
    "methods": (
        "class C:\n def m(self):\n  if self: pass\n class D:\n  async def n(self): pass",
        {MODULE: 1, "C.m": 2, "C.D.n": 1},
    ),
    "outside of any function": (
        "import sys\nif sys.argv: pass\nclass C:\n for x in sys.argv: pass",
        {MODULE: 3},
    ),
    "defaults and decorators are outside": (
        "@(a if b else c)\ndef f(x=1 if a else 2, *, y: 'u' = b or c) -> (a and b):\n return x",
        {MODULE: 5, "f": 1},
    ),
    "bases are outside": ("class C(a if b else c): pass", {MODULE: 2}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_complexity_agrees_with_what_was_counted_by_hand(name: str) -> None:
    """Block by block."""
    source, expected = SAMPLES[name]
    found = {block.name: block.complexity for block in blocks(ast.parse(source))}
    assert found == expected


def test_blocks_come_by_line_and_of_one_name_there_may_be_several() -> None:
    """As with a property and its setter."""
    source = "class C:\n @property\n def x(self): pass\n @x.setter\n def x(self, v): pass\n"
    assert [(block.name, block.line) for block in blocks(ast.parse(source))] == [
        (MODULE, 1),
        ("C.x", 3),
        ("C.x", 5),
    ]


def test_a_survey_tells_everything_about_a_file(tmp_path: Path) -> None:
    """Every field, and all of it may travel."""
    content = dedent(
        """\
        class Shop:
            def open(self, day):
                if day == "Sunday" or day == "Monday":
                    return False
                return True

        async def visit(shop):
            return shop
        """
    ).encode()
    path = tmp_path / "shop.py"
    path.write_bytes(content)
    found = survey(str(path))
    seconds = found.pop("seconds")  # type: ignore[misc]
    assert seconds > 0
    assert found == {
        "path": str(path),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "lines": 8,
        "functions": 2,
        "classes": 1,
        "complexity": 1 + 3 + 1,
        "worst": {"name": "Shop.open", "line": 2, "complexity": 3},
        "worker": os.getppid(),
    }
    check(found, "the survey")
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", 0),
        (b"x = 1", 1),
        (b"x = 1\n", 1),
        (b"x = 1\r\ny = 2\r\n", 2),
        (b"x = 1\ry = 2", 2),
        ("# coding: latin-1\nx = 'é'\n".encode("latin-1"), 2),
        ("\ufeffx = 'é'\n".encode(), 1),
        (b"# coding: cp1252\nx = '\x80'\x0c\n", 2),
        (rb"x = '\d'" + b"\n", 1),
    ],
)
def test_files_of_every_encoding_and_line_end_are_surveyed(
    content: bytes, lines: int, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Without a word about what is odd in them."""
    path = tmp_path / "odd.py"
    path.write_bytes(content)
    assert survey(str(path))["lines"] == lines
    assert not recwarn.list


def test_what_is_not_python_is_a_syntax_error_with_its_place(tmp_path: Path) -> None:
    """The file and the line are known."""
    path = tmp_path / "broken.py"
    path.write_text("x = 1\ndef f(:\n", encoding="utf-8")
    with pytest.raises(SyntaxError) as raised:
        survey(str(path))
    assert (raised.value.filename, raised.value.lineno) == (str(path), 2)


def test_source_that_is_nested_deeply_is_no_problem() -> None:
    """Deeper than Python's own stack is high, which a sum of 5,000 numbers is already."""
    deep: ast.expr = ast.Constant(1)
    for _ in range(5000):
        deep = ast.BinOp(deep, ast.Add(), ast.Constant(1))
    tree = ast.Module([ast.Expr(deep)], [])
    assert [block.complexity for block in blocks(tree)] == [1]
