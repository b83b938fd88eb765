"""The process that has imported modules, and from which the processes of commands are forked.

A copy is to be what a fresh interpreter would be that has imported the same: environment, folder,
umask, limits, signals and streams are the command's own, ``__main__`` is what the command names,
and its end comes to what the interpreter's own would (``ending``): exit status, traceback, exit
handlers, files that nobody has closed. What a process gets only at its start (the seed of hashes,
how strings are encoded) it has from here; ``recognised`` keeps commands away that say otherwise.
Nothing else of ours is imported, nor is there a thread: modules that start one while they are
imported are not preloaded.

Run as a program, by ``templates``: ``python template.py SOCKET MODULE…``, below a host. To the
socket it writes one byte when all is imported; of what cannot be imported it tells on its standard
error, and ends with ``EXIT_UNLOADABLE``. It reads from it requests: eight bytes, how long the rest
is, with three descriptors (standard output, standard error, a socket of the copy's own), and the
fields of a request as JSON. It answers each with one byte. Closed, it ends.

A copy is forked twice, so that it is an orphan and becomes a child of the host, which adopts those
below it (Linux). It says on its own socket that it is ready, with its process id, or what it could
not do, and runs when it is told to; if the host has gone or changed its mind it never does.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # the folder of this file, which no command would find modules in

import builtins
import importlib
import io
import json
import os
import resource
import runpy
import signal
import socket
import time
import traceback
from importlib.machinery import SourceFileLoader, all_suffixes
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType, TracebackType

TYPE_CHECKING = False  # typing itself would be there before the command asks for it
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

    from worker.preload.ending import Ending

#: It could not import what it was told to; another try comes to the same.
EXIT_UNLOADABLE: Final = 3

#: Bytes of the length before a request.
HEADER: Final = 8
#: What it answers: it is warm; the copy is the host's child now; there is none.
WARM, FORKED, NOT_FORKED = b"w", b"f", b"n"
#: What a copy is told.
GO: Final = b"g"

#: These are sent to every process of a service, of which a template must survive them as its host
#: does: they wait. A copy has the mask the template began with.
_TO_ALL_OF_A_SERVICE: Final = (signal.SIGTERM, signal.SIGINT)
_TEMPORARY: Final = ("TMPDIR", "TEMP", "TMP")


def main(control: socket.socket, modules: list[str], ending: Ending) -> dict[str, Any]:
    """Be a template; returns in copies only, when they are to run: what was asked for."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL_OF_A_SERVICE)
    control.set_inheritable(False)  # what a module starts must not keep it open
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:
            _refuse(f"cannot preload {name}: {type(error).__name__}: {error}", error)
    if _threads() > 1:
        _refuse(
            f"cannot preload {', '.join(modules)}: importing that starts threads, which a copy of "
            "the process would not have"
        )
    try:
        ending.set_aside()
    except BaseException as error:
        _refuse(f"cannot preload {', '.join(modules)}: {type(error).__name__}: {error}", error)
    _flush()
    _say(control, WARM)
    while True:
        request, descriptors = _receive(control)
        if _is_copy(control):
            control.close()
            _prepare(request, descriptors, mask)
            return request
        for descriptor in descriptors:
            os.close(descriptor)


def _refuse(sentence: str, error: BaseException | None = None) -> NoReturn:
    """Say so where the worker's own words go, and end."""
    if error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)
    print(f"taskline-worker: {sentence}; such commands run as any other", file=sys.stderr)
    _flush()
    os._exit(EXIT_UNLOADABLE)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next request, and its descriptors; ends with the host."""
    try:
        header, descriptors, _, _ = socket.recv_fds(control, HEADER, 3)
        while 0 < len(header) < HEADER:
            header += control.recv(HEADER - len(header)) or os._exit(0)
        data = bytearray()
        while len(data) < int.from_bytes(header, "big"):
            data += control.recv(1 << 16) or os._exit(0)
    except OSError:
        os._exit(0)
    if not header:
        os._exit(0)
    return json.loads(data), descriptors


def _is_copy(control: socket.socket) -> bool:
    """Fork twice. In the copy True; here False, when it is the host's child, or there is none."""
    try:
        between = os.fork()
    except OSError:
        between = -1
    if not between:
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            os._exit(1)
        return True
    status = os.waitpid(between, 0)[1] if between > 0 else 1
    _say(control, NOT_FORKED if status else FORKED)
    return False


def _say(control: socket.socket, word: bytes) -> None:
    try:
        control.sendall(word)
    except OSError:  # the host is gone
        os._exit(0)


# -- in a copy


def _prepare(request: dict[str, Any], descriptors: list[int], mask: set[Any]) -> None:
    """Be what the command would be before its first line, and wait until it may begin."""
    out, err, own = descriptors
    told = socket.socket(fileno=own)
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((nothing, out, err)):
            os.dup2(descriptor, number)
        for descriptor in (nothing, out, err):
            os.close(descriptor)
        os.chdir(request["folder"])
        os.umask(request["umask"])
        _limit(request)
        _demand_the_same_modules(request)
        _environ(request["environment"])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException as error:
        told.sendall(f"!{error}".encode(errors="replace"))
        os._exit(1)
    try:
        told.sendall(str(os.getpid()).encode())
        if told.recv(1) != GO:
            os._exit(1)
    except OSError:  # who has asked for it is gone, or waits no more
        os._exit(1)
    told.close()


def _demand_the_same_modules(request: dict[str, Any]) -> None:
    """Raise if what is imported here would be another module with what is in its first folder."""
    is_module = request["kind"] == "module"
    folder = os.getcwd() if is_module else os.path.dirname(os.path.realpath(request["target"]))
    for entry in os.listdir(folder):
        name = entry.partition(".")[0]
        path = os.path.join(folder, entry)
        if name == "__main__" or name not in sys.modules:
            continue
        if not entry.endswith(tuple(all_suffixes())):
            path = os.path.join(path, "__init__.py")
        ours = getattr(sys.modules[name], "__file__", None) or os.devnull
        if os.path.isfile(path) and not os.path.samefile(ours, path):
            raise ImportError(f"{path} is another {name} than what is preloaded")


def _limit(request: dict[str, Any]) -> None:
    for number, pair in request["limits"]:
        resource.setrlimit(number, tuple(pair))
    if os.getpriority(os.PRIO_PROCESS, 0) != request["nice"]:
        os.setpriority(os.PRIO_PROCESS, 0, request["nice"])
    os.sched_setaffinity(0, request["affinity"])


def _environ(wanted: dict[str, str]) -> None:
    """Have this environment, and what the standard library has derived from another."""
    places = [os.environ.get(name) for name in _TEMPORARY]
    zone = os.environ.get("TZ")
    os.environ.clear()
    os.environ.update(wanted)
    if "tempfile" in sys.modules and places != [wanted.get(name) for name in _TEMPORARY]:
        sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined]
    if zone != wanted.get("TZ"):
        time.tzset()
    if "numpy.random" in sys.modules:  # as ``random`` does for itself after a fork
        sys.modules["numpy.random"].seed()


def run(request: dict[str, Any], ending: Ending) -> None:
    """Run the script or module as the interpreter does, up to its end or what it raises."""
    ending.begins()
    try:
        _execute(request)
    except SystemExit as leaving:
        ending.leaves_by(leaving)
        raise
    except BaseException as error:
        sys.excepthook = _without_us(sys.excepthook, ending)
        if not isinstance(error, KeyboardInterrupt):  # which is a signal's end
            ending.leaves_with(1)
        raise
    ending.leaves_with(0)


def _execute(request: dict[str, Any]) -> None:
    kind, target, words = request["kind"], request["target"], request["arguments"]
    has_annotations = "__annotations__" in vars(sys.modules["__main__"])  # not since Python 3.14
    program = sys.modules["__main__"] = ModuleType("__main__")
    if has_annotations:
        program.__annotations__ = {}
    program.__dict__["__builtins__"] = builtins
    # Its folder as this interpreter has understood it, which may be tidier than what was started.
    name = os.path.basename(request["executable"])
    sys.executable = os.path.join(os.path.dirname(sys.executable), name)
    if kind == "module":
        sys.argv = ["-m", *words]
        sys.orig_argv = [request["executable"], "-m", target, *words]
        _first_on_path(os.getcwd())
        if not hasattr(sys.modules[target], "__path__"):
            del sys.modules[target]  # it is imported under its own name by nobody
        # What ``python -m`` itself calls; the public functions clear ``__main__`` at its end.
        runpy._run_module_as_main(target)  # type: ignore[attr-defined]  # noqa: SLF001
        return
    sys.argv = [target, *words]
    sys.orig_argv = [request["executable"], target, *words]
    _first_on_path(os.path.dirname(os.path.realpath(target)))
    program.__file__ = target
    program.__loader__ = SourceFileLoader("__main__", target)
    program.__dict__["__cached__"] = None
    with io.open_code(target) as file:
        source = file.read()
    exec(compile(source, target, "exec", dont_inherit=True), program.__dict__)


def _first_on_path(folder: str) -> None:
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, folder)


def _without_us(hook: Any, ending: Ending) -> Any:
    """What is told of an exception begins with the command's own frames."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.excepthook = hook
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        try:
            hook(kind, error.with_traceback(trace), trace)
        except SystemExit as leaving:
            ending.leaves_by(leaving)
            raise

    return tell


def _make_ending() -> Ending:
    """From the file beside this one, without a trace among the modules."""
    spec = spec_from_file_location("ending", os.path.join(os.path.dirname(__file__), "ending.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Ending = module.Ending()
    return made


if __name__ == "__main__":
    ending = _make_ending()
    # Nothing comes after ``run``: what follows is the interpreter's own end.
    run(main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:], ending), ending)
