"""A frozen process stands still, with its children, and is always thawed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bus.wire.testing import Freezer
from bus.wire.testing.processes.tree import descendants, state_of
from tests.processes import wait_until

#: Says a word on each line it is sent; its child does nothing.
FAMILY = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE,
)
child.stdout.readline()  # it sleeps now, or is about to
print("up", flush=True)
for line in sys.stdin:
    print(line.strip(), flush=True)
child.kill()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    yield process
    process.stdin.close()
    process.wait(10.0)
    process.stdout.close()


def answer(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_all_of_it_stands_still_and_goes_on_afterwards(family: subprocess.Popen[str]) -> None:
    (child,) = descendants(family.pid)
    freezer = Freezer(family.pid)
    for _ in range(2):  # it may be used again
        with freezer:
            assert freezer.frozen == (family.pid, child)
            assert state_of(family.pid) == state_of(child) == "T"
            freezer.start()  # is nothing
        assert freezer.frozen == ()
        wait_until(lambda: state_of(child) == "S", "the thaw")
        assert answer(family, "alive") == "alive"
    freezer.stop()


def test_it_alone_stands_still_if_that_is_asked(family: subprocess.Popen[str]) -> None:
    (child,) = descendants(family.pid)
    with Freezer(family.pid, tree=False) as freezer:
        assert freezer.frozen == (family.pid,)
        wait_until(lambda: state_of(child) == "S", "its child to sleep on")


def test_it_is_thawed_after_a_test_that_fails(family: subprocess.Popen[str]) -> None:
    with pytest.raises(AssertionError), Freezer(family.pid):
        raise AssertionError
    assert answer(family, "alive") == "alive"


def test_what_does_not_run_cannot_be_frozen() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ProcessLookupError):
        Freezer(process.pid).start()


def test_what_is_killed_while_frozen_is_no_trouble() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with Freezer(process.pid):
        process.kill()
        process.wait(10.0)
