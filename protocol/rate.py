"""How often a task may be started: ``"100/m"`` and what it means.

``N/s``, ``N/m`` or ``N/h``: in any second, minute or hour, whenever it begins, at most N starts. So
the unit says how many may come at once: ``"600/m"`` lets 600 go together and then none for a
minute, ``"10/s"`` allows as many in a minute and at most 10 together. Decided here: the form, and
when the next may go after those that went. Not decided here: what counts as a start
(``executor.limits``). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol.errors import ConfigurationError

#: Most starts in one period: their times are remembered.
MAX_COUNT: Final = 100_000

_PERIODS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FORM: Final = re.compile(r"([0-9]{1,9})/([smh])")


class Rate(NamedTuple):
    """At most ``most`` starts in any ``period`` seconds."""

    most: int
    period: float

    def __str__(self) -> str:
        unit = next(unit for unit, period in _PERIODS.items() if period == self.period)
        return f"{self.most}/{unit}"

    def next_start(self, starts: Sequence[float]) -> float | None:
        """When one more may start, after those at these times, oldest first; None: at once.

        Exactly one period after the start that is ``most`` starts back.
        """
        return starts[-self.most] + self.period if len(starts) >= self.most else None


def parse_rate(where: str, text: object) -> Rate:
    """The rate a text stands for. ``where`` it was given, for the error.

    Raises ``ConfigurationError`` for what is none.
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(
            f'{where}: rate={text!r}: how many in how long, as "10/s", "100/m" or "2000/h": a '
            "whole number, a slash, and s, m or h for a second, a minute or an hour"
        )
    most = int(found[1])
    if not 1 <= most <= MAX_COUNT:
        raise ConfigurationError(
            f"{where}: rate={text!r}: from 1 to {MAX_COUNT} starts; for more give a shorter "
            "period, for fewer a longer one"
        )
    return Rate(most, _PERIODS[found[2]])
