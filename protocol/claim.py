"""A claim on a key, as executors on one broker tell it to each other: whose it is, and its name.

A claim is one value under one name at the broker, for so many seconds of the broker's own clock.
Decided here: what name and value look like, so that two executors mean the same. Who has it is the
broker's to say, and what follows from that ``executor.unique``'s. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from protocol.errors import ValueRefused
from protocol.values import dumps, loads

#: Characters of a value that are read: an executor's is never longer, whatever its names are.
MAX_VALUE: Final = 4096
#: Characters of a task's name that are told; the rest of it is left out.
_MAX_TASK: Final = 200


class Wanted(NamedTuple):
    """A claim to be made: this value under this name, unless there is one already."""

    name: str
    value: str
    #: Seconds, by the broker's clock, after which it is free again.
    lifetime: float


class Found(NamedTuple):
    """What is under a name once it was tried: the value that was wanted, or another's."""

    value: str
    #: Seconds until it is free again; None if it does not end by itself.
    left: float | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who has a key."""

    #: The executor that submitted with it, and which of its incarnations.
    executor: str
    incarnation: int
    #: The request that was submitted, and its task.
    uuid: str
    task: str

    def to_text(self) -> str:
        """The value; another one for every request."""
        return dumps(
            {
                "ex": self.executor,
                "in": self.incarnation,
                "uuid": self.uuid,
                "task": self.task[:_MAX_TASK],
            }
        )


def read_claim(text: str) -> Claim | None:
    """What a value says; None for one that is not an executor's, whatever it is."""
    try:
        found = loads(text)
    except ValueRefused:
        return None
    if not isinstance(found, dict):
        return None
    executor, incarnation = found.get("ex"), found.get("in")
    uuid, task = found.get("uuid"), found.get("task")
    if not isinstance(executor, str) or not isinstance(uuid, str) or not isinstance(task, str):
        return None
    if not isinstance(incarnation, int) or isinstance(incarnation, bool):
        return None
    return Claim(executor, incarnation, uuid, task)


def claim_name(exchange: str, key: str) -> str:
    """Under which name a key is claimed. In ASCII, and no two keys have one.

    An exchange's name has no colon, so it ends at the first one.
    """
    return f"taskline.claim:{exchange}:{dumps(key)[1:-1]}"
