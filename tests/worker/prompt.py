"""A shift with a pool of its own that begins what it is handed at once, as far as it has slots.

What most tests of the shift are about is whether a request runs or waits; that it may be handed
over and not have begun is looked at apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protocol.parcel import Received, Refused
from worker.effects import Effect, Run, TakeBack
from worker.shift import Shift
from worker.work import Ended, Report, Returned, Started


class Prompt(Shift):
    """As a shift; the effects of its pool's answers follow those of the input."""

    def __init__(self, *args: Any, slots: int, **settings: Any) -> None:
        super().__init__(*args, slots=slots, **settings)
        self._free_there = slots
        self._running_there: set[int] = set()
        self._handed_there: list[int] = []

    def heard(self, deliveries: Iterable[Received | Refused], now: float) -> list[Effect]:
        return self._answered(super().heard(deliveries, now), now)

    def reported(self, reports: Iterable[Report], now: float) -> list[Effect]:
        reports = list(reports)
        for report in reports:
            if isinstance(report, Ended) and report.key in self._running_there:
                self._running_there.remove(report.key)
                self._free_there += 1
        return self._answered(super().reported(reports, now), now)

    def drain(self, now: float, limit: float) -> list[Effect]:
        return self._answered(super().drain(now, limit), now)

    def tick(self, now: float) -> list[Effect]:
        return self._answered(super().tick(now), now)

    def _answered(self, effects: list[Effect], now: float) -> list[Effect]:
        self._handed_there += [effect.work.key for effect in effects if isinstance(effect, Run)]
        said: list[Report] = []
        for effect in effects:
            if isinstance(effect, TakeBack) and effect.key in self._handed_there:
                self._handed_there.remove(effect.key)
                said.append(Returned(effect.key))
        while self._handed_there and self._free_there:
            self._free_there -= 1
            key = self._handed_there.pop(0)
            self._running_there.add(key)
            said.append(Started(key))
        if not said:
            return effects
        return [*effects, *self._answered(super().reported(said, now), now)]
