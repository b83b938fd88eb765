"""The template of a host: when it is started, and how copies are had from it.

It is started by the first command that can run in a copy, which waits for it as long as its own
imports would have taken; or before that, if it is told to. Whatever goes wrong before a copy has
been told to run means that there is none, and the command runs as any other: that the template
cannot be started or has died, that it is still importing after ``WARM_TIME``, that it does not
answer. One that has died is started again for the next command; one that could not import what it
should has said so, and is not. A copy that nobody has told to run never will, so that nothing runs
twice.

A host's main thread only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from worker.descendants import kill_with_group
from worker.environment import inherited
from worker.preload.recognised import Program, starts_alike
from worker.preload.template import EXIT_UNLOADABLE, FORKED, GO, HEADER, NOT_FORKED, WARM

log = logging.getLogger("taskline.worker.preload.templates")

WARM_TIME: Final = 60.0  # seconds from its start for which commands wait until it has imported all
ANSWER_TIME: Final = 10.0  # seconds for each of its answers, and for a copy to be ready

_TEMPLATE: Final = str(Path(__file__).with_name("template.py").resolve())
_SAID_BYTES: Final = 4096
_LIMITS: Final = sorted(getattr(resource, n) for n in dir(resource) if n.startswith("RLIMIT_"))


class Copy:
    """A process that is ready to run a command, and waits to be told."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self.pid = pid
        self._told = told

    def begin(self) -> None:
        """Let it run."""
        with contextlib.suppress(OSError), self._told:  # if it has been killed, its end will tell
            self._told.send(GO)


class Template:
    """The process that has imported these modules, or the lack of one."""

    def __init__(self, modules: Sequence[str], on_start: Callable[[int], None]) -> None:
        """``on_start`` is told the process id of each that is started."""
        self.modules = tuple(modules)
        self._on_start = on_start
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._environment: dict[str, str] = {}
        self._is_warm = False
        #: Until when commands wait for it, on the monotonic clock.
        self._warm_by = 0.0
        #: It could not import its modules.
        self._is_hopeless = False

    @property
    def pid(self) -> int | None:
        """The process, alive or not collected; None: there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start one, unless it is there. Does not wait for it."""
        if self._is_hopeless or self._process is not None or sys.platform != "linux":
            return
        ours: socket.socket | None = None
        self._environment = inherited()
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, _TEMPLATE, str(theirs.fileno()), *self.modules],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=self._environment,
                    start_new_session=True,
                )
        except OSError as error:
            if ours is not None:
                ours.close()
            log.warning("no process to preload %s in: %s", ", ".join(self.modules), error)
            return
        self._control = ours
        self._is_warm = False
        self._warm_by = time.monotonic() + WARM_TIME
        self._on_start(self._process.pid)

    def look(self) -> None:
        """Collect it if it has ended."""
        if self._process is None or self._process.poll() is None:
            return
        if self._process.returncode == EXIT_UNLOADABLE:
            self._is_hopeless = True
        elif not self._is_hopeless:
            log.info("process %d, which has preloaded modules, has ended", self._process.pid)
        self._forget()

    def end(self) -> None:
        """Kill it, and copies that were not told to run."""
        if self._process is not None:
            kill_with_group(self._process.pid)
            self._process.wait()
            self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def copy(self, program: Program, folder: str, out: int, err: int) -> Copy | None:
        """A process that is our child and ready to run this; None: there is none to be had.

        Our process must be one that adopts orphans meanwhile. ``out``, ``err``: descriptors.
        """
        control = self._control
        if control is None or not starts_alike(program.environment, self._environment):
            return None
        if not self._is_warm and not self._has_warmed(control):
            return None
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            log.warning("no way to ask process %s for a copy: %s", self.pid, error)
            return None
        try:
            ours.settimeout(ANSWER_TIME)
            with theirs:
                data = json.dumps(_request(program, folder)).encode()
                header = len(data).to_bytes(HEADER, "big")
                control.settimeout(ANSWER_TIME)
                socket.send_fds(control, [header], [out, err, theirs.fileno()])
                control.sendall(data)
            answer = control.recv(1)
            if answer == NOT_FORKED:
                log.warning("the system gave no process for a copy of process %s", self.pid)
                ours.close()
                return None
            said = ours.recv(_SAID_BYTES) if answer == FORKED else b""
            if said.isdigit():
                return Copy(int(said), ours)
            if said:
                log.warning(
                    "no copy of process %s: %s", self.pid, said[1:].decode(errors="replace")
                )
                ours.close()
                return None
            raise OSError("it has ended")
        except OSError as error:
            log.warning("no copy of process %s, which is ended: %s", self.pid, error)
            ours.close()
            self.end()
            return None
        except BaseException:  # a soft limit: nobody reads the answer any more
            ours.close()
            self.end()
            raise

    def _has_warmed(self, control: socket.socket) -> bool:
        """Wait until it has imported its modules, as long as commands do."""
        waiting = select.poll()
        waiting.register(control, select.POLLIN)
        if not waiting.poll(max(0.0, self._warm_by - time.monotonic()) * 1000):
            return False
        if control.recv(1) != WARM:  # it has ended, or is about to
            assert self._process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ANSWER_TIME)
            self.look()
            self.end()
            return False
        self._is_warm = True
        return True


def _request(program: Program, folder: str) -> dict[str, object]:
    """What a copy is to be: what a child of ours would be, and what the program says."""
    return {
        "kind": program.kind,
        "target": program.target,
        "arguments": list(program.arguments),
        "executable": program.executable,
        "environment": dict(program.environment),
        "folder": folder,
        "umask": _umask(),
        "limits": [[number, resource.getrlimit(number)] for number in _LIMITS],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": sorted(os.sched_getaffinity(0)),
    }


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
