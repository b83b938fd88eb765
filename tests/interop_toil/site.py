"""Where a workflow runs: a folder, leaders as a user starts them, workers if these are elsewhere.

``Site(folder, url, exchange)``. Without a URL its leaders run jobs on this machine, each with a
worker of its own on the embedded broker; with one on workers that :meth:`Site.worker` starts.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.interop_toil.programs import environment
from tests.processes import WorkerProcess, is_alive, wait_until

WORKS: Final = Path(__file__).with_name("works.py")
#: Seconds for a whole workflow; a busy machine takes its time.
PATIENCE: Final = 100.0


class Run(NamedTuple):
    """One time that a job has begun."""

    job: str
    pid: int
    has_ended: bool


class Site:
    """See the module."""

    def __init__(self, folder: Path, url: str | None, exchange: str) -> None:
        self.folder = folder
        self.url = url
        self.exchange = exchange
        self.store = folder / "store"
        #: For what Toil puts on the disks of machines where jobs run.
        self.work = folder / "work"
        self.work.mkdir()
        #: For what it keeps of a workflow where its leader is.
        self.coordination = folder / "coordination"
        self.coordination.mkdir()
        # Toil runs no script that is in a package.
        self.script = Path(shutil.copy(WORKS, folder))

    @property
    def is_here(self) -> bool:
        """Whether leaders have workers of their own."""
        return self.url is None

    @property
    def options(self) -> list[str]:
        """What a user types after the job store."""
        words = ["--batchSystem", "taskline", "--logLevel", "INFO", "--workDir", str(self.work)]
        words += ["--coordinationDir", str(self.coordination)]
        if self.url is not None:
            words += ["--tasklineUrl", self.url, "--tasklineExchange", self.exchange]
        return words

    def leader(self, name: str, *words: str, below: Sequence[str] = ()) -> WorkerProcess:
        """``python works.py STORE OPTIONS WORDS NAME FOLDER``; ``below``: words before these."""
        return WorkerProcess(
            *(f"file:{self.store}", *self.options, *words, name, str(self.folder)),
            folder=self.folder,
            environment=environment(),
            command=(*below, str(self.script)),
        )

    def cwl(self, *words: str | Path) -> WorkerProcess:
        """``toil-cwl-runner OPTIONS WORDS``."""
        runner = Path(sys.executable).with_name("toil-cwl-runner")
        own = ("--jobStore", f"file:{self.store}", "--no-container")
        return WorkerProcess(
            *(*self.options, *own, *map(str, words)),
            folder=self.folder,
            environment=environment(),
            command=(str(runner),),
        )

    def worker(self, *words: str, below: Sequence[str] = ()) -> WorkerProcess:
        """``python -m worker worker.command`` for this site's leaders."""
        assert self.url is not None
        where = ("--url", self.url, "--exchange", self.exchange, "--beat", "0.5")
        return WorkerProcess(
            *("worker.command", *where, "--concurrency", "4", *words),
            folder=self.folder,
            environment=environment(),
            command=(*below, "-m", "worker"),
        )

    # what jobs have done ------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """Every time that a job has begun, in that order."""
        path = self.folder / "effects"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        ended = {(job, int(pid)) for what, job, pid in lines if what == "end"}
        return [
            Run(job, int(pid), (job, int(pid)) in ended)
            for what, job, pid in lines
            if what == "begin"
        ]

    def begun(self) -> Counter[str]:
        """How often each job has begun."""
        return Counter(run.job for run in self.runs())

    def ended(self) -> Counter[str]:
        """How often each job has come to its end."""
        return Counter(run.job for run in self.runs() if run.has_ended)

    def wait_for(self, *jobs: str) -> dict[str, int]:
        """Until each of these runs; the process of each."""

        def found() -> dict[str, int]:
            return {
                run.job: run.pid for run in self.runs() if run.job in jobs and not run.has_ended
            }

        wait_until(lambda: set(found()) == set(jobs), f"the runs of {', '.join(jobs)}", PATIENCE)
        return found()

    def wait_for_end_of(self, *jobs: str) -> None:
        """Until their processes have ended: then Toil knows that they need not run again."""

        def is_so() -> bool:
            runs = self.runs()
            over = {run.job for run in runs if run.has_ended and not is_alive(run.pid)}
            return over >= set(jobs)

        wait_until(is_so, f"the end of {', '.join(jobs)}", PATIENCE)

    def let_go(self) -> None:
        """The jobs that wait for it go on."""
        (self.folder / "go").touch()

    def nothing_runs(self) -> bool:
        """Whether no job that has begun is a process still."""
        return not any(is_alive(run.pid) for run in self.runs())


def result_of(leader: WorkerProcess, timeout: float = PATIENCE) -> str:
    """What the workflow came to, once its leader has ended well."""
    assert leader.exit_code(timeout) == 0, leader.said
    return next(
        line.removeprefix("result: ")
        for line in leader.said.splitlines()
        if line.startswith("result: ")
    )
