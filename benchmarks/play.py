"""One sitting, in a process of its own: ``python -m benchmarks.play FILE``; FILE says what.

This process is the submitter, the workers are its children. Nothing of the peer is imported before
a measure asks for it: how long that takes is part of one of them. Every result is compared with
what it should be, and every wait ends with the cell's deadline. When a cell has failed, that is the
end: nobody knows what it has left behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from benchmarks.cells import Cell
from benchmarks.client import Client
from benchmarks.ground import ROOT, Ground
from benchmarks.measures import MEASURES
from benchmarks.measures.not_reached import NotReached
from benchmarks.peers import PEERS
from benchmarks.process import Meter
from benchmarks.result import NOT_ENDED, Result
from benchmarks.sizes import SIZES, Size
from benchmarks.tasks import TASKS, WORKER

_END_TIMEOUT: Final = 5.0  # seconds for workers, and then for a client, to end
_SHOWN: Final = 1500  # characters of a worker's log in a problem


class WrongResult(Exception):
    """A result came that is not the task's."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was submitted at once."""

    handles: Sequence[Any]
    expected: Sequence[Any]


class Play:
    """What a measure has in its hands. ``with`` ends the workers and the client."""

    def __init__(self, cell: Cell, size: Size, ground: Ground) -> None:
        self.size = size
        self.ground = ground
        #: Whether no cell is played after this one, and whether workers have been kept busy before.
        self.is_last = True
        self.is_warm = False
        self._peer = PEERS[cell.peer]
        self.begin(cell)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._inside: Any = None
        self._client: Client | None = None
        self._numbers = itertools.count()

    def begin(self, cell: Cell, *, is_last: bool = True) -> None:
        """Play this one, with whoever is there already."""
        self.cell = cell
        self.is_last = is_last
        self._until = time.monotonic() + self.size.deadline
        self._task = "turn" if cell.payload_bytes else "bump"

    def __enter__(self) -> Play:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.terminate()
        until = time.monotonic() + _END_TIMEOUT
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, until - time.monotonic()))
        # In a thread: a client that does not come back has been measured all the same.
        ends = [part for part in (self._client, self._inside) if part is not None]
        closing = threading.Thread(target=lambda: [end.close() for end in ends], daemon=True)
        closing.start()
        closing.join(_END_TIMEOUT)

    # both sides ----------------------------------------------------------------------------------

    @property
    def left(self) -> float:
        """Seconds to the cell's deadline."""
        return max(0.0, self._until - time.monotonic())

    def bring_up(self) -> None:
        """Have as many workers as the cell wants, each of which has run something."""
        self.start_workers()
        if self._client is None:
            self.connect()
        self.wait_ready()

    def start_workers(self) -> None:
        """Those that are missing, as a user would; returns at once.

        On ``memory`` they are part of this process.
        """
        if self.ground.broker == "memory":
            if self._inside is None:
                self._inside = self._app().serve(self.ground)
            return
        for number in range(len(self._workers), self.cell.workers):
            log = Path(self.ground.folder, f"worker-{number}.log")
            with log.open("wb") as output:
                worker = subprocess.Popen(
                    self._peer.worker(self.ground, number),
                    cwd=self.ground.folder,
                    env={**os.environ, WORKER: str(number)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            self._workers.append(worker)
            self.is_warm = False

    def connect(self) -> None:
        """Be ready to submit."""
        self._client = self._app().connect(self.ground)

    def wait_ready(self) -> None:
        """Until each worker has run something."""
        missing = set(range(self.cell.workers))
        while missing:
            handles = self.client.submit("who", [0] * (4 * self.cell.workers))
            missing.difference_update(self._gathered(handles))

    @property
    def client(self) -> Client:
        """The submitting side."""
        if self._client is None:
            raise RuntimeError("submitting comes after connecting")
        return self._client

    def meter(self) -> Meter:
        """Reads what the three parts use. Of the workers that have been started by now."""
        return Meter(tuple(worker.pid for worker in self._workers), self.ground.servers)

    # work ----------------------------------------------------------------------------------------

    def submit(self, count: int) -> Batch:
        """Submit as many of the cell's tasks."""
        values = [self._value() for _ in range(count)]
        handles = self.client.submit(self._task, values)
        function = TASKS[self._task]
        return Batch(handles, [function(value) for value in values])

    def gather(self, batch: Batch) -> None:
        """Wait for all results. Raises ``WrongResult``, and ``TimeoutError`` at the deadline."""
        self._check(self._gathered(batch.handles), batch.expected)

    def call(self) -> float:
        """One task alone; the seconds until its result was there."""
        value = self._value()
        began = time.perf_counter()
        result = self.client.call(self._task, value, self.left)
        seconds = time.perf_counter() - began
        self._check([result], [TASKS[self._task](value)])
        return seconds

    def _value(self) -> Any:
        number = next(self._numbers)
        size = self.cell.payload_bytes
        return f"{number:x}".ljust(size, "-") if size else number

    def _gathered(self, handles: Sequence[Any]) -> list[Any]:
        left = self.left
        if not left:
            raise TimeoutError(f"{len(handles)} or more were open after {self.size.deadline:g} s")
        return self.client.gather(handles, left)

    def _check(self, results: Sequence[Any], expected: Sequence[Any]) -> None:
        if list(results) == list(expected):
            return
        for result, right in zip(results, expected, strict=True):
            if result != right:
                raise WrongResult(f"{str(result)[:60]!r} came instead of {str(right)[:60]!r}")

    def _app(self) -> Any:
        return importlib.import_module(self._peer.app)


def said_by_workers(folder: Path) -> str:
    """The ends of their logs."""
    logs = sorted(folder.glob("worker-*.log"))
    return "\n".join(log.read_text(errors="replace")[-_SHOWN:] for log in logs)


def main(file: Path) -> int:
    """Play; 0 if it went well. The file is replaced by what was told, with the results so far."""
    told = json.loads(file.read_text())
    cells = [Cell(**cell) for cell in told["cells"]]
    size = SIZES[told["size"]]
    ground = Ground(**{**told["ground"], "servers": tuple(told["ground"]["servers"])})
    os.environ.update(ground.to_environment())
    sys.path.insert(0, str(ROOT))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results: list[Result] = []
    with Play(cells[0], size, ground) as play:
        for number, cell in enumerate(cells):
            faulthandler.dump_traceback_later(size.deadline + 2 * _END_TIMEOUT, exit=True)
            result = Result(cell, told["round"], told["size"])
            play.begin(cell, is_last=number == len(cells) - 1)
            _measure(play, result)
            results.append(result)
            said = [dataclasses.asdict(result) for result in results]
            file.write_text(json.dumps({"results": said}))
            if not result.is_good:
                break
        faulthandler.dump_traceback_later(3 * _END_TIMEOUT, exit=True)
    return 1 if any(result.problem for result in results) else 0


def _measure(play: Play, result: Result) -> None:
    """Play its cell, and note what came of it."""
    began = time.monotonic()
    try:
        result.figures = MEASURES[result.cell.measure].measure(play)
    except NotReached as error:
        result.skipped = str(error)
    except TimeoutError as error:
        seconds = time.monotonic() - began
        result.problem = f"{NOT_ENDED} {seconds:.0f} s: {error}"
    except Exception as error:
        traceback.print_exc()
        said = said_by_workers(Path(play.ground.folder)).strip().splitlines()
        result.problem = f"{type(error).__name__}: {error}" + (
            f"; the workers' last words: {said[-1]}" if said else ""
        )
    else:
        result.figures["play_seconds"] = time.monotonic() - began


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    # Threads of a peer's that would not end are no part of what was measured.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
