"""The end of a copy: an interpreter's own, but for what would take long and comes to nothing.

At its end an interpreter takes all modules apart. In a copy that writes to nearly every object it
has from its template, so that the system must copy the memory of them all, and was most of what a
short command took. Nor does it reach what the collector was told to leave alone: a file that only a
preloaded class knows would never be written.

So when the last exit handler has run, modules are let go of and what nobody holds is collected, as
an interpreter does; then all that is still there and has a finalizer is finalized, the template's
as well, and the process leaves through the C library, with its exit handlers and its open files.
Whatever is out of the ordinary (threads that are at work, an interrupt, output that cannot be
written) is left to the interpreter, with every object in its collector's sight.

Loaded by ``template``, and as free of our packages.
"""

from __future__ import annotations

import _thread
import atexit
import builtins
import gc
import io
import os
import socket
import sys
import time
import traceback
from types import AsyncGeneratorType, CoroutineType, GeneratorType

TYPE_CHECKING = False  # as in ``template``
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, Final

    Finalizer = Callable[[Any], object]

#: What an interpreter sets to None in ``sys`` before all else; and ``path``.
_GONE_FIRST: Final = (
    "argv",
    "ps1",
    "ps2",
    "last_exc",
    "last_type",
    "last_value",
    "last_traceback",
    "path_hooks",
    "path_importer_cache",
    "meta_path",
)
_STREAMS: Final = ("stdin", "stdout", "stderr")
#: The status where nothing else was wrong but that the output could not be written.
_UNWRITTEN: Final = 120
_MAX_LONG: Final = 2**63
_TURN: Final = 0.001  # seconds; who waits for the interpreter has it meanwhile


class Ending:
    """What there is to do at the end of each copy of one template. Main thread only."""

    def __init__(self) -> None:
        """Made before anything registers an exit handler, so that its own is the last to run."""
        #: The exit status, once it is known; None: the interpreter may have another idea.
        self._status: int | None = None
        self._born_with: frozenset[int] = frozenset()
        self._finalizable: list[tuple[object, Finalizer]] = []
        #: The template's modules, at the end: nothing in them goes.
        self._kept: list[ModuleType] = []
        #: Made by the copy: where the collector does not see it, the command has set things aside.
        self._seen: list[object] = []
        atexit.register(self._end)

    def set_aside(self) -> None:
        """What there is now is the template's: no collection in a copy will write to it."""
        gc.collect()
        self._born_with = frozenset(id(module) for module in sys.modules.values())
        self._finalizable = _finalizable(gc.get_objects())
        gc.freeze()

    def begins(self) -> None:
        """This is a copy, and its command begins."""
        self._seen = [self]

    def leaves_with(self, status: int) -> None:
        """The command is over, and comes to this."""
        self._status = status

    def leaves_by(self, leaving: SystemExit) -> None:
        """The command is over: it has raised this. What that means is the interpreter's rule."""
        code = leaving.code
        if code is None:
            self._status = 0
        elif not isinstance(code, int):
            self._status = 1
        else:
            self._status = code & 0xFF if -_MAX_LONG <= code < _MAX_LONG else 0xFF

    def _end(self) -> None:
        """Be the last exit handler."""
        leave = self._way_out()
        if leave is None:
            gc.unfreeze()
            return
        try:
            self._finalize()
        except BaseException:  # something of the command's own is beyond us
            gc.unfreeze()
            return
        leave(self._status)

    def _finalize(self) -> None:
        """What an interpreter would, and flush what is written to."""
        left_alone = _of_threads() if len(sys._current_frames()) > 1 else ()  # noqa: SLF001
        self._let_go()
        spared = _standard_streams()
        left = self._finalizable + _finalizable(gc.get_objects())
        for thing, finalizer in _in_order(left):
            if id(thing) not in spared and not isinstance(thing, left_alone):
                try:
                    finalizer(thing)
                except BaseException as error:
                    _tell(finalizer, error)
        for name in ("stdout", "stderr"):
            try:
                _flush(name)
            except BaseException as error:
                _tell(getattr(sys, name), error)
                self._status = _UNWRITTEN

    def _way_out(self) -> Callable[..., object] | None:
        """The C library's ``exit``; None: this end is the interpreter's."""
        if self._status is None or not any(thing is self._seen for thing in gc.get_objects()):
            return None
        try:
            for name in ("stdout", "stderr"):
                _flush(name)
            import ctypes  # noqa: PLC0415 - not there before a command has it

            if not _others_wait(ctypes):
                return None
            leave: Callable[..., object] = ctypes.PyDLL(None).exit
        except BaseException:  # of output that cannot be written the interpreter tells
            return None
        return leave

    def _let_go(self) -> None:
        """Of all that a module's name leads to, and that was not there before the command."""
        sys.path = []  # not None: tracebacks look there for lines
        for name in _GONE_FIRST:
            if hasattr(sys, name):
                setattr(sys, name, None)
        builtins.__dict__.pop("_", None)
        for name in _STREAMS:
            setattr(sys, name, getattr(sys, f"__{name}__", None))
        self._kept = [module for module in sys.modules.values() if id(module) in self._born_with]
        sys.modules.clear()
        gc.collect()


def _others_wait(ctypes: Any) -> bool:
    """Whether all other threads wait, and not for their turn in the interpreter.

    They are those that nobody waits for. One that comes back all the same ends, as it would at the
    end of an interpreter.
    """
    before = _spent_by_others()
    if before:
        time.sleep(_TURN)
        if _spent_by_others() != before:
            return False
    for thread in sys._current_frames():  # noqa: SLF001 - the only way to find them all
        if thread != _thread.get_ident():
            raise_there = ctypes.pythonapi.PyThreadState_SetAsyncExc
            raise_there(ctypes.c_ulong(thread), ctypes.py_object(SystemExit))
    return True


def _spent_by_others() -> dict[str, str]:
    """What the threads of this process have had of the processor, but for this one."""
    ours = str(_thread.get_native_id())
    found: dict[str, str] = {}
    for thread in os.listdir("/proc/self/task"):
        if thread != ours:
            with open(f"/proc/self/task/{thread}/schedstat") as file:
                found[thread] = file.read().split()[0]
    return found


def _standard_streams() -> set[int]:
    """Those and what is below them: an interpreter flushes them, and leaves them open."""
    found: set[int] = set()
    for name in _STREAMS:
        stream = getattr(sys, name)
        while stream is not None:
            found.add(id(stream))
            stream = getattr(stream, "buffer", None) or getattr(stream, "raw", None)
    return found


def _flush(name: str) -> None:
    stream = getattr(sys, name)
    if stream is not None and not stream.closed:
        stream.flush()


def _finalizable(things: list[object]) -> list[tuple[object, Finalizer]]:
    """Those of which something is called before they go, in Python or in C, and what."""
    # By identity: a type of the command's may be comparable to none, or to any.
    kinds = {id(type(thing)): type(thing) for thing in things}
    finalizers = {
        key: vars(base)["__del__"]
        for key, kind in kinds.items()
        for base in reversed(kind.__mro__)
        if "__del__" in vars(base)
    }
    return [
        (thing, finalizers[id(type(thing))]) for thing in things if id(type(thing)) in finalizers
    ]


def _of_threads() -> tuple[type, ...]:
    """What threads that wait may be the only ones to have, or may wait for.

    That is never finalized by an interpreter, which ends with them. What waits in the middle of its
    code would go on; a socket or pipe that is closed would have its reader go on.
    """
    kinds = [GeneratorType, CoroutineType, AsyncGeneratorType, socket.socket, io.RawIOBase]
    for name in ("_asyncio", "asyncio.tasks"):
        if name in sys.modules:
            there = vars(sys.modules[name])
            kinds += [there[task] for task in ("Task", "_PyTask") if task in there]
    return tuple(kinds)


def _in_order(found: list[tuple[object, Finalizer]]) -> list[tuple[object, Finalizer]]:
    """Each before what it may write to: what is closed takes no more.

    What runs code of its own goes first, then files, the latest before what it was opened on.
    """
    own = [one for one in found if _rank(one) == 0]
    files = [one for one in reversed(found) if _rank(one) > 0]
    return own + sorted(files, key=_rank)


def _rank(one: tuple[object, Finalizer]) -> int:
    kind = type(one[0])
    if issubclass(kind, io.TextIOBase):
        return 1
    if issubclass(kind, io.BufferedIOBase):
        return 2
    return 3 if issubclass(kind, (io.IOBase, socket.socket)) else 0


def _tell(of: object, error: BaseException) -> None:
    """As an interpreter tells of what nobody can catch, if it can be told."""
    try:
        frames = error.__traceback__
        told = traceback.format_exception(type(error), error, frames and frames.tb_next)
        print(f"Exception ignored in: {of!r}\n{''.join(told)}", end="", file=sys.__stderr__)
    except BaseException:
        return
