"""Where a story of several processes plays: a broker, a folder, workers and programs in it.

The folder has one module, ``chores``, whose tasks leave a mark each time they are started, so that
a story can count. A program is a user's script, as its own process, which may be killed.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from executor import Executor
from tests.processes import DEADLINE, WorkerProcess, wait_until

#: The beat of the stories' workers, in seconds: a lease is over in three of them.
BEAT: Final = 0.5

_CHORES: Final = '''
"""Tasks that can be counted, held up and killed."""

import ctypes, os, pathlib, sys, time, uuid

from worker import progress, task
from protocol.errors import SoftTimeLimitExceeded

MARKS = pathlib.Path(__file__).with_name("marks")


def mark(name):
    (MARKS / f"{name}.{os.getpid()}.{uuid.uuid4().hex}").touch()


def wait_for(gate):
    while gate and not pathlib.Path(gate).exists():
        time.sleep(0.005)


def chore(name, gate=None):
    """Leave a mark, wait for a file if one is given, and return the name."""
    mark(name)
    wait_for(gate)
    return name


@task(delivery="at_most_once")
def payment(name, gate=None):
    """The same, which must not happen twice."""
    return chore(name, gate)


def fail(name):
    mark(name)
    raise ValueError(name, 42)


def settled(name, gate):
    """Fail until a file is there."""
    mark(name)
    if not pathlib.Path(gate).exists():
        raise ConnectionError(f"{name} is not answered")
    return name


def crash(name):
    """End the process behind everybody's back."""
    mark(name)
    os._exit(9)


def spin(name):
    """Never return, in Python."""
    mark(name)
    while True:
        pass


def block(name):
    """Never return, in C, with the interpreter's lock held."""
    mark(name)
    ctypes.PyDLL(None).sleep(600)


@task(time_limit=0.5)
def limited(name):
    return spin(name)


@task(soft_time_limit=1.0)
def tidy(name):
    """Clean up when it is time, and say so."""
    mark(name)
    try:
        time.sleep(600)
    except SoftTimeLimitExceeded:
        return f"{name} was tidied up"


def spin_on(name):
    """Hear that it is time, and go on all the same."""
    mark(name)
    while True:
        try:
            while True:
                pass
        except SoftTimeLimitExceeded:
            pass


def careless(name):
    """Let it out."""
    mark(name)
    time.sleep(600)


def talk(name, times):
    mark(name)
    for n in range(times):
        progress(n / times, n=n)
    return times
'''


@dataclass(frozen=True)
class Stage:
    """One for each story."""

    url: str
    exchange: str
    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "marks").mkdir()
        (self.folder / "chores.py").write_text(_CHORES)

    @property
    def journal(self) -> Path:
        """Where the stories' executors keep theirs."""
        return self.folder / "nightly.journal"

    def gate(self, name: str = "gate") -> Path:
        """A file that tasks can be made to wait for."""
        return self.folder / name

    def worker(
        self, *words: str, concurrency: int = 2, beat: float = BEAT, **settings: Any
    ) -> WorkerProcess:
        """A worker process that offers the chores."""
        return WorkerProcess(
            *("chores", "--url", self.url, "--exchange", self.exchange),
            *("--concurrency", str(concurrency), "--beat", str(beat), *words),
            folder=self.folder,
            **settings,
        )

    def program(self, text: str, *words: str, name: str = "program") -> WorkerProcess:
        """A script of a user's, started; ``EXECUTOR`` in it is an executor of this stage's."""
        made = (
            f"Executor({self.url!r}, exchange={self.exchange!r}, name='nightly', "
            f"journal={str(self.journal)!r})"
        )
        path = self.folder / f"{name}.py"
        path.write_text(textwrap.dedent(text).replace("EXECUTOR", made))
        return WorkerProcess(*words, folder=self.folder, command=(path.name,))

    def executor(self, **settings: Any) -> Executor:
        """An executor in this process, with the same name and journal as the programs'."""
        kept = {"name": "nightly", "journal": self.journal}
        return Executor(self.url, exchange=self.exchange, **{**kept, **settings})

    def marks(self) -> Counter[str]:
        """How often each chore was started."""
        return Counter(mark.name.split(".")[0] for mark in (self.folder / "marks").iterdir())

    def processes(self, name: str) -> list[int]:
        """Who started this chore, by process id, in no order."""
        marks = (self.folder / "marks").glob(f"{name}.*")
        return [int(mark.name.split(".")[1]) for mark in marks]

    def wait_for(self, *names: str, times: int = 1, timeout: float = DEADLINE) -> None:
        """Until each of these has been started so many times."""
        wait_until(
            lambda: all(self.marks()[name] >= times for name in names),
            f"{names} to be started {times} times",
            timeout,
        )
