"""A remote exception as data: taskflow's failure dict, made from an exception and back again.

Decided here: what of an exception travels, within which bounds, and what the caller gets to
raise. The dict is taskflow's, version 1 (``taskflow/types/failure.py``, 6.5.0)::

    {"exception_str": str, "traceback_str": str, "exc_type_names": [str, …], "version": 1,
     "exc_args": [JSON, …], "causes": [the same, each with an empty "causes", …]}

``exc_type_names`` are the classes from the most specific up to ``Exception`` (``BaseException`` for
what is none), builtins bare, others ``module.__name__``. ``causes`` is the chain that Python would
print, flat, nearest first. taskflow repeats in each cause that cause's own chain, 2^n dicts for n
exceptions; its peers read the empty ones just as well.

In the caller an exception comes back as itself only if its class is already there: looked up in the
dicts of ``builtins`` and of ``sys.modules``, so that no name in a message ever imports anything or
runs a module's ``__getattr__``. What would steer the caller's own control flow if it were raised
(``StopIteration``, ``SystemExit``, a cancellation) never comes back as itself.

Not decided here: when a failure is sent, and what is raised for expiry or a lost worker. Making one
(:func:`from_exception`) is the worker's, on the thread that ran the task, and formats a traceback,
for which the standard library reads source lines; reading one is the executor's. Any thread.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Final, TypeAlias

from protocol import values
from protocol.errors import TaskFailed, ValueRefused
from protocol.values import Json

#: taskflow's failure dict, drawn above.
FailureDict: TypeAlias = dict[str, Json]

VERSION: Final = 1  # taskflow's Failure.DICT_VERSION, the only one there has ever been
MAX_CAUSES: Final = 16  # exceptions of a chain below the outermost
MAX_NAMES: Final = 64  # classes of one exception
MAX_NAME: Final = 256  # characters of one class name
MAX_TEXT: Final = 65_536  # characters of ``exception_str``
MAX_TRACEBACK: Final = 32_768  # characters of ``traceback_str``, about 300 frames
MAX_MEMBERS: Final = 16  # members told of an exception group, those of inner groups included
MAX_FRAMES: Final = 400  # frames that are formatted at all: half the first, half the last
MAX_ARGS: Final = 262_144  # characters of ``exc_args`` as JSON; longer ones are dropped
ROOM_AROUND: Final = 20  # levels kept free for the causes, the failure and the messages around it

_ROOTS: Final = frozenset({"Exception", "BaseException"})
#: Exceptions of the caller's own control flow, besides those that are no ``Exception`` at all.
_STEERING: Final = frozenset(
    {"StopIteration", "StopAsyncIteration", "concurrent.futures._base.CancelledError"}
)


@dataclass(frozen=True, slots=True)
class RemoteError:
    """What is known of an exception that was raised in another process."""

    #: The name of the worker that told of it, if known.
    worker: str | None
    #: As in the failure dict, most specific first; empty if the peer sent none that can be read.
    type_names: tuple[str, ...]
    #: ``str()`` of the exception.
    text: str
    #: The formatted frames, innermost last, without a header line; may be empty.
    traceback: str
    #: The exceptions it came from, nearest first; theirs are empty.
    causes: tuple[RemoteError, ...]


class RemoteTraceback(Exception):
    """Never raised: the ``__cause__`` by which a printed traceback shows the remote one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        #: The remote traceback as Python would have printed it there.
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


# -- from an exception


def from_exception(exc: BaseException) -> FailureDict:
    """The failure dict of ``exc`` and the chain it came from. Never raises, whatever ``exc`` does.

    Arguments that may not travel (:func:`protocol.values.check`), are too long or too deep are
    dropped, for each exception of the chain by itself. Notes and the members of an exception group
    are told at the end of ``traceback_str``. Any thread; runs the ``__str__`` of the exceptions.
    """
    failure = _one(exc)
    failure["causes"] = [_one(cause) for cause in _chain(exc)]
    return failure


def from_text(type_names: Sequence[str], text: str, traceback: str = "") -> FailureDict:
    """A failure nobody raised: as if of that class, with ``text`` as its only argument.

    ``type_names`` as in the dict; ``Exception`` is added where no root ends them.
    """
    names = [name[:MAX_NAME] for name in type_names[:MAX_NAMES]]
    if not names or names[-1] not in _ROOTS:
        names.append("Exception")
    return {
        "exception_str": _shortened(text, MAX_TEXT),
        "traceback_str": _shortened(traceback, MAX_TRACEBACK),
        "exc_type_names": names,
        "version": VERSION,
        "exc_args": [text] if len(text) <= MAX_TEXT else [],
        "causes": [],
    }


def from_remote(remote: RemoteError) -> FailureDict:
    """The failure dict of an exception that came from another process, to tell it to a third."""
    failure = from_text(remote.type_names, remote.text, remote.traceback)
    failure["causes"] = [from_remote(cause) for cause in remote.causes]
    return failure


def without_arguments(data: Json) -> Json:
    """A failure dict as it is written down to be read by people: without ``exc_args``.

    Whatever a peer has sent in its place stays as it is.
    """
    if not isinstance(data, dict):
        return data
    kept = {name: value for name, value in data.items() if name != "exc_args"}
    if isinstance(kept.get("causes"), list):
        kept["causes"] = [without_arguments(cause) for cause in kept["causes"]]
    return kept


def _one(exc: BaseException) -> FailureDict:
    return {
        "exception_str": _text(exc),
        "traceback_str": _traceback(exc),
        "exc_type_names": _type_names(type(exc)),
        "version": VERSION,
        "exc_args": _args(exc),
        "causes": [],
    }


# The interpreter's own fields, past whatever a subclass puts in front of them.
_ARGS: Final = BaseException.__dict__["args"].__get__
_CAUSE: Final = BaseException.__dict__["__cause__"].__get__
_CONTEXT: Final = BaseException.__dict__["__context__"].__get__
_SUPPRESSED: Final = BaseException.__dict__["__suppress_context__"].__get__
_TRACEBACK: Final = BaseException.__dict__["__traceback__"].__get__
_CONTENTS: Final = vars(ModuleType)["__dict__"].__get__
_MRO: Final = type.__dict__["__mro__"].__get__
_MODULE: Final = type.__dict__["__module__"].__get__
_NAME: Final = type.__dict__["__name__"].__get__


def _chain(exc: BaseException) -> list[BaseException]:
    chain = [exc]
    while len(chain) <= MAX_CAUSES:
        inner = _CAUSE(chain[-1])
        if inner is None and not _SUPPRESSED(chain[-1]):
            inner = _CONTEXT(chain[-1])
        if inner is None or any(inner is seen for seen in chain):
            break
        chain.append(inner)
    return chain[1:]


def _text(exc: BaseException) -> str:
    try:
        return _shortened(str.__str__(str(exc)), MAX_TEXT)
    except BaseException as error:  # whatever it is, the failure has to be told
        return f"(its text is not known: str() of it raised {_class_name(type(error))})"


def _args(exc: BaseException) -> list[Json]:
    args = list(_ARGS(exc))
    around: list[Json] = args
    for _ in range(ROOM_AROUND):
        around = [around]
    try:
        values.check(around, "exc_args")
        # Read back: it is as it will arrive, and nobody can change it any more.
        return list(values.loads(values.dumps(args, "exc_args", MAX_ARGS)))
    except ValueRefused:
        return []


def _type_names(kind: type) -> list[str]:
    root: type = Exception if issubclass(kind, Exception) else BaseException
    names = [_class_name(cls) for cls in _MRO(kind) if issubclass(cls, root)]
    return names if len(names) <= MAX_NAMES else [*names[: MAX_NAMES - 1], names[-1]]


def _class_name(kind: type) -> str:
    name = _NAME(kind)
    try:
        module = _MODULE(kind)
    except AttributeError:  # deleted from its dict
        module = None
    if type(module) is not str or module == "builtins":
        return str(name)[:MAX_NAME]
    return f"{module}.{name}"[:MAX_NAME]


def _traceback(exc: BaseException) -> str:
    try:
        frames = _frames(_TRACEBACK(exc))
    except BaseException:  # a loader of the user's own that cannot give the source
        frames = "  (the frames could not be formatted)\n"
    try:
        postscript = _postscript(exc)
    except BaseException:  # notes or members that cannot be shown
        postscript = ""
    postscript = _shortened(postscript, MAX_TRACEBACK // 2)
    return _shortened(frames, MAX_TRACEBACK - len(postscript)) + postscript


def _frames(tb: TracebackType | None) -> str:
    count, at = 0, tb
    while at is not None:
        count, at = count + 1, at.tb_next
    if count <= MAX_FRAMES:
        return "".join(traceback.format_tb(tb))
    half = MAX_FRAMES // 2
    return "".join(
        [
            *traceback.format_tb(tb, half),
            f"  … {count - 2 * half} frames are left out …\n",
            *traceback.format_tb(tb, -half),
        ]
    )


def _postscript(exc: BaseException) -> str:
    """What Python prints after an exception's own line: its notes, the members of a group."""
    parts = [_notes(exc)]
    todo = _numbered("", exc)
    while todo and len(parts) <= MAX_MEMBERS:
        number, member = todo.pop(0)
        todo = _numbered(f"{number}.", member) + todo
        last_line = f"{_class_name(type(member))}: {_text(member)}\n"
        told = f"Member {number}:\n{_frames(_TRACEBACK(member))}{last_line}{_notes(member)}"
        parts.append("".join(f"  | {line}" for line in told.splitlines(keepends=True)))
    if todo:
        parts.append("  | … more members are left out …\n")
    return "".join(parts)


def _notes(exc: BaseException) -> str:
    notes = getattr(exc, "__notes__", ())  # Python 3.11, or set by hand
    return "".join(f"  Note: {note}\n" for note in notes[:MAX_MEMBERS] if isinstance(note, str))


def _numbered(prefix: str, exc: BaseException) -> list[tuple[str, BaseException]]:
    """The members of an exception group (Python 3.11), each with its number; else none."""
    group = getattr(builtins, "BaseExceptionGroup", None)
    if group is None or not isinstance(exc, group):
        return []
    members: Sequence[BaseException] = exc.exceptions
    return [(f"{prefix}{n}", member) for n, member in enumerate(members[: MAX_MEMBERS + 1], 1)]


def _shortened(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters: its middle gives way, and says so."""
    if len(text) <= limit:
        return text
    half = (limit - 60) // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters are left out …\n{text[-half:]}"


# -- to an exception


def parse(data: object, worker: str | None = None) -> RemoteError:
    """What can be read of a failure dict, or of whatever else a peer sent in its place.

    Never raises for JSON of any shape: what is missing, of another type or too long becomes empty
    or shorter. A cause's own causes are followed only past the end of the flat list.
    """
    chain: list[RemoteError] = []
    causes = _causes(data)
    while causes and len(chain) < MAX_CAUSES:
        taken = causes[: MAX_CAUSES - len(chain)]
        chain += [_remote(cause, worker, ()) for cause in taken]
        causes = _causes(taken[-1])
    return _remote(data, worker, tuple(chain))


def to_exception(data: object, worker: str | None = None) -> Exception:
    """The exception to raise in the caller for a failure dict. Never raises for JSON of any shape.

    It is of the remote class, with ``.remote`` (a :class:`RemoteError`), if that class is a builtin
    or already imported here, is a subclass of ``Exception``, and gives itself with equal ``args``
    when called with them. Otherwise it is :class:`~protocol.errors.TaskFailed`, whose message is
    ``module.Type: text``. Its ``__cause__`` shows the remote traceback either way.

    Any thread; runs the constructor of that class.
    """
    remote = parse(data, worker)
    exception = _rebuilt(data, remote)
    if exception is None:
        exception = TaskFailed(_headline(remote), remote=remote)
    exception.__cause__ = RemoteTraceback(_as_printed(remote))
    return exception


def _causes(data: object) -> list[object]:
    causes = data.get("causes") if isinstance(data, dict) else None
    return list(causes) if isinstance(causes, (list, tuple)) else []


def _remote(data: object, worker: str | None, causes: tuple[RemoteError, ...]) -> RemoteError:
    if not isinstance(data, dict):
        told = data if isinstance(data, str) else f"(a failure that is a {type(data).__name__})"
        return RemoteError(worker, (), _shortened(told, MAX_TEXT), "", causes)
    text, trace = data.get("exception_str"), data.get("traceback_str")
    names: Any = data.get("exc_type_names")
    if not isinstance(names, (list, tuple)):
        names = ()
    return RemoteError(
        worker=worker,
        type_names=tuple(n[:MAX_NAME] for n in names[:MAX_NAMES] if isinstance(n, str)),
        text=_shortened(text, MAX_TEXT) if isinstance(text, str) else "",
        traceback=_shortened(trace, MAX_TRACEBACK) if isinstance(trace, str) else "",
        causes=causes,
    )


def _rebuilt(data: object, remote: RemoteError) -> Exception | None:
    """The exception as itself; None where that cannot or may not be."""
    if not isinstance(data, dict) or data.get("version", VERSION) != VERSION:
        return None
    args = data.get("exc_args", [])
    if not isinstance(args, (list, tuple)):
        return None
    try:
        kind: Any = _class_here(remote.type_names)
        if kind is None:
            return None
        made: Any = kind(*args)
        if type(made) is not kind or _ARGS(made) != tuple(args):
            return None
        if not args and str(made) != remote.text:
            return None  # its arguments were dropped on the way, and its text with them
        made.remote = remote
        return made if made.remote is remote else None
    except BaseException:  # a constructor of the user's own: whatever it does, a failure is due
        return None


def _class_here(type_names: tuple[str, ...]) -> type[Exception] | None:
    """The class those names mean in this process, if it may be raised here."""
    if not type_names:
        return None
    module_name, _, name = type_names[0].rpartition(".")
    module = _module_here(module_name or "builtins")
    found: Any = module.get(name)
    if not issubclass(type(found), type) or not issubclass(found, Exception):
        return None
    names = _type_names(found)
    if not _STEERING.isdisjoint(names) or not _STEERING.isdisjoint(type_names):
        return None
    if module is _contents(sys.modules.get("__main__")):
        names = [n.replace("__main__.", f"{module_name}.", 1) for n in names]
    # Names are without the enclosing class, so this may be another one of that name: what the peer
    # says it descends from must hold here too. It need not where the name is but an alias of a
    # class (asyncio's TimeoutError is the builtin one since Python 3.11).
    if names[0] == type_names[0] and not set(type_names) - _ROOTS <= set(names):
        return None
    return found  # type: ignore[no-any-return]


def _module_here(name: str) -> dict[str, Any]:
    """The dict of a module that is already imported, by the name a worker knows it by; or empty.

    A worker that imported the file of this process's ``__main__`` calls it by the file's stem, or
    by the name after ``python -m``.
    """
    if name in sys.modules:
        return _contents(sys.modules[name])
    main = _contents(sys.modules.get("__main__"))
    file = main.get("__file__")
    if isinstance(file, str):
        base = file.replace("\\", "/").rpartition("/")[2]
        if name == base.rpartition(".")[0]:
            return main
    return main if name == getattr(main.get("__spec__"), "name", None) else {}


def _contents(module: object) -> dict[str, Any]:
    """What a module holds, past any ``__getattr__`` and without waking a lazily loaded one."""
    if not issubclass(type(module), ModuleType):
        return {}
    contents = _CONTENTS(module)
    return contents if isinstance(contents, dict) else {}


def _headline(remote: RemoteError) -> str:
    kind = remote.type_names[0] if remote.type_names else "an exception of unknown type"
    return f"{kind}: {remote.text}" if remote.text else kind


def _as_printed(remote: RemoteError) -> str:
    """The chain as Python prints one, the first cause first."""
    parts = []
    for error in (*reversed(remote.causes), remote):
        frames = error.traceback
        if frames:
            frames = f"Traceback (most recent call last):\n{frames.rstrip()}\n"
        parts.append(f"{frames}{_headline(error)}\n")
    where = f"In worker {remote.worker}:" if remote.worker else "In a worker:"
    return f"{where}\n\n" + "\nThe exception above led to this one:\n\n".join(parts)
