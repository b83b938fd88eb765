"""What can be run here, by wire name. Only what was named is ever run.

A *spec* names what to offer:

* ``MODULE`` offers the module's own public tasks: functions (``async def`` too) and classes with an
  ``execute`` method, defined there and not imported. Public is what ``__all__`` lists if there is
  one, else every name without a leading underscore. Generator functions, abstract classes and
  functions that are not found under their own name are left out, each with a sentence that says
  why.
* ``MODULE:*`` offers the same, and is content if that is nothing: what an executor tells its
  private workers, who are offered more later.
* ``MODULE:NAME`` offers that one thing, whatever it is, as long as it can be called; NAME may be
  dotted. Its name on the wire is ``MODULE.NAME``, and the one it was defined under, if that is
  another.

``@task(name=…)`` replaces both. Names are as :func:`protocol.task.wire_name` gives them.

This is the one room that imports user code, so it lives where user code may run: in a host, or in
the main process of a threads pool. One thread loads; any thread may find.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Final

from protocol.errors import TasksUnloadable, UnnameableTask
from protocol.task import DEFAULT_VERSION, importing, options_of, wire_name

#: How many similar names a refusal suggests.
_NEAREST: Final = 3


class UnknownTask(KeyError):
    """A task was asked for that is not offered here. A KeyError, as from taskflow's worker."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError's own would put the sentence in quotes


@dataclass(frozen=True, slots=True)
class Entry:
    """One task that can be run."""

    name: str
    #: The function, or the class to construct.
    target: Callable[..., Any]
    #: Whether ``target`` is a task class: constructed anew for each run, then executed or reverted.
    is_class: bool
    #: Whether that class is constructed with ``name=``.
    takes_name: bool
    version: tuple[int, ...]
    #: The first line of the docstring, or empty.
    doc: str
    #: What ``@task`` says of its limits, in seconds.
    time_limit: float | None = None
    soft_time_limit: float | None = None


class Registry:
    """The tasks on offer, in the order they were named."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._left_out: dict[str, str] = {}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that can be run."""
        return tuple(self._entries.values())

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence for each public thing of an offered module that cannot be a task."""
        return tuple(self._left_out.values())

    def load(self, spec: str) -> None:
        """Import what ``spec`` names and offer it, all or nothing. Twice changes nothing.

        Raises ``TasksUnloadable``, with the traceback of the import, if it cannot be imported,
        offers nothing, or gives another task's name to something else. Runs the module's code.
        """
        module_name, colon, path = spec.partition(":")
        if not module_name or (colon and not path):
            raise TasksUnloadable(f"cannot offer {spec!r}: write MODULE or MODULE:NAME")
        module = _import(module_name, spec)
        left_out: dict[str, str] = {}
        if colon and path != "*":
            entries = list(_named(module, module_name, path))
        else:
            entries = list(_own(module, left_out))
            if not entries and not path:
                why = "; ".join(left_out.values()) or "it defines no public function or task class"
                raise TasksUnloadable(f"cannot offer {spec!r}: {why}")
        merged = dict(self._entries)
        for entry in entries:
            other = merged.setdefault(entry.name, entry)
            if other.target is not entry.target:
                raise TasksUnloadable(
                    f"cannot offer {spec!r}: {entry.name!r} would name both "
                    f"{_shown(other.target)} and {_shown(entry.target)}; rename one of them"
                )
        self._entries = merged  # replaced, not changed: another thread may be looking a task up
        self._left_out = {**self._left_out, **left_out}

    def explain(self, spec: str, reason: str) -> None:
        """Offer the name of a ``MODULE:NAME`` that cannot be loaded, as a task that says why.

        So that who asked for it hears it as the failure of the call, and does not wait for
        somebody else to offer it.
        """

        def cannot_be_loaded(*_args: Any, **_arguments: Any) -> None:
            raise TasksUnloadable(reason)

        module, colon, path = spec.partition(":")
        name = f"{module}.{path}"
        if colon and path != "*" and name not in self._entries:
            entry = Entry(name, cannot_be_loaded, False, False, DEFAULT_VERSION, "")
            self._entries = {**self._entries, name: entry}

    def find(self, name: str) -> Entry:
        """The task of this wire name. Raises :class:`UnknownTask` with the nearest names."""
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownTask(self._unknown(name)) from None

    def _unknown(self, name: str) -> str:
        if name in self._left_out:
            return f"task {name!r} is not offered by this worker: {self._left_out[name]}"
        nearest = get_close_matches(name, self._entries, n=_NEAREST)
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        count = len(self._entries)
        tasks = "one task" if count == 1 else f"{count} tasks"
        return f"task {name!r} is not offered by this worker, which offers {tasks}{hint}"


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether ``function`` can be called with a keyword argument of this name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return name in parameters and parameters[name].kind in by_name


# -- importing


def _import(module_name: str, spec: str) -> ModuleType:
    token = importing.set(module_name)
    try:
        return importlib.import_module(module_name)
    except BaseException as error:  # a module may well call sys.exit()
        raise TasksUnloadable(
            f"cannot offer {spec!r}: importing {module_name} raised "
            f"{type(error).__name__}: {error}{_advice(module_name, error)}\n{_traceback_of(error)}"
        ) from error
    finally:
        importing.reset(token)


def _advice(module_name: str, error: BaseException) -> str:
    if module_name.endswith(".py") or "/" in module_name:
        path = module_name.removesuffix(".py").replace("/", ".").strip(".")
        return f" (name the module, not its file: {path})"
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    parent, _, last = module_name.rpartition(".")
    if parent and error.name == module_name and hasattr(sys.modules.get(parent), last):
        return f" (to offer one thing of a module write {parent}:{last})"
    if error.name == module_name.partition(".")[0]:
        return f" (looked in {', '.join(map(str, sys.path[:4]))}, …)"
    return ""


def _traceback_of(error: BaseException) -> str:
    """From where the module's own code begins: what lies above is ours and importlib's."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_globals.get("__name__") in (
        __name__,
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
    ):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame)).rstrip()


# -- choosing


def _named(module: ModuleType, module_name: str, path: str) -> Iterator[Entry]:
    """The one thing, under the name it was asked for by (``os.path.join``) and under its own."""
    spec = f"{module_name}:{path}"
    thing: Any = module
    for part in path.split("."):
        try:
            thing = getattr(thing, part)
        except AttributeError:
            names = [name for name in dir(thing) if not name.startswith("_")]
            nearest = get_close_matches(part, names, n=_NEAREST)
            hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
            raise TasksUnloadable(
                f"cannot offer {spec!r}: {module_name} has no {path!r}{hint}"
            ) from None
    problem = _problem(thing)
    if problem is not None:
        raise TasksUnloadable(f"cannot offer {spec!r}: it is {problem}")
    names = [f"{module_name}.{path}"]
    try:
        own_name = wire_name(thing)
    except UnnameableTask:
        pass  # a lambda, an object that can be called: it has the name it was offered by
    else:
        names = [own_name] if options_of(thing).name is not None else [*names, own_name]
    for name in dict.fromkeys(names):
        yield _entry(name, thing)


def _own(module: ModuleType, left_out: dict[str, str]) -> Iterator[Entry]:
    listed = getattr(module, "__all__", None)
    names = list(vars(module)) if listed is None else [name for name in listed if type(name) is str]
    for name in names:
        thing = vars(module).get(name)
        if (listed is None and name.startswith("_")) or not _is_own_task(thing, module):
            continue
        wire = options_of(thing).name or f"{module.__name__}.{name}"
        problem = _problem(thing) or _misnamed(thing, module, name)
        if problem is None:
            yield _entry(wire, thing)
        elif not _is_alias(thing, module, name):
            left_out[wire] = f"{module.__name__}.{name} is {problem}"


def _is_own_task(thing: Any, module: ModuleType) -> bool:
    if getattr(thing, "__module__", None) != module.__name__ or not callable(thing):
        return False
    if isinstance(thing, type):
        return callable(getattr(thing, "execute", None))
    # Functions of any make: Python's, C's, cached ones, compiled ones. Not other callable objects.
    is_function = inspect.isroutine(thing) or hasattr(thing, "__wrapped__")
    return is_function or hasattr(thing, "__code__")


def _problem(thing: Any) -> str | None:
    """Why this cannot be a task, as the end of a sentence; None if it can."""
    if not callable(thing):
        return f"{type(thing).__name__!r}, which cannot be called"
    function = thing
    if isinstance(thing, type) and callable(getattr(thing, "execute", None)):
        if inspect.isabstract(thing):
            missing = ", ".join(sorted(getattr(thing, "__abstractmethods__", ())))
            return f"an abstract class ({missing} missing)"
        function = thing.execute  # type: ignore[attr-defined]
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "a generator function, and a generator cannot travel: return a list"
    return None


def _misnamed(thing: Any, module: ModuleType, name: str) -> str | None:
    path = thing.__name__ if isinstance(thing, type) else getattr(thing, "__qualname__", "")
    if path == name:
        return None
    return (
        f"{path} by its own name, which does not lead back to it: use functools.wraps in its "
        f"decorator, or offer it as {module.__name__}:{name}"
    )


def _is_alias(thing: Any, module: ModuleType, name: str) -> bool:
    """Whether this is only a second name of something the module offers by its own."""
    own = getattr(thing, "__name__", "")
    return own != name and vars(module).get(own) is thing


def _entry(name: str, thing: Any) -> Entry:
    is_class = isinstance(thing, type) and callable(getattr(thing, "execute", None))
    options = options_of(thing)
    version = options.version
    if is_class and version == DEFAULT_VERSION:
        version = _class_version(thing)
    doc = getattr(thing, "__doc__", None)
    lines = doc.strip().splitlines() if isinstance(doc, str) else []
    return Entry(
        name=name,
        target=thing,
        is_class=is_class,
        takes_name=is_class and accepts(thing, "name"),
        version=version,
        doc=lines[0].strip() if lines else "",
        time_limit=options.time_limit,
        soft_time_limit=options.soft_time_limit,
    )


def _class_version(cls: type) -> tuple[int, ...]:
    """What the class says of itself, where taskflow's classes say it (``atom.Atom.version``)."""
    version = getattr(cls, "version", None)
    is_version = isinstance(version, tuple) and all(type(n) is int for n in version)
    return version if is_version and version else DEFAULT_VERSION


def _shown(thing: Any) -> str:
    module, path = getattr(thing, "__module__", "?"), getattr(thing, "__qualname__", repr(thing))
    return f"{module}.{path}"
