"""Small programs as people write them, run as they run them, with ``Executor(workers=2)``.

Each is files in a folder and a command line. It works at first go, or says within seconds what is
to be changed; and whatever happens, nothing is left running.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

DEADLINE = 60.0  # seconds for a program that works, on a busy machine
SECONDS = 15.0  # in which one that cannot work has said so, on a busy machine


@dataclass(frozen=True)
class Ran:
    """What became of a program."""

    code: int
    out: str
    err: str
    took: float


class Desk:
    """A folder with a user's files, and a broker of its own, by which its processes are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"local://{folder}/broker"

    def write(self, **files: str) -> None:
        """``name="…"`` makes ``name.py``; ``URL`` in it is this desk's broker."""
        for name, text in files.items():
            path = self.folder / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("URL", repr(self.url)))

    def run(self, *command: str, within: float = DEADLINE) -> Ran:
        """``python COMMAND…``, in the folder; fails if it does not end in time."""
        began = time.monotonic()
        ran = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr, time.monotonic() - began)

    def left(self) -> list[str]:
        """Processes of this desk that still run: they have its broker in their environment."""
        mark = os.fsencode(f"TASKLINE_URL={self.url}")
        found: list[str] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(process.name)
            except OSError:  # gone meanwhile, or somebody else's
                continue
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    if Path("/proc/self/environ").exists():
        ends = time.monotonic() + SECONDS
        while made.left() and time.monotonic() < ends:
            os.sched_yield()
        assert made.left() == []


def test_functions_of_the_script_and_of_a_module_next_to_it(desk: Desk) -> None:
    """A custom exception class, too: ``except Odd`` catches it."""
    desk.write(
        shapes="""
            def area(width, height=1):
                return width * height
            """,
        script="""
            from executor import Executor
            from math import factorial
            from shapes import area
            from worker import task

            class Odd(Exception):
                pass

            def half(n):
                if n % 2:
                    raise Odd(n, "is odd")
                return n // 2

            async def later(n):
                return n + 1

            @task(name="renamed.task")
            def third(n):
                return n // 3

            if __name__ == "__main__":
                with Executor(URL, workers=2) as pool:
                    print(list(pool.map(half, range(0, 8, 2))))
                    print(pool.submit(area, 2, height=3).result())
                    print(pool.submit(factorial, 5).result(), pool.submit(later, 1).result())
                    print(pool.submit(third, 9).result(), pool.submit("renamed.task", 9).result())
                    try:
                        pool.submit(half, 3).result()
                    except Odd as odd:
                        print(odd.args, odd.remote.type_names[0])
            """,
    )
    ran = desk.run("script.py")
    assert ran.out.splitlines() == [
        "[0, 1, 2, 3]",
        "6",
        "120 2",
        "3 3",
        "(3, 'is odd') script.Odd",
    ], ran.err
    assert ran.code == 0
    assert not ran.err


def test_a_script_that_defines_no_function_of_its_own(desk: Desk) -> None:
    """It only submits what it imported."""
    desk.write(
        script="""
            from math import factorial
            from executor import Executor

            if __name__ == "__main__":
                with Executor(URL, workers=2) as pool:
                    print(sum(pool.map(factorial, range(5))))
            """
    )
    ran = desk.run("script.py")
    assert (ran.out, ran.code) == ("34\n", 0), ran.err


def test_what_only_looks_like_an_end_of_the_program_is_a_failure_of_the_task(desk: Desk) -> None:
    """``SystemExit`` and its like do not reach the caller as themselves: they would end it."""
    desk.write(
        script="""
            import sys
            from executor import Executor

            def stop():
                raise StopIteration("no more")

            def leave():
                sys.exit(3)

            def interrupt():
                raise KeyboardInterrupt

            def close():
                raise GeneratorExit

            def wrap(text):
                try:
                    int(text)
                except ValueError as error:
                    raise LookupError(text) from error

            if __name__ == "__main__":
                with Executor(URL, workers=2) as pool:
                    for function in (stop, leave, interrupt, close):
                        error = pool.submit(function).exception()
                        print(type(error).__name__, error.remote.type_names[0])
                    error = pool.submit(wrap, "x").exception()
                    print(repr(error), error.remote.causes[0].type_names[0])
            """
    )
    ran = desk.run("script.py")
    assert ran.out.splitlines() == [
        "TaskFailed StopIteration",
        "TaskFailed SystemExit",
        "TaskFailed KeyboardInterrupt",
        "TaskFailed GeneratorExit",
        "LookupError('x') ValueError",
    ], ran.err


def test_a_module_of_a_package_started_by_name(desk: Desk) -> None:
    desk.write(
        **{"pkg/__init__": "", "pkg/other": "def minus(a, b): return a - b"},
        **{
            "pkg/mod": """
            from executor import Executor
            from .other import minus

            def plus(a, b):
                return a + b

            if __name__ == "__main__":
                with Executor(URL, workers=2) as pool:
                    print(pool.submit(plus, 1, 2).result(), pool.submit(minus, 1, 2).result())
            """
        },
    )
    ran = desk.run("-m", "pkg.mod")
    assert (ran.out, ran.code) == ("3 -1\n", 0), ran.err


@pytest.mark.parametrize("first", ["pool", "function"])
def test_a_script_without_the_guard_is_told_to_have_one(desk: Desk, first: str) -> None:
    """Within seconds, wherever in the file the executor is made."""
    parts = {
        "pool": "from executor import Executor\npool = Executor(URL, workers=2)\n",
        "function": "def half(n):\n    return n // 2\n",
    }
    order = [first, *(part for part in parts if part != first)]
    desk.write(
        script="".join(parts[part] for part in order) + "print(pool.submit(half, 4).result())\n"
    )
    ran = desk.run("script.py", within=SECONDS)
    assert ran.code != 0
    assert 'put what the program does under  if __name__ == "__main__":' in ran.err
    assert "TasksUnloadable" in ran.err


def test_a_script_its_workers_cannot_import_fails_within_seconds(desk: Desk) -> None:
    """What went wrong there is shown, with its traceback."""
    desk.write(
        script="""
            from executor import Executor
            if __name__ != "__main__":
                import no_such_module_anywhere

            def half(n):
                return n // 2

            if __name__ == "__main__":
                with Executor(URL, workers=2) as pool:
                    print(pool.submit(half, 4).result())
            """
    )
    ran = desk.run("script.py", within=SECONDS)
    assert ran.code != 0
    assert "No module named 'no_such_module_anywhere'" in ran.err
    assert "TasksUnloadable" in ran.err


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("raise SystemExit(5)", 5), ("import os; os._exit(6)", 6)]
)
def test_leaving_without_a_shutdown_leaves_nothing_running(
    desk: Desk, ending: str, code: int
) -> None:
    """Not even the task that runs at that moment, however long it would take."""
    desk.write(
        script=f"""
            import time
            from executor import Executor
            if __name__ == "__main__":
                pool = Executor(URL, workers=2)
                print(pool.submit(abs, -1).result())
                pool.submit(time.sleep, 600)
                pool.submit("nobody.offers.this")
                {ending}
            """
    )
    ran = desk.run("script.py", within=30.0)
    assert (ran.out if code != 6 else "1\n", ran.code) == ("1\n", code), ran.err
    if code != 6:
        assert "2 requests were open when the program ended" in ran.err


def test_shutdown_without_waiting_lets_the_results_come_before_the_program_ends(
    desk: Desk,
) -> None:
    """As with the standard library's pools."""
    desk.write(
        script="""
            import time
            from executor import Executor
            if __name__ == "__main__":
                pool = Executor(URL, workers=2)
                futures = [pool.submit(abs, -n) for n in range(3)]
                for future in futures:
                    future.add_done_callback(lambda done: print(done.result(), flush=True))
                pool.shutdown(wait=False)
            """
    )
    ran = desk.run("script.py")
    assert (sorted(ran.out.split()), ran.code) == (["0", "1", "2"], 0), ran.err


def test_a_forked_child_ends_without_touching_the_workers(desk: Desk) -> None:
    """It has the executor's memory and none of its threads."""
    desk.write(
        script="""
            import os, sys
            from executor import Executor
            if __name__ == "__main__":
                with Executor(URL, workers=2) as pool:
                    print(pool.submit(abs, -1).result(), flush=True)
                    child = os.fork()
                    if child == 0:
                        sys.exit(0)
                    _, status = os.waitpid(child, 0)
                    print(status, pool.submit(abs, -2).result())
            """
    )
    ran = desk.run("script.py")
    assert (ran.out.split(), ran.code) == (["1", "0", "2"], 0), ran.err


def test_a_function_that_only_the_script_has_is_told_so_within_seconds(desk: Desk) -> None:
    """Defined under the guard, it is not there when a worker imports the file."""
    desk.write(
        shop="""
        from executor import Executor

        if __name__ == "__main__":
            def price():
                return 1

            with Executor(URL, workers=2) as executor:
                print(repr(executor.submit(price).exception(20)))
        """
    )
    ran = desk.run("shop.py")
    assert "TasksUnloadable" in ran.out
    assert "shop has no 'price'" in ran.out
