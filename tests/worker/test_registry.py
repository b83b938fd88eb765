"""What a module offers, what one name offers, and what is refused with which words."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from protocol.errors import TasksUnloadable
from worker.registry import Registry, UnknownTask, accepts

TASKS = "tests.samples.tasks"
FLOW = "tests.samples.flow_tasks"

_numbers = itertools.count()


@pytest.fixture
def registry() -> Registry:
    """An empty one."""
    return Registry()


def names(registry: Registry) -> list[str]:
    """What is offered, by name."""
    return [entry.name for entry in registry.entries]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Writes a module of this text where it can be imported; gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str) -> str:
        name = f"written_module_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


# -- MODULE


def test_a_module_offers_its_own_public_functions_and_task_classes(registry: Registry) -> None:
    registry.load(TASKS)
    offered = {name.removeprefix(f"{TASKS}.") for name in names(registry)}
    assert {"add", "add_slowly", "cached", "renamed", "Twice", "Nameless", "make"} <= offered
    # imported, private, no task, an object, a generator function, made inside, decorated away
    assert not offered & {"join", "partial", "progress", "_private", "NoTask", "answer"}
    assert not offered & {"count_up", "made_inside", "called_otherwise", "Path"}


def test_what_is_left_out_is_said_with_the_reason(registry: Registry) -> None:
    registry.load(TASKS)
    said = "\n".join(registry.left_out)
    assert f"{TASKS}.count_up is a generator function" in said
    assert f"offer it as {TASKS}:made_inside" in said
    with pytest.raises(UnknownTask, match="count_up is a generator function"):
        registry.find(f"{TASKS}.count_up")


def test_a_module_offers_its_taskflow_tasks_by_taskflows_names(registry: Registry) -> None:
    registry.load(FLOW)
    assert f"{FLOW}.Add" in names(registry)
    assert registry.find(f"{FLOW}.Add").version == (1, 3)
    assert registry.find(f"{FLOW}.Add").takes_name
    assert f"{FLOW}.Base" not in names(registry)
    assert any("Base is an abstract class (execute, more missing)" in s for s in registry.left_out)


def test_a_module_of_c_functions_offers_its_own(registry: Registry) -> None:
    registry.load("math")
    assert registry.find("math.factorial").target(4) == 24


def test_all_decides_what_is_public(registry: Registry, module: object) -> None:
    name = module(  # type: ignore[operator]
        "from math import sqrt\n__all__ = ['_hidden', 'sqrt', 'missing']\n"
        "def _hidden(): pass\ndef shown(): pass\n"
    )
    registry.load(name)
    assert names(registry) == [f"{name}._hidden"]


def test_an_alias_and_a_new_type_are_not_offered(registry: Registry, module: object) -> None:
    name = module(  # type: ignore[operator]
        "from typing import NewType\nUserId = NewType('UserId', int)\n"
        "def one(): pass\nanother = one\n"
    )
    registry.load(name)
    assert names(registry) == [f"{name}.one"]
    assert registry.left_out == ()


def test_a_module_without_tasks_is_refused(registry: Registry, module: object) -> None:
    name = module("answer = 42\n")  # type: ignore[operator]
    with pytest.raises(TasksUnloadable, match="defines no public function or task class"):
        registry.load(name)


def test_a_star_offers_what_the_module_does_and_is_content_with_nothing(
    registry: Registry, module: object
) -> None:
    """An executor's module may only submit what it imported; it must be importable all the same."""
    empty = module("answer = 42\n")  # type: ignore[operator]
    registry.load(f"{empty}:*")
    assert registry.entries == ()
    full = module("def one(): pass\n")  # type: ignore[operator]
    registry.load(f"{full}:*")
    assert names(registry) == [f"{full}.one"]
    with pytest.raises(TasksUnloadable, match="raised ModuleNotFoundError"):
        registry.load("no_such_module_anywhere:*")


# -- MODULE:NAME


@pytest.mark.parametrize(
    ("spec", "offered"),
    [
        ("builtins:pow", ["builtins.pow"]),
        ("math:factorial", ["math.factorial"]),
        ("os.path:join", ["os.path.join", "posixpath.join"]),
        (f"{TASKS}:join", [f"{TASKS}.join", "posixpath.join"]),
        (f"{TASKS}:answer", [f"{TASKS}.answer"]),
        (f"{TASKS}:made_inside", [f"{TASKS}.made_inside"]),
        (f"{TASKS}:_private", [f"{TASKS}._private"]),
        (f"{TASKS}:called_otherwise", ["renamed"]),
        (f"{TASKS}:Twice", [f"{TASKS}.Twice"]),
        (f"{TASKS}:Twice.execute", [f"{TASKS}.Twice.execute"]),
        ("decimal:Decimal", ["decimal.Decimal"]),
    ],
)
def test_a_name_offers_that_one_thing(registry: Registry, spec: str, offered: list[str]) -> None:
    registry.load(spec)
    assert names(registry) == offered


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "write MODULE or MODULE:NAME"),
        (":add", "write MODULE or MODULE:NAME"),
        (f"{TASKS}:", "write MODULE or MODULE:NAME"),
        (f"{TASKS}:ad", "has no 'ad'; did you mean add"),
        (f"{TASKS}:DEADLINE.x", "has no 'DEADLINE.x'"),
        (f"{TASKS}:__name__", "'str', which cannot be called"),
        (f"{TASKS}:count_up", "it is a generator function"),
        (f"{FLOW}:Base", "it is an abstract class"),
        (f"{TASKS}.add", f"to offer one thing of a module write {TASKS}:add"),
        ("tests/samples/tasks.py", "name the module, not its file: tests.samples.tasks"),
        ("no_such_module_anywhere", "No module named 'no_such_module_anywhere' .looked in"),
    ],
)
def test_what_cannot_be_offered_is_refused_with_what_to_do(
    registry: Registry, spec: str, words: str
) -> None:
    with pytest.raises(TasksUnloadable, match=words):
        registry.load(spec)
    assert registry.entries == ()


def test_a_module_that_ends_the_process_at_import_is_refused(
    registry: Registry, module: object
) -> None:
    name = module("raise SystemExit('not me')\n")  # type: ignore[operator]
    with pytest.raises(TasksUnloadable, match="SystemExit: not me"):
        registry.load(name)


def test_the_traceback_of_an_import_begins_in_the_module(
    registry: Registry, module: object
) -> None:
    name = module("def f():\n    1 / 0\nf()\n")  # type: ignore[operator]
    with pytest.raises(TasksUnloadable) as caught:
        registry.load(name)
    assert "in f\n" in str(caught.value)
    assert "importlib" not in str(caught.value)


# -- several specs


def test_loading_the_same_twice_changes_nothing(registry: Registry) -> None:
    registry.load(TASKS)
    before = registry.entries
    registry.load(TASKS)
    registry.load(f"{TASKS}:add")
    assert registry.entries == before


def test_two_things_of_one_name_are_refused_and_nothing_of_the_second_is_offered(
    registry: Registry, module: object
) -> None:
    text = "from worker import task\n@task(name='one')\ndef first(): pass\ndef other(): pass\n"
    first, second = module(text), module(text)  # type: ignore[operator]
    registry.load(first)
    with pytest.raises(TasksUnloadable, match="'one' would name both"):
        registry.load(second)
    assert names(registry) == ["one", f"{first}.other"]


def test_an_unknown_task_is_a_key_error_with_the_nearest_names(registry: Registry) -> None:
    registry.load(f"{TASKS}:add")
    with pytest.raises(UnknownTask, match=f"nearest: {TASKS}.add") as caught:
        registry.find(f"{TASKS}.addd")
    assert isinstance(caught.value, KeyError)
    assert "which offers one task" in str(caught.value)


def test_a_keyword_is_accepted_by_name_or_by_the_rest() -> None:
    assert accepts(lambda name: name, "name")
    assert accepts(lambda **rest: rest, "name")
    assert not accepts(lambda name, /: name, "name")
    assert not accepts(lambda *names: names, "names")
    assert not accepts(type, "name")


def test_what_cannot_be_loaded_is_offered_as_a_task_that_says_why() -> None:
    """Who asked for it hears it at once, instead of waiting for somebody else to offer it."""
    registry = Registry()
    registry.explain("tests.samples.tasks:nothing", "tests.samples.tasks has no 'nothing'")
    registry.explain("tests.samples.tasks:*", "not the name of a task")
    (entry,) = registry.entries
    assert entry.name == "tests.samples.tasks.nothing"
    with pytest.raises(TasksUnloadable, match="has no 'nothing'"):
        entry.target(1, two=2)


# -- limits


def test_what_a_task_says_of_its_limits_is_known_of_it_under_each_of_its_names(
    registry: Registry,
) -> None:
    for spec in ("tests.samples.limited", f"{TASKS}:add"):
        registry.load(spec)
    limits = {entry.name: (entry.time_limit, entry.soft_time_limit) for entry in registry.entries}
    assert limits == {
        "tests.samples.limited.both": (60.0, 50.0),
        "tests.samples.limited.Hard": (60, None),
        "limited.softly": (None, 50.0),
        "tests.samples.limited.free": (None, None),
        f"{TASKS}.add": (None, None),
    }
