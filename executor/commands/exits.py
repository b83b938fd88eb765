"""What the exit code of ``python -m executor`` says. Pure; scripts rely on it.

====  =====================================================================================
0     the task succeeded; workers were listed, a journal was read, dead letters were seen to;
      the demo went as it should
1     the task failed in a worker, or was ended there; the demo did not go as it should
2     the command cannot be understood, or asks for what cannot be; there is no such journal, or
      somebody else writes it; there is no such dead letter
3     nobody answered in time: no worker offers it, none was free, or they fell silent
4     the broker cannot be reached, or the way to it broke
130   Ctrl-C
====  =====================================================================================
"""

from __future__ import annotations

from typing import Final

from protocol.errors import (
    ConfigurationError,
    JournalError,
    RequestEnded,
    RequestTimeout,
    SubmitRefused,
    TasklineError,
    UnknownRequest,
    WaitTimeout,
    WorkerLost,
)

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_ANSWER: Final = 3
BROKER: Final = 4
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def exit_code(error: BaseException) -> int:
    """The code for what a call or its future raised."""
    if getattr(error, "remote", None) is not None:  # whatever it is, a task raised it
        return FAILED
    if isinstance(error, (ConfigurationError, JournalError, SubmitRefused, UnknownRequest)):
        return USAGE
    if isinstance(error, (RequestTimeout, WaitTimeout, WorkerLost)):
        return NO_ANSWER
    if isinstance(error, RequestEnded):  # it ran, and came to nothing
        return FAILED
    return BROKER if isinstance(error, TasklineError) else FAILED
