"""A command that a worker runs as a process of its own, and what came of it: how both travel.

The built-in task is :data:`RUN`; a worker offers it if it is told to (``python -m worker
worker.command``), and so runs whatever its executors say. Decided here: the names, the arguments
and the form of the answer. Pure; written by ``executor.batch``, read by ``worker.command``, and the
other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.values import Json

#: The wire name of the task that runs a command.
RUN: Final = "taskline.command"
#: And of the one that reads what such a command has written, where it was written.
READ: Final = "taskline.read"
#: What a worker is told to offer, to offer both.
MODULE: Final = "worker.command"

#: The task event by which a command says that it runs, with its process id, ``pid``.
STARTED: Final = "taskline.started"

#: Whose runs take memory in processes of their own, and not in the one that runs tasks.
NOT_IN_THEIR_HOST: Final = frozenset({RUN, READ})

#: Bytes of the end of each stream that come along with the answer.
TAIL: Final = 16 * 1024
#: More seconds, or bytes, than anything takes: a peer may write any int.
_MOST: Final = 2**53
#: Bytes that are read at once, at the most.
MAX_READ: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and where."""

    #: A text, which ``/bin/sh`` reads, or a program with its arguments.
    command: str | Sequence[str]
    #: In addition to the worker's own environment.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The folder it runs in, on the worker's machine; None: the worker's own.
    folder: str | None = None
    #: Files for what it writes; None: nobody keeps it.
    stdout: str | None = None
    stderr: str | None = None
    #: Context managers it runs in, each ``MODULE:NAME`` of what is called to make one.
    contexts: Sequence[str] = ()

    def to_json(self) -> dict[str, Json]:
        """The task's arguments, by name."""
        command = self.command if isinstance(self.command, str) else list(self.command)
        return {
            "command": command,
            "environment": dict(self.environment),
            "folder": self.folder,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "contexts": list(self.contexts),
        }


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How it ended."""

    #: Its exit code; 128 and the signal's number if a signal ended it, as shells have it; 127 if
    #: there is no such program, 126 if it cannot be run.
    exit_status: int
    #: How long it ran, in seconds, by the worker's clock.
    seconds: float
    #: The end of what it wrote, and how much that was in all, in bytes; of one without a file none.
    stdout_tail: str = ""
    stderr_tail: str = ""
    stdout_size: int = 0
    stderr_size: int = 0
    #: How many of its processes were still there, and were ended.
    left_over: int = 0

    def to_json(self) -> dict[str, Json]:
        """The task's result."""
        return {name: getattr(self, name) for name in self.__slots__}


def end_from_json(written: Json) -> CommandEnd | None:
    """What :meth:`CommandEnd.to_json` wrote; None for anything else."""
    if not isinstance(written, Mapping):
        return None
    status, seconds = written.get("exit_status"), written.get("seconds")
    if type(status) is not int or not isinstance(seconds, (int, float)):
        return None
    if abs(status) > _MOST or abs(seconds) > _MOST:
        return None
    counts = [written.get(name) for name in ("stdout_size", "stderr_size", "left_over")]
    return CommandEnd(
        status,
        float(seconds),
        str(written.get("stdout_tail", "")),
        str(written.get("stderr_tail", "")),
        *(count if type(count) is int and abs(count) <= _MOST else 0 for count in counts),
    )
