"""Calls as they are typed in a shell."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from executor.commands.words import arguments, task_name
from protocol.errors import ConfigurationError
from protocol.task import MAX_NAME


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("images:resize", "images.resize"),
        ("shop.images:Cat.resize", "shop.images.Cat.resize"),
        ("images.resize", "images.resize"),
        ("resize", "resize"),
        ("größe:ändern", "größe.ändern"),
        ("tasks/Resize-2", "tasks/Resize-2"),
    ],
)
def test_a_task_is_a_module_with_a_function_or_a_name_as_it_is(word: str, name: str) -> None:
    assert task_name(word) == name


@pytest.mark.parametrize(
    "word",
    ["", ":", "images:", ":resize", "a:b:c", "images.py:1", "a/b:c", "two words", "a\n", "x" * 201],
)
def test_what_can_be_no_task_is_refused_with_the_word_itself(word: str) -> None:
    assert len(word) <= MAX_NAME + 1
    with pytest.raises(ConfigurationError) as raised:
        task_name(word)
    assert repr(word) in str(raised.value)


CALLS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "": ([], {}),
    "1 -2 3.5 1e3": ([1, -2, 3.5, 1000.0], {}),
    "true false null": ([True, False, None], {}),
    "'\"cat.png\"' '\"\"'": (["cat.png", ""], {}),
    "'[1, [2]]' '{\"a\": {\"b=c\": 1}}'": ([[1, [2]], {"a": {"b=c": 1}}], {}),
    "'\"a=b\"'": (["a=b"], {}),
    "width=640 'name=\"cat.png\"'": ([], {"width": 640, "name": "cat.png"}),
    "keep=true 1 größe=2 2": ([1, 2], {"keep": True, "größe": 2}),
    "'name=\"a=b\"'": ([], {"name": "a=b"}),
    "class=1 fn=2 timeout=3": ([], {"class": 1, "fn": 2, "timeout": 3}),
    f"{'9' * 5000}": ([10**5000 - 1], {}),
}


@pytest.mark.parametrize("line", CALLS, ids=lambda line: line[:30])
def test_arguments_are_json_by_position_or_by_name(line: str) -> None:
    assert arguments(shlex.split(line)) == CALLS[line]


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("cat.png", "'\"cat.png\"'"),
        ("name=cat.png", "'name=\"cat.png\"'"),
        ("007", "'\"007\"'"),
        ("None", "'\"None\"'"),
        ("it's", """'"it'"'"'s"'"""),
        ("NaN", None),
        ("[1, 2", None),
        ("name=", None),
        ("2x=1", None),
        ("{'a': 1}", None),
    ],
)
def test_what_is_no_json_is_refused_and_what_to_type_instead_is_said(
    word: str, advice: str | None
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        arguments(["1", word])
    assert repr(word) in str(raised.value)
    if advice is not None:
        assert str(raised.value).endswith(f"write {advice}")
        typed = arguments(shlex.split(advice))
        assert typed == ([word], {}) or typed == ([], {"name": "cat.png"})


def test_an_argument_is_given_once() -> None:
    with pytest.raises(ConfigurationError, match="'width' is given twice"):
        arguments(["width=1", "width=2"])
