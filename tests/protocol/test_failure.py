"""Exceptions as taskflow's failure dicts, what comes back of them, and what never does."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import importlib.util
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import failure, values
from protocol.errors import (
    SoftTimeLimitExceeded,
    TaskFailed,
    TasklineError,
    TimeLimitExceeded,
    ValueRefused,
    WorkerLost,
)
from protocol.failure import RemoteError, from_exception, from_text, parse, to_exception

HERE = __name__

KEYS = {"exception_str", "traceback_str", "exc_type_names", "version", "exc_args", "causes"}


def raised(exc: BaseException) -> BaseException:
    """The same exception, after it has been raised."""
    try:
        raise exc
    except BaseException as caught:
        return caught


def chain(length: int, make: Callable[[int], BaseException] = ValueError) -> Any:
    """An exception with ``length - 1`` causes below it; the outermost is number ``length - 1``."""
    inner: BaseException | None = None
    for number in range(length):
        exc = make(number)
        BaseException.__dict__["__cause__"].__set__(exc, inner)
        inner = raised(exc)
    return inner


def travelled(exc: BaseException, worker: str | None = "w1") -> Exception:
    """What the caller gets for ``exc``, through the text on the wire."""
    return to_exception(values.loads(values.dumps(from_exception(exc))), worker)


def is_well_formed(data: Any) -> bool:
    """Whether no taskflow peer can be hurt by it: exactly the six keys, of the right types."""
    return (
        set(data) == KEYS
        and isinstance(data["exception_str"], str)
        and isinstance(data["traceback_str"], str)
        and data["version"] == 1
        and bool(data["exc_type_names"])
        and all(isinstance(name, str) for name in data["exc_type_names"])
        and data["exc_type_names"][-1] in ("Exception", "BaseException")
        and isinstance(data["exc_args"], list)
        and all(cause["causes"] == [] and is_well_formed(cause) for cause in data["causes"])
        and values.loads(values.dumps(data)) == data
    )


class Simple(Exception):
    """The usual case."""


class Derived(Simple, KeyError):
    """With several ancestors."""


class TwoArguments(Exception):
    """Its constructor takes two and hands on one: it cannot be rebuilt from its args."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: {code}")
        self.code = code


class Rewriting(Exception):
    """Its args are not what it was called with."""

    def __init__(self, text: str) -> None:
        super().__init__(f"<{text}>")


class OtherInstead(Exception):
    """Calling the class gives another class's instance."""

    def __new__(cls, *args: object) -> Any:
        return ValueError(*args) if args else super().__new__(cls)


class Sealed(Exception):
    """Takes no attribute but its own."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "remote":
            raise AttributeError(name)
        super().__setattr__(name, value)


class Forgetful(Exception):
    """Takes any attribute and forgets it."""

    remote = None

    def __setattr__(self, name: str, value: object) -> None:
        pass


class Leaving(Exception):
    """Ends the process that builds it, if it can."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if args == ("now",):
            raise SystemExit(1)


class Constant(Exception):
    """No arguments, a text all the same."""

    def __str__(self) -> str:
        return "always this"


class Mute(Exception):
    """Whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class Quitting(Exception):
    """Whose text ends the process."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Stopping(StopIteration):
    """A StopIteration under another name."""


class Crooked(Exception):
    """Properties where the interpreter's fields would be."""

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("args")

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("cause")

    @property
    def __notes__(self) -> Any:
        raise SystemExit


class Outer:
    """Holds a class whose name on the wire is that of another."""

    class Simple(KeyError):
        """``<module>.Simple`` on the wire, as the one above."""


# -- from an exception


def test_an_exception_becomes_taskflows_dict() -> None:
    def boom() -> None:
        try:
            dict[str, int]()["missing"]
        except KeyError as error:
            raise Derived("boom", 42, [1, ("a",)]) from error

    with pytest.raises(Derived) as caught:
        boom()
    data = from_exception(caught.value)
    assert is_well_formed(data)
    assert data["exception_str"] == str(caught.value)
    assert data["traceback_str"] == "".join(traceback.format_tb(caught.value.__traceback__))
    assert data["exc_type_names"] == [
        f"{HERE}.Derived", f"{HERE}.Simple", "KeyError", "LookupError", "Exception",
    ]  # fmt: skip
    assert data["exc_args"] == ["boom", 42, [1, ["a"]]]
    (cause,) = data["causes"]
    assert cause["exception_str"] == "'missing'"
    assert cause["exc_type_names"] == ["KeyError", "LookupError", "Exception"]
    assert cause["exc_args"] == ["missing"]
    assert "in boom" in cause["traceback_str"]


@pytest.mark.parametrize(
    ("exc", "names"),
    [
        (ValueError(), ["ValueError", "Exception"]),
        (Exception(), ["Exception"]),
        (SystemExit(3), ["SystemExit", "BaseException"]),
        (KeyboardInterrupt(), ["KeyboardInterrupt", "BaseException"]),
        (BaseException(), ["BaseException"]),
        (asyncio.CancelledError(), ["asyncio.exceptions.CancelledError", "BaseException"]),
        (
            json.JSONDecodeError("m", "d", 0),
            ["json.decoder.JSONDecodeError", "ValueError", "Exception"],
        ),
        (Outer.Simple(), [f"{HERE}.Simple", "KeyError", "LookupError", "Exception"]),
    ],
)
def test_type_names_go_up_to_the_root(exc: BaseException, names: list[str]) -> None:
    assert from_exception(exc)["exc_type_names"] == names


def test_causes_are_the_chain_python_prints() -> None:
    inner, outer = ValueError("inner"), KeyError("outer")
    outer.__context__ = inner
    assert [c["exc_args"] for c in from_exception(outer)["causes"]] == [["inner"]]
    outer.__suppress_context__ = True
    assert from_exception(outer)["causes"] == []
    outer.__cause__ = OSError("cause")
    assert [c["exc_args"] for c in from_exception(outer)["causes"]] == [["cause"]]


def test_a_long_chain_is_bounded_and_flat() -> None:
    data = from_exception(chain(1000))
    assert is_well_formed(data)
    assert [c["exc_args"] for c in data["causes"]] == [[n] for n in range(998, 982, -1)]
    assert len(data["causes"]) == failure.MAX_CAUSES


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert [c["exc_args"] for c in from_exception(first)["causes"]] == [["second"]]
    first.__cause__ = first
    assert from_exception(first)["causes"] == []


def test_arguments_that_cannot_travel_are_dropped_at_every_depth() -> None:
    inner = ValueError({1, 2})
    middle = KeyError("fine")
    outer = OSError("x", object())
    outer.__cause__, middle.__cause__ = middle, inner
    data = from_exception(outer)
    assert data["exc_args"] == []
    assert [c["exc_args"] for c in data["causes"]] == [["fine"], []]
    assert data["causes"][1]["exception_str"] == "{1, 2}"
    assert is_well_formed(data)


def test_arguments_leave_room_for_the_message_around_them() -> None:
    """A failure that could not be written would be an answer that never comes."""
    deep: list[Any] = []
    for _ in range(values.MAX_DEPTH - 2):
        deep = [deep]
    values.check([deep], "args")
    exc = ValueError(1)
    exc.__cause__ = ValueError(deep)
    data = from_exception(exc)
    assert data["causes"][0]["exc_args"] == []
    assert values.dumps({"failures": {"task": data}})
    shallow = json.loads("[" * 150 + "]" * 150)
    assert from_exception(ValueError(shallow))["exc_args"] == [shallow]


def test_what_travels_is_a_copy() -> None:
    held = [1]
    data = from_exception(ValueError(held))
    held.append(2)
    assert data["exc_args"] == [[1]]


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (Mute("x"), "(its text is not known: str() of it raised RuntimeError)"),
        (Quitting("x"), "(its text is not known: str() of it raised KeyboardInterrupt)"),
        (Crooked("x"), "x"),
        (ValueError("\ud800"), "\ud800"),
        (ValueError(10**5000), "(its text is not known: str() of it raised ValueError)"),
    ],
    ids=["mute", "quitting", "crooked", "surrogate", "huge int"],
)
def test_nothing_an_exception_does_keeps_it_from_being_told(exc: Exception, text: str) -> None:
    for told in (from_exception(raised(exc)), from_exception(chain(3, lambda _: exc))):
        assert told["exception_str"] == text
        assert is_well_formed(told)


def test_a_class_without_a_proper_module_is_told() -> None:
    for module in (None, 5, property()):
        kind = type("Odd", (Exception,), {"__module__": module})
        assert from_exception(kind())["exc_type_names"] == ["Odd", "Exception"]


def test_sizes_are_bounded() -> None:
    kind = type("X" * 10_000, (Exception,), {})
    for _ in range(100):
        kind = type("X" * 10_000, (kind,), {})
    data = from_exception(kind("é" * 10_000_000))
    assert is_well_formed(data)
    assert len(data["exc_type_names"]) == failure.MAX_NAMES
    assert len(data["exception_str"]) <= failure.MAX_TEXT
    assert "characters are left out" in data["exception_str"]
    assert data["exc_args"] == []


def test_a_deep_traceback_is_bounded_and_keeps_both_ends() -> None:
    def odd(n: int) -> None:
        even(n - 1)

    def even(n: int) -> None:
        if n <= 0:
            raise Simple("at the bottom")
        odd(n - 1)

    with pytest.raises(Simple) as caught:
        even(800)
    text = from_exception(caught.value)["traceback_str"]
    assert len(text) <= failure.MAX_TRACEBACK
    assert "are left out" in text
    assert "test_a_deep_traceback" in text
    assert 'raise Simple("at the bottom")' in text.splitlines()[-1] + text.splitlines()[-2]


def test_notes_are_told() -> None:
    exc: Any = raised(ValueError("x"))
    exc.__notes__ = ["look here", 5]  # what add_note does, on Python 3.10 too
    assert from_exception(exc)["traceback_str"].endswith("  Note: look here\n")
    exc.__notes__ = 7
    assert is_well_formed(from_exception(exc))


@pytest.mark.skipif(
    not hasattr(builtins, "ExceptionGroup"), reason="ExceptionGroup is missing before Python 3.11"
)
def test_the_members_of_a_group_are_told_and_bounded() -> None:
    group: Any = builtins.ExceptionGroup  # type: ignore[attr-defined,unused-ignore]
    data = from_exception(
        raised(group("g", [raised(ValueError("a")), group("h", [KeyError("b")])]))
    )
    assert "  | Member 1:\n" in data["traceback_str"]
    assert "  | ValueError: a\n" in data["traceback_str"]
    assert "  | Member 2.1:\n  | KeyError: 'b'\n" in data["traceback_str"]
    many = group("g", [KeyError(1)])
    for _ in range(40):
        many = group("g", [many, many])
    data = from_exception(many)
    assert is_well_formed(data)
    assert "more members are left out" in data["traceback_str"]
    assert type(travelled(many)) is TaskFailed


EXCEPTIONS = st.builds(
    lambda kind, args: kind(*args),
    st.sampled_from([ValueError, KeyError, OSError, Simple, Derived, Constant, SystemExit, Mute]),
    st.lists(
        st.text(st.characters())
        | st.integers()
        | st.floats()
        | st.binary()
        | st.sets(st.integers()),
        max_size=2,
    ),
)


@given(st.lists(EXCEPTIONS, min_size=1, max_size=5), st.lists(st.booleans(), min_size=5))
def test_any_chain_becomes_a_dict_that_travels(excs: list[Any], as_cause: list[bool]) -> None:
    for outer, inner, explicit in zip(excs, excs[1:], as_cause, strict=False):
        setattr(outer, "__cause__" if explicit else "__context__", inner)
    data = from_exception(excs[0])
    assert is_well_formed(data)
    back = travelled(excs[0])
    assert back.remote == parse(data, "w1")  # type: ignore[attr-defined]
    assert type(back) in (TaskFailed, type(excs[0]))


def test_a_text_becomes_a_failure_as_if_it_had_been_raised() -> None:
    data = from_text(["KeyError", "LookupError", "Exception"], "no such task", "  somewhere\n")
    assert is_well_formed(data)
    assert data["traceback_str"] == "  somewhere\n"
    back = to_exception(data)
    assert type(back) is KeyError
    assert back.args == ("no such task",)
    assert from_text([], "x")["exc_type_names"] == ["Exception"]
    assert from_text(["a.B"], "x")["exc_type_names"] == ["a.B", "Exception"]
    lost = to_exception(from_text(["protocol.errors.WorkerLost"], "fell silent"))
    assert type(lost) is WorkerLost
    assert str(lost) == "fell silent"
    assert is_well_formed(from_text(["a.B"] * 1000, "x" * 10**6, "y" * 10**6))


# -- to an exception


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("boom", 42),
        ValueError(),
        KeyError("k"),
        FileNotFoundError(2, "No such file"),
        UnicodeEncodeError("ascii", "é", 0, 1, "no"),
        ZeroDivisionError("division by zero"),
        TimeoutError("late"),
        subprocess.CalledProcessError(1, "false"),
        asyncio.InvalidStateError("x"),
        concurrent.futures.TimeoutError("late"),
        Simple("x", None, [1, {"a": 2}]),
        Derived(1),
        Constant(),
        ValueRefused("x: a set cannot travel"),
        TasklineError("x"),
        UserWarning("x"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_an_exception_known_here_comes_back_as_itself(exc: Exception) -> None:
    back = travelled(raised(exc))
    assert type(back) is type(exc)
    assert back.args == exc.args
    assert str(back) == str(exc)
    remote = back.remote  # type: ignore[attr-defined]
    assert isinstance(remote, RemoteError)
    assert remote.worker == "w1"
    assert remote.text == str(exc)
    assert remote.type_names == tuple(from_exception(exc)["exc_type_names"])
    assert "raise exc" in remote.traceback


@pytest.mark.parametrize(
    "exc",
    [
        StopIteration(1),
        StopAsyncIteration(),
        Stopping(1),
        SystemExit(1),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseException("x"),
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        TwoArguments("x", 1),
        Rewriting("x"),
        OtherInstead(),
        Sealed("x"),
        Forgetful("x"),
        Mute("x"),
        json.JSONDecodeError("m", "d", 0),
        ValueError({1}),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_every_other_exception_is_task_failed_with_its_type_and_text(exc: BaseException) -> None:
    if isinstance(exc, OtherInstead):
        exc.args = ("x",)
    if isinstance(exc, Mute):
        exc.args = ()
    data = from_exception(exc)
    back = travelled(exc)
    assert type(back) is TaskFailed
    name, text = data["exc_type_names"][0], data["exception_str"]
    assert str(back) == (f"{name}: {text}" if text else name)
    assert back.remote == parse(data, "w1")


def test_a_constructor_that_ends_the_process_does_not() -> None:
    data = from_text([f"{HERE}.Leaving"], "now")
    assert type(to_exception(data)) is TaskFailed
    data = from_text([f"{HERE}.Leaving"], "later")
    assert type(to_exception(data)) is Leaving


def test_a_class_that_only_shares_its_name_is_not_raised() -> None:
    """A nested class's name has no trace of where it is nested."""
    back = travelled(Outer.Simple("x"))
    assert type(back) is TaskFailed
    assert type(travelled(Simple("x"))) is Simple


def test_a_name_that_is_an_alias_here_means_the_class_it_stands_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``asyncio.exceptions.TimeoutError`` was a class of its own before Python 3.11."""
    older = ModuleType("older_library")
    older.Late = TimeoutError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "older_library", older)
    assert type(to_exception(from_text(["older_library.Late"], "x"))) is TimeoutError


@pytest.fixture
def no_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever is looked for in order to be imported fails the test."""
    looked_for: list[str] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            looked_for.append(name)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    yield
    assert looked_for == []


@pytest.mark.usefixtures("no_imports")
@pytest.mark.parametrize(
    "name",
    [
        "antigravity.Error",
        "this.Error",
        "concurrent.futures.ProcessPoolExecutor",
        "os.system",
        "builtins.eval",
        "eval",
        "object",
        "sys.modules",
        "sys",
        "__import__",
        "builtins.Exception.mro",
        "..",
        ".",
        "",
        "ValueError.",
        ".ValueError.",
        "protocol.failure.traceback.TracebackException",
        "protocol.failure.VERSION",
        "nowhere",
        "\ud800.x",
    ],
)
def test_no_name_imports_or_runs_anything(name: str) -> None:
    back = to_exception({**from_text(["X"], "x"), "exc_type_names": [name, "Exception"]})
    assert type(back) is TaskFailed


def test_no_modules_getattr_runs_and_no_lazy_module_wakes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    woken: list[str] = []
    module = ModuleType("answering")
    vars(module)["__getattr__"] = woken.append
    monkeypatch.setitem(sys.modules, "answering", module)

    class Proxy:
        def __getattribute__(self, name: str) -> Any:
            woken.append(name)
            return {"Error": ValueError}

    monkeypatch.setitem(sys.modules, "proxied", Proxy())

    (tmp_path / "sleeping.py").write_text("class Error(Exception): pass\nraise SystemExit(1)\n")
    spec = importlib.util.spec_from_file_location("sleeping", tmp_path / "sleeping.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lazy)
    monkeypatch.setitem(sys.modules, "sleeping", lazy)

    for name in ("answering.Error", "proxied.Error", "sleeping.Error"):
        assert type(to_exception(from_text([name], "x"))) is TaskFailed
    assert woken == []
    monkeypatch.setitem(sys.modules, "emptied", None)
    assert type(to_exception(from_text(["emptied.Error"], "x"))) is TaskFailed


def test_an_exception_of_the_callers_own_script_comes_back_as_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker imported the script by its file stem; here it is ``__main__``."""
    main = ModuleType("__main__")
    main.__file__ = "/home/me/my_script.py"
    exec("class Base(Exception): pass\nclass Mine(Base): pass", vars(main))
    monkeypatch.setitem(sys.modules, "__main__", main)
    data = from_text(["my_script.Mine", "my_script.Base", "Exception"], "x")
    back = to_exception(data)
    assert type(back) is vars(main)["Mine"]
    main.__spec__ = importlib.util.spec_from_loader("package.script", None)
    main.__file__ = None
    assert type(to_exception(data)) is TaskFailed
    names = ["package.script.Mine", "package.script.Base", "Exception"]
    assert type(to_exception(from_text(names, "x"))) is vars(main)["Mine"]


def test_a_printed_traceback_shows_the_remote_one_with_worker_and_causes() -> None:
    def resize() -> None:
        try:
            open_image()
        except KeyError as error:
            raise Simple("cannot resize") from error

    def open_image() -> None:
        raise KeyError("size")

    with pytest.raises(Simple) as caught:
        resize()
    back = travelled(caught.value, "worker-7")
    assert isinstance(back.__cause__, failure.RemoteTraceback)
    shown = str(back.__cause__)
    order = [
        "In worker worker-7:",
        "Traceback (most recent call last):\n",
        "in resize",
        "in open_image",
        "\nKeyError: 'size'\n",
        "The exception above led to this one:",
        "Traceback (most recent call last):\n",
        "in resize",
        f"\n{HERE}.Simple: cannot resize\n",
    ]
    at = 0
    for part in order:
        at = shown.index(part, at) + len(part)
    printed = "".join(traceback.format_exception(type(back), back, back.__traceback__))
    assert shown in printed
    assert printed.index(shown) < printed.rindex("Simple: cannot resize")


def test_what_is_raised_here_can_fail_again_and_be_pickled() -> None:
    """A worker whose task called another worker tells both tracebacks."""
    first = raised(travelled(raised(ValueError("far away")), "w1"))
    data = from_exception(first)
    assert data["exc_args"] == ["far away"]
    assert "In worker w1:" in data["causes"][0]["exception_str"]
    for exc in (first, travelled(SystemExit(1))):
        again = pickle.loads(pickle.dumps(exc))
        assert type(again) is type(exc)
        assert again.remote == exc.remote  # type: ignore[attr-defined]


def test_a_soft_time_limit_arrives_as_itself_with_what_is_known_of_it() -> None:
    exc = raised(SoftTimeLimitExceeded("my.task has run for its soft_time_limit of 2 s"))
    back = to_exception(json.loads(values.dumps(from_exception(exc))), "w1")
    assert type(back) is SoftTimeLimitExceeded
    assert str(back) == str(exc)
    assert back.remote.worker == "w1"  # type: ignore[attr-defined]
    assert "In worker w1" in str(back.__cause__)


def test_the_end_at_a_time_limit_arrives_as_itself() -> None:
    back = to_exception(from_exception(TimeLimitExceeded("my.task ran for 2 s")))
    assert type(back) is TimeLimitExceeded
    assert back.request_uuid == ""


# -- whatever a peer sends

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["ValueError", "Exception", "OSError", "SystemExit", f"{HERE}.Simple", "os.x", "", "int"]
)


def sent(causes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something like a failure dict: each key may be missing, right, or anything at all."""
    return st.fixed_dictionaries(
        {},
        optional={
            "exception_str": st.text() | JSON,
            "traceback_str": st.text() | JSON,
            "exc_type_names": st.lists(NAMES | JSON, max_size=3) | JSON,
            "version": st.just(1) | st.just(2) | JSON,
            "exc_args": st.lists(JSON, max_size=3) | JSON,
            "causes": st.lists(causes, max_size=3) | JSON,
            "extra": JSON,
        },
    )


@given(sent(sent(sent(JSON))) | JSON)
def test_whatever_a_peer_sends_becomes_one_exception(data: Any) -> None:
    back = to_exception(data, "w1")
    assert isinstance(back, Exception)
    remote = back.remote  # type: ignore[attr-defined]
    assert remote == parse(data, "w1")
    assert isinstance(remote.text, str)
    assert all(isinstance(name, str) for name in remote.type_names)
    assert len(remote.causes) <= failure.MAX_CAUSES
    assert all(cause.causes == () for cause in remote.causes)
    assert "In worker w1" in str(back.__cause__)
    assert is_well_formed(from_exception(back))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "an exception of unknown type"),
        (None, "an exception of unknown type: (a failure that is a NoneType)"),
        ("boom", "an exception of unknown type: boom"),
        ([1], "an exception of unknown type: (a failure that is a list)"),
        ({"exception_str": "x"}, "an exception of unknown type: x"),
        ({"exception_str": "x", "exc_type_names": ["m.E", "Exception"]}, "m.E: x"),
        ({"exception_str": "x", "exc_type_names": [None, 3, "m.E"]}, "m.E: x"),
        ({"exception_str": 3, "exc_type_names": "ValueError"}, "an exception of unknown type"),
        (
            {"exception_str": "x", "exc_type_names": ["ValueError"], "exc_args": "x"},
            "ValueError: x",
        ),
        (
            {
                "exception_str": "x",
                "exc_type_names": ["ValueError"],
                "exc_args": ["x"],
                "version": 2,
            },
            "ValueError: x",
        ),
    ],
)
def test_a_failure_that_is_not_one_is_told_as_far_as_it_can_be_read(
    data: Any, message: str
) -> None:
    back = to_exception(data)
    assert type(back) is TaskFailed
    assert str(back) == message


def test_an_older_dict_and_unknown_keys_are_read() -> None:
    """taskflow's older form has no ``exc_args`` and no ``causes``; version may be missing."""
    old = {"exception_str": "x", "exc_type_names": ["ValueError", "Exception"], "traceback_str": ""}
    assert type(to_exception(old)) is TaskFailed, "its text would be lost"
    assert type(to_exception({**old, "exc_args": ["x"], "new": 1})) is ValueError
    short = {**old, "exc_type_names": ["KeyError", "Exception"], "exc_args": ["x"]}
    assert type(to_exception(short)) is KeyError


def test_huge_failures_are_cut_to_size() -> None:
    cause = {
        "exception_str": "x" * 10**6,
        "traceback_str": "y" * 10**6,
        "exc_type_names": ["z" * 10**6] * 10**3,
        "version": 1,
    }
    back = to_exception({**cause, "causes": [cause] * 10**5})
    remote = back.remote  # type: ignore[attr-defined]
    for error in (remote, *remote.causes):
        assert len(error.text) <= failure.MAX_TEXT
        assert len(error.traceback) <= failure.MAX_TRACEBACK
        assert len(error.type_names) == failure.MAX_NAMES
        assert all(len(name) <= failure.MAX_NAME for name in error.type_names)
    assert len(remote.causes) == failure.MAX_CAUSES


def test_causes_inside_causes_are_read_as_one_chain() -> None:
    """A peer that nests its chain loses nothing, however deep it nests."""
    data: dict[str, Any] = from_text(["E0"], "0")
    for number in range(1, 1000):
        data = {**from_text([f"E{number}"], str(number)), "causes": [data]}
    remote = parse(data)
    assert remote.text == "999"
    assert [cause.text for cause in remote.causes] == [str(998 - n) for n in range(16)]


# -- against the real taskflow


@pytest.fixture(scope="module")
def taskflow_failure() -> Any:
    """taskflow's own class of failures."""
    module = pytest.importorskip(
        "taskflow.types.failure", reason="taskflow is missing: pip install taskflow"
    )
    return module.Failure


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("boom", 42),
        Derived("x"),
        Mute("x"),
        ValueError({1}),
        Crooked("x"),
        chain(12),
        chain(40, lambda n: OSError(n, object())),
        SystemExit(3),
        TwoArguments("x", 3),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_taskflow_reads_ours(taskflow_failure: Any, exc: BaseException) -> None:
    data = json.loads(values.dumps(from_exception(raised(exc))))
    taskflow_failure.validate(data)
    theirs = taskflow_failure.from_dict(data)
    root = Exception if isinstance(exc, Exception) else BaseException
    for kind in type(exc).__mro__:
        if issubclass(kind, root):
            assert theirs.check(kind) is kind
    assert theirs.check(MemoryError) is None
    assert len(theirs.causes) == len(data["causes"])
    assert theirs.to_dict()["exception_str"] == data["exception_str"]


@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_we_read_what_taskflow_sends(taskflow_failure: Any, length: int) -> None:
    """Its causes repeat their own chains: 4096 dicts for twelve exceptions, read as twelve."""
    exc = chain(length, lambda n: Simple("number", n))
    data = json.loads(json.dumps(taskflow_failure.from_exception(exc).to_dict()))
    ours = from_exception(exc)
    back = to_exception(data, "w1")
    assert type(back) is Simple
    assert back.args == ("number", length - 1)
    remote = back.remote  # type: ignore[attr-defined]
    assert [c.text for c in remote.causes] == [c["exception_str"] for c in ours["causes"]]
    assert remote == parse(ours, "w1"), "theirs and ours say the same"
    assert {k: v for k, v in data.items() if k != "causes"} == {
        k: v for k, v in ours.items() if k != "causes"
    }


def test_taskflows_failures_of_its_own_are_told(taskflow_failure: Any) -> None:
    errors = pytest.importorskip("taskflow.exceptions", reason="taskflow is missing")
    exc = errors.RequestTimeout("too late")
    back = to_exception(taskflow_failure.from_exception(exc).to_dict())
    assert type(back) is type(exc)
    assert str(back) == "too late"
