"""Runs a flow on an unmodified taskflow engine, in such a way that a hang is a failure.

taskflow's ``engine.run()`` has no deadline, and what it waits for is a thread that nobody watches:
so it runs in a thread of its own here, is waited for, and left behind if it does not return.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Final

import taskflow.engines
from taskflow.exceptions import WrappedFailure
from taskflow.types.failure import Failure
from taskflow.types.notifier import Notifier

from tests.interop.ground import Ground

#: Seconds any flow here may take; the slowest takes five.
DEADLINE: Final = 45.0


@dataclass(slots=True)
class Run:
    """What became of one flow."""

    engine: Any
    #: ``(atom name, state, result or None)``, as the engine told it.
    story: list[tuple[str, str, Any]] = field(default_factory=list)
    #: What ``engine.run()`` raised.
    error: BaseException | None = None

    @property
    def results(self) -> dict[str, Any]:
        """What the flow has stored: ``{name: value}``, arguments included."""
        fetched: dict[str, Any] = self.engine.storage.fetch_all()
        return fetched

    @property
    def failures(self) -> list[Failure]:
        """The failures ``engine.run()`` raised; the test fails if it raised anything else."""
        if not isinstance(self.error, WrappedFailure):
            raise AssertionError(f"the run raised {self.error!r}, not failures") from self.error
        return list(self.error)

    @property
    def failure(self) -> Failure:
        """The one failure ``engine.run()`` raised."""
        (only,) = self.failures
        return only

    def names_in(self, state: str) -> list[str]:
        """The atoms that came into this state, in the order in which they did."""
        return [name for name, entered, _result in self.story if entered == state]

    def reverted(self, name: str) -> Any:
        """What the atom's revert returned."""
        return self.engine.storage.get_revert_result(name)

    def state_of(self, name: str) -> str:
        """The state the atom is in now."""
        return str(self.engine.storage.get_atom_state(name))


@dataclass(slots=True)
class Runner:
    """Runs flows on one ground."""

    ground: Ground

    def run(self, flow: Any, *, deadline: float = DEADLINE, **options: Any) -> Run:
        """Run ``flow``; a run that raises is a result, one that does not return is a failure."""
        return self.start(flow, **options).wait(deadline)

    def run_together(self, flows: list[Any], *, deadline: float = DEADLINE) -> list[Running]:
        """Run flows side by side, each on an engine of its own; all are over or out of time.

        Eight at once: ten taskflow engines in one process deadlock by themselves, see kombu.pools.
        """
        runs: list[Running] = []
        for first in range(0, len(flows), 8):
            begun = [self.start(flow) for flow in flows[first : first + 8]]
            until = time.monotonic() + deadline
            for running in begun:
                running.join(until - time.monotonic())
            runs += begun
        return runs

    def start(self, flow: Any, *, store: dict[str, Any] | None = None, **options: Any) -> Running:
        """Begin to run ``flow`` in a thread of its own."""
        engine = taskflow.engines.load(
            flow,
            engine="worker-based",
            store=store,
            exchange=self.ground.exchange,
            topics=[self.ground.topic],
            **self.ground.taskflow_options(),
            **options,
        )
        return Running(Run(engine))


class Running:
    """A flow that is being run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._began = time.monotonic()
        run.engine.atom_notifier.register(Notifier.ANY, self._note)
        self._thread = threading.Thread(target=self._go, name="engine", daemon=True)
        self._thread.start()

    @property
    def engine(self) -> Any:
        """taskflow's engine."""
        return self._run.engine

    def join(self, deadline: float) -> None:
        """Return when ``engine.run()`` has, or this many seconds have passed."""
        self._thread.join(max(0.0, deadline))

    def wait(self, deadline: float = DEADLINE) -> Run:
        """The run, when ``engine.run()`` has returned; fails if it has not in time."""
        self.join(deadline)
        if self._thread.is_alive():
            frame = sys._current_frames().get(self._thread.ident or 0)
            stack = "".join(traceback.format_stack(frame)[-3:]) if frame else ""
            raise AssertionError(
                f"engine.run() had not returned after {time.monotonic() - self._began:.1f} s; "
                f"so far: {self._run.story}\n{stack}"
            )
        return self._run

    def _go(self) -> None:
        try:
            self._run.engine.run()
        except BaseException as error:  # the flow's failure is what the test asks about
            self._run.error = error

    def _note(self, state: str, details: dict[str, Any]) -> None:
        name = details.get("task_name") or details.get("retry_name")
        self._run.story.append((str(name), state, details.get("result")))
