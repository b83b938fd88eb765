"""What an account came to, as a file for each broker: in the folder of results, a folder down."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.account.stacks import SIDES


@dataclass(slots=True)
class Account:
    """Of our default setting on one broker, 1,000 requests open."""

    broker: str
    #: Microseconds of CPU for a task: ``submitter``, ``workers`` (hosts included), ``broker``.
    cpu: dict[str, float]
    #: ``[side, room, looks]``.
    seen: list[tuple[str, str, int]]
    #: As in a result of a play.
    of: dict[str, str] = field(default_factory=dict)

    def microseconds(self) -> dict[tuple[str, str], float]:
        """``{(side, room): CPU of a task}``: what was measured, by shares of the looks."""
        looks = {side: sum(n for s, _, n in self.seen if s == side) for side in SIDES}
        inside = looks["worker"] + looks["hosts"]
        each = {
            "submitter": self.cpu["submitter"] / max(1, looks["submitter"]),
            "worker": self.cpu["workers"] / max(1, inside),
            "hosts": self.cpu["workers"] / max(1, inside),
        }
        return {(side, room): n * each[side] for side, room, n in self.seen}


def write(account: Account, folder: Path) -> Path:
    """Keep it."""
    file = folder / "account" / f"{account.broker}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dataclasses.asdict(account), indent=1, sort_keys=True) + "\n")
    return file


def read_all(folder: Path) -> list[Account]:
    """All that are kept. Raises ``ValueError`` naming a file that makes no sense."""
    found = []
    for file in sorted((folder / "account").glob("*.json")):
        try:
            said = json.loads(file.read_text())
            seen = [(str(side), str(room), int(looks)) for side, room, looks in said["seen"]]
            found.append(Account(**{**said, "seen": seen}))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is no account: {error!r}") from error
    return found
