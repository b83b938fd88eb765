"""Workers as their users start them: processes with a command line, a terminal and signals."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
DEADLINE: Final = 30.0  # seconds; on a busy machine a worker takes its time to come up


class WorkerProcess:
    """``python -m worker WORDS…``; killed at the end of the block if it still runs.

    ``said`` is what it wrote, both streams; it is shown if the block fails.
    """

    def __init__(
        self,
        *words: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = ("-m", "worker"),
    ) -> None:
        """``folder``: where it is started, and what tasks are imported from."""
        self.words = words
        self.said = ""
        self._banner_seen = threading.Event()
        self._ended = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, *command, *words],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout):
            if kind is None and pipe is not None:
                self._reader.join(DEADLINE)
                with contextlib.suppress(OSError):
                    pipe.close()
        if kind is not None:
            sys.stderr.write(f"--- worker {' '.join(self.words)} said:\n{self.said}\n")

    @property
    def pid(self) -> int:
        return self.process.pid

    def up(self) -> WorkerProcess:
        """Wait for the banner's last line."""
        wait_until(
            lambda: self._banner_seen.is_set() or self.process.poll() is not None, "a banner"
        )
        assert self._banner_seen.is_set(), f"it ended with {self.process.poll()}:\n{self.said}"
        return self

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def write(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close_input(self) -> None:
        """End its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def exit_code(self, timeout: float = DEADLINE) -> int:
        """Wait for its end, and for all that it said."""
        code = self.process.wait(timeout)
        self._reader.join(5.0)
        return code

    def wait_for(self, text: str, timeout: float = DEADLINE) -> None:
        """Until it has said this."""
        wait_until(lambda: text in self.said, repr(text), timeout)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line.decode(errors="replace")
            if line.startswith(b"tasks "):
                self._banner_seen.set()


def wait_until(is_so: Callable[[], bool], what: str, timeout: float = DEADLINE) -> None:
    """Look every hundredth of a second until it is so; fail with ``what`` after ``timeout`` s."""
    until = time.monotonic() + timeout
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < until, f"waited {timeout} s in vain for {what}"
        pause.wait(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


#: In the environment of every process that is started by the tests, or by one of those.
_MARK: Final = "RUN_OF_TESTS"


@contextlib.contextmanager
def marked() -> Iterator[str]:
    """Mark whatever is started in the block, for :func:`left` to know it, whoever its parent is."""
    mark = f"{_MARK}={secrets.token_hex(8)}"
    before = os.environ.get(_MARK)
    os.environ[_MARK] = mark.partition("=")[2]
    try:
        yield mark
    finally:
        if before is None:
            del os.environ[_MARK]
        else:
            os.environ[_MARK] = before


def left(mark: str, timeout: float = DEADLINE) -> list[str]:
    """The marked processes that have not ended ``timeout`` seconds from now; they are killed.

    One line each: its number and its command. Empty where there is no ``/proc``.
    """
    until = time.monotonic() + timeout
    pause = threading.Event()
    while (found := _marked_with(mark)) and time.monotonic() < until:
        pause.wait(0.05)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [f"{pid}: {command}" for pid, command in found.items()]


def _marked_with(mark: str) -> dict[int, str]:
    """``{process: its command}``, less Erlang's own daemon, which outlives whoever asks for it."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if not words[0].endswith(b"epmd") or b"-daemon" not in words:
                    found[int(process.name)] = b" ".join(words).decode(errors="replace").strip()
    return found


@contextlib.contextmanager
def importable_tests(folder: Path) -> Iterator[Path]:
    """``folder`` as a place the tests are imported from, and not the source beside them.

    Workers in this process look there too: their hosts get our import path.
    """
    (folder / "tests").symlink_to(PROJECT / "tests")
    sys.path.append(str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
