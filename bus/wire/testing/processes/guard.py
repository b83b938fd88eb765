"""``Guard``: what cleans up when the test process itself is killed.

A process that was killed with -9 runs no ``finally``. So a small process in a session of its own
holds the other end of a pipe from us: when that closes, or when it finds itself adopted by somebody
else, it kills what it was told to kill, with all of its process group, thaws what it was told to
thaw, and removes what was made for them. The kernel's own way on Linux, ``PR_SET_PDEATHSIG``, would
not do: it acts when the *thread* ends that started the child.

Not decided here: how those processes end when all goes well; whoever started them sees to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

_END_TIMEOUT: Final = 10.0  # seconds; it has nothing to do but to end

#: What the guard runs, with the number of our process as its argument. It reads lines: ``kill PID``
#: and ``thaw PID`` and ``remove FOLDER`` are to be done at the end, ``leave PID`` not any more.
_PROGRAM: Final = """
import os, select, shutil, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
parent, duties, rest = int(sys.argv[1]), {}, b""
while True:
    # What it was told comes first: its parent may have gone before it has even begun to listen.
    if not select.select([0], [], [], 1.0)[0]:
        if os.getppid() != parent:
            break
        continue
    said = os.read(0, 65536)
    if not said:
        break
    *lines, rest = (rest + said).split(b"\\n")
    for line in lines:
        word, subject = line.split(b" ", 1)
        duties.pop(subject, None)
        if word != b"leave":
            duties[subject] = word
def send(how, pid, number):
    try:
        how(int(pid), number)
    except OSError:
        pass
for subject, word in duties.items():
    if word == b"kill":
        send(os.killpg, subject, signal.SIGKILL)
        send(os.kill, subject, signal.SIGKILL)
    elif word == b"thaw":
        send(os.kill, subject, signal.SIGCONT)
for subject, word in duties.items():
    if word == b"remove":
        shutil.rmtree(os.fsdecode(subject), ignore_errors=True)
"""


class Guard:
    """Started at its first duty. Any thread; ``stop`` may be called twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _process: threads start servers side by side
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def kill_at_our_end(self, pid: int) -> None:
        """If we end without another word, kill this process, and its group if it leads one."""
        self._tell("kill", pid)

    def thaw_at_our_end(self, pid: int) -> None:
        """If we end without another word, have this process continue."""
        self._tell("thaw", pid)

    def remove_at_our_end(self, folder: Path) -> None:
        """If we end without another word, remove this folder and all in it."""
        self._tell("remove", folder)

    def leave(self, pid: int) -> None:
        """Nothing is to be done for this process any more."""
        self._tell("leave", pid)

    def stop(self) -> None:
        """No duties any more; nothing is killed, thawed or removed by this."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()  # before its pipe closes, by which it would act
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait(_END_TIMEOUT)

    def _tell(self, word: str, subject: int | Path) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                if word == "leave":
                    return
                self._owner = os.getpid()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM, str(self._owner)],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # somebody has killed it: we still clean up
                self._process.stdin.write(os.fsencode(f"{word} {subject}\n"))


def end_group(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    """Signal a process, and all of its group if it leads one. Nothing if it has ended.

    Before its exit code has been fetched: afterwards its number may be another's.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
