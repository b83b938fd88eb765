"""A job, as it is given to a batch system, and what is told of its end. Pure data.

The reasons are those of Toil's ``BatchJobExitReason``, by name and number, so that a leader that
knows one knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from protocol.errors import ConfigurationError
from protocol.resources import Requirements

#: The exit status of a job of which none is known.
EXIT_STATUS_UNAVAILABLE: Final = 255


class ExitReason(IntEnum):
    """Why a job is not running any more."""

    #: It ran to its end, with exit status 0; with another.
    FINISHED = 1
    FAILED = 2
    #: Its worker, or what it had to say, is gone.
    LOST = 3
    #: It was ended, as somebody asked who is not its leader.
    KILLED = 4
    #: It could not be run.
    ERROR = 5
    #: It took more memory than it had asked for.
    MEMLIMIT = 6
    #: A leader's own words, which no batch system says: it should be there, and is not; it ran for
    #: longer than the leader allows.
    MISSING = 7
    MAXJOBDURATION = 8
    #: A leader's: it says that it succeeded, and nothing of that is to be seen.
    PARTITION = 9
    #: It ran for longer than its wall time.
    TIMELIMIT = 10


@dataclass(frozen=True, slots=True)
class Job:
    """A command. Raises ``ConfigurationError`` for what cannot be run."""

    #: A text, which ``/bin/sh`` reads, or a program with its arguments.
    command: str | Sequence[str]
    #: What people call it, and statistics: of jobs that do the same, the same.
    name: str = "job"
    #: What it takes where it runs.
    needs: Requirements = Requirements()  # noqa: RUF009 - frozen, and so shared
    #: In addition to the worker's environment, and to what ``set_env`` has said.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The folder it runs in, on the worker's machine; None: the worker's own.
    folder: str | None = None
    #: Of two that wait the higher goes first, -100 to 100.
    priority: int = 0
    #: Files for what it writes, on the worker's machine; None: as its batch system names them.
    stdout: str | None = None
    stderr: str | None = None

    def __post_init__(self) -> None:
        command = self.command
        words = [command] if isinstance(command, str) else command
        are_texts = isinstance(words, Sequence) and all(isinstance(word, str) for word in words)
        if not are_texts or not words or not words[0] or any("\0" in word for word in words):
            raise ConfigurationError(
                f"Job({command!r}): a command is a text for /bin/sh, or a list of texts, the first "
                "of which names the program"
            )
        for name, value in self.environment.items():
            if not _is_variable(name, value):
                raise ConfigurationError(
                    f"Job(environment={{{name!r}: {value!r}}}): names and values are texts, and a "
                    "name has neither = nor a zero character"
                )


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """The end of a job, told once."""

    job_id: int
    #: 0 implies success; 128 and the signal's number if a signal ended it, as shells have it.
    exit_status: int = EXIT_STATUS_UNAVAILABLE
    reason: ExitReason | None = None
    #: Seconds it ran, more than 0; None: it never did, as far as is known.
    wall_time: float | None = None
    #: What it is called where it ran: the uuid of its request.
    external_id: str | None = None
    #: What there is to say of it: why it was not run, what limit it reached, where it was lost; of
    #: one that failed the last line it wrote to its standard error, if that is kept.
    message: str = ""


def _is_variable(name: object, value: object) -> bool:
    texts = isinstance(name, str) and isinstance(value, str)
    return texts and bool(name) and not {"=", "\0"} & set(str(name)) and "\0" not in str(value)
