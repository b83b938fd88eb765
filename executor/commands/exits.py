"""What the exit code of ``python -m executor`` says. Pure; scripts rely on it.

====  ==================================================================================
0     the task succeeded; the workers were listed; the demo went as it should
1     the task failed in a worker; the demo did not go as it should
2     the command cannot be understood, or asks for what cannot be
3     nobody answered in time: no worker offers it, none was free, or they fell silent
4     the broker cannot be reached, or the way to it broke
130   Ctrl-C
====  ==================================================================================
"""

from __future__ import annotations

from typing import Final

from protocol.errors import (
    ConfigurationError,
    RequestTimeout,
    SubmitRefused,
    TasklineError,
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
    if isinstance(error, (ConfigurationError, SubmitRefused)):
        return USAGE
    if isinstance(error, (RequestTimeout, WaitTimeout, WorkerLost)):
        return NO_ANSWER
    return BROKER if isinstance(error, TasklineError) else FAILED
