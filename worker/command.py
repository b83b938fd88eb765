"""The tasks that run a program, and read what it wrote: offered with ``python -m worker
worker.command``.

A command runs in a session and process group of its own, below the host that runs this task; as a
copy of a process that has imported what it begins with, where there is one (``worker.preload``).
All it has started ends with it, also what left that group, or lost its parents: while it runs the
host is who adopts such orphans (Linux), and when it has ended, none is left before that is told. A
time limit, too much memory, a cancel and the end of the worker end the host with everything below
it (``worker.pool.warden``).

Its environment is the worker's, without what configures workers (``TASKLINE_…``, which may hold a
password), which accelerators are its own, and what the command itself says. Standard input is
empty. What it writes goes to the files it names; the ends of these come back with the result. Runs
on a host's main thread. Where orphans are nobody's (not Linux), the group alone is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from protocol.commands import MAX_READ, READ, RUN, STARTED, TAIL, CommandEnd
from protocol.errors import ConfigurationError
from protocol.task import task
from protocol.values import Json
from worker.context import accelerators, task_event
from worker.descendants import children_of, kill_with_group
from worker.environment import inherited
from worker.preload.kept import kept

if TYPE_CHECKING:
    from worker.preload.templates import Copy

SWEEP_TIME: Final = 5.0  # seconds for what is left of a command to be gone
_LOOK_PERIOD: Final = 0.005  # seconds between two passes over it
_NOT_FOUND: Final = 127  # as shells have it, all three
_NOT_RUNNABLE: Final = 126
#: By which the libraries of CUDA and ROCm are told which GPUs are theirs.
_VISIBLE: Final = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_SIGNALLED: Final = 128  # and the signal's number
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


@task(name=RUN)
def run(
    command: str | list[str],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    stdout: str | None = None,
    stderr: str | None = None,
    contexts: Sequence[str] = (),
) -> Json:
    """Run a command to its end: protocol.commands has its arguments and what it returns."""
    if folder is not None and not Path(folder).is_dir():
        raise FileNotFoundError(f"the command was not run: its folder {folder} is not there")
    with ExitStack() as stack:
        for spec in contexts:
            stack.enter_context(_context(spec))
        out, err = (stack.enter_context(_opened(path)) for path in (stdout, stderr))
        began = time.monotonic()
        with _adopting(), _Tree() as tree:
            around = _environment(environment or {})
            # What a context has made of this process, a copy of another would not have.
            copy = None if contexts else _copy(command, around, folder, out, err)
            status = _run(command, around, folder, out, err, tree, copy)
        ended = CommandEnd(
            status,
            round(time.monotonic() - began, 6),
            _tail(stdout),
            _tail(stderr) + (_no_space(stdout, stderr) if status else ""),
            _size(stdout),
            _size(stderr),
            tree.left_over,
        )
    return ended.to_json()


@task(name=READ)
def read(path: str, offset: int = 0, size: int = MAX_READ) -> Json:
    """What is in a file from this byte on, as text: ``[text, bytes read, bytes in all]``."""
    with Path(path).open("rb") as file:
        file.seek(offset)
        found = file.read(min(size, MAX_READ))
        return [found.decode("utf-8", "replace"), len(found), os.fstat(file.fileno()).st_size]


def _run(
    command: str | list[str],
    environment: dict[str, str],
    folder: str | None,
    out: IO[bytes],
    err: IO[bytes],
    tree: _Tree,
    copy: Copy | None,
) -> int:
    if copy is not None:
        task_event(STARTED, pid=copy.pid)
        copy.begin()
        return _status(tree.wait(copy.pid))
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        err.write(f"taskline: {words[0]}: {os.strerror(error.errno or 0)}\n".encode())
        err.flush()
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUNNABLE
    task_event(STARTED, pid=process.pid)
    process.returncode = tree.wait(process.pid)
    return _status(process.returncode)


def _copy(
    command: str | list[str],
    environment: dict[str, str],
    folder: str | None,
    out: IO[bytes],
    err: IO[bytes],
) -> Copy | None:
    """A process that has imported what this command needs; None: it is a process of its own."""
    template = kept()
    if template is None:
        return None
    from worker.preload.recognised import recognised  # noqa: PLC0415 - few hosts need it

    try:
        there = str(Path(folder or "").absolute())
    except FileNotFoundError:  # the folder we are in has been removed
        return None
    program = recognised(command, environment, there, template.modules)
    if program is None:
        return None
    template.look()
    template.start()
    return template.copy(program, there, out.fileno(), err.fileno())


def _status(code: int) -> int:
    return code if code >= 0 else _SIGNALLED - code


class _Tree:
    """All that runs below the host and was not there before. Left with none of it running."""

    def __init__(self) -> None:
        #: How many of its processes outlived it.
        self.left_over = 0
        #: Children of tasks before this one, which are none of its business.
        self._others = frozenset(children_of(os.getpid())) - {_template_pid()}

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill what is left, and those who become our children by that, until none is."""
        until = time.monotonic() + SWEEP_TIME
        seen: set[int] = set()
        while left := self._left():
            for pid in left:
                kill_with_group(pid)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            seen.update(left)
            if time.monotonic() >= until:
                break
            time.sleep(_LOOK_PERIOD)
        self.left_over = len(seen)

    def _left(self) -> list[int]:
        spared = {*self._others, _template_pid()}
        return [pid for pid in children_of(os.getpid()) if pid not in spared]

    def wait(self, child: int) -> int:
        """Until it has ended, and how: its exit code, or minus its signal's number.

        Its orphans that end before it are collected meanwhile.
        """
        while not self._others:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if ended is None or ended.si_pid == child:
                break
            template = kept()
            if template is not None and ended.si_pid == template.pid:
                template.look()
            else:
                os.waitpid(ended.si_pid, 0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _template_pid() -> int | None:
    template = kept()
    return None if template is None else template.pid


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Whoever loses its parents below us meanwhile becomes our child."""
    _prctl(1)
    try:
        yield
    finally:
        _prctl(0)


def _prctl(value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (value, 0, 0, 0)))


def _environment(said: Mapping[str, str]) -> dict[str, str]:
    return {**inherited(), **_devices(accelerators()), **said}


def _devices(numbers: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Which accelerators are its own: by kind, and for GPUs as their own libraries read it."""
    found: dict[str, str] = {}
    for kind, each in numbers.items():
        text = ",".join(map(str, each))
        word = "".join(c if c.isalnum() else "_" for c in kind.upper())
        found[f"TASKLINE_ACCELERATOR_{word}"] = text
        if kind == "gpu":
            found.update(dict.fromkeys(_VISIBLE, text))
    return found


def _context(spec: str) -> AbstractContextManager[Any]:
    module, colon, name = spec.partition(":")
    try:
        made: Any = import_module(module)
        for part in name.split("."):
            made = getattr(made, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"the command was not run: its context {spec!r} cannot be found here ({error}); it is "
            "MODULE:NAME of something that makes a context manager"
        ) from error
    if not colon or not callable(made):
        raise ConfigurationError(
            f"the command was not run: its context {spec!r} cannot be called to make one"
        )
    context: AbstractContextManager[Any] = made()
    return context


@contextlib.contextmanager
def _opened(path: str | None) -> Iterator[IO[bytes]]:
    """A file for a stream, its folder made for this user alone if it is not there."""
    if path is not None:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Path(path or os.devnull).open("wb") as file:
        yield file


def _size(path: str | None) -> int:
    try:
        return 0 if path is None else Path(path).stat().st_size
    except OSError:  # the command has removed it
        return 0


def _no_space(*paths: str | None) -> str:
    """Of a command that failed: what it could not write itself, since there was no room for it."""
    for path in paths:
        with contextlib.suppress(OSError):
            if path is not None and os.statvfs(path).f_bavail == 0:
                return f"taskline: no space is left on the disk of {path}\n"
    return ""


def _tail(path: str | None) -> str:
    if path is None:
        return ""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read(TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
