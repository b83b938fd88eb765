"""A copy of a template is what a process of its own is, and ends as that ends."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.commands import CommandEnd
from tests.worker.preload.conftest import Keeping
from tests.worker.preload.ends import ENDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are nobody's here")

Run = Callable[..., CommandEnd]

#: What can be seen of a process from inside.
FACTS = """
import gc, inspect, json, locale, os, resource, signal, sys, tempfile, threading, time, warnings

main = sys.modules["__main__"]
facts = {
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "umask": os.umask(0),
    "parent": os.getppid(),
    "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "executable": [sys.executable, sys.prefix],
    "path": sys.path,
    "flags": repr(sys.flags),
    "main": {k: repr(v) for k, v in vars(main).items() if k.startswith("__")},
    "main_is": [__name__, main.__dict__ is globals()],
    "handlers": {n: repr(signal.getsignal(n)) for n in signal.valid_signals()},
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "pending": sorted(signal.sigpending()),
    "alarms": [signal.getitimer(n) for n in range(3)],
    "files": {n: os.path.realpath(f"/proc/self/fd/{n}") for n in range(64) if
              os.path.exists(f"/proc/self/fd/{n}")},
    "input": sys.stdin.read(),
    "streams": [
        [s.fileno(), s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.mode]
        for s in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "encodings": [sys.getfilesystemencoding(), locale.getpreferredencoding()],
    "locale": locale.setlocale(locale.LC_ALL),
    "threads": [t.name for t in threading.enumerate()] + [len(os.listdir("/proc/self/task"))],
    "is_main": threading.current_thread() is threading.main_thread(),
    "limits": {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource)
               if n.startswith("RLIMIT_")},
    "nice": os.nice(0),
    "cores": sorted(os.sched_getaffinity(0)),
    "spent_by_children": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
    "spent": time.process_time() < 2,
    "temporary": tempfile.gettempdir(),
    "zone": time.tzname,
    "handled": repr(sys.exc_info()),
    "recursion": sys.getrecursionlimit(),
    "collects": [gc.isenabled(), gc.get_threshold()],
    "warns": repr(warnings.filters),
    "hooks": [repr(sys.excepthook), repr(sys.displayhook), repr(sys.gettrace())],
    "ours": sorted(n for n in sys.modules if n.partition(".")[0] in ("worker", "protocol", "bus")),
    "is_there": "told" in sys.modules,
}
print(json.dumps(facts, default=str))
"""


def in_both(
    keeping: Keeping, ended: Run, command: Any, **how: Any
) -> tuple[CommandEnd, CommandEnd]:
    """Run it as a process of its own, and then in a copy."""
    alone = ended(command, **how)
    keeping("told")
    copied = ended(command, **how)
    assert keeping.started, "no template was started for it"
    return alone, copied


ADDRESS = re.compile("0x[0-9a-f]+")
WAYS = {
    "script": ["told"],
    "module": [sys.executable, "-m", "told"],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_what_can_be_seen_of_it_from_inside_is_the_same(
    way: str,
    is_elsewhere: bool,
    keeping: Keeping,
    ended: Run,
    installed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how: dict[str, Any] = {}
    if is_elsewhere:
        (installed / "there").mkdir()
        how["folder"] = str(installed / "there")
        how["environment"] = {
            "A": "ä\udcff",
            "TZ": "Asia/Tokyo",
            "TMPDIR": str(installed / "there"),
        }
        monkeypatch.setenv("TASKLINE_URL", "redis://:secret@here")
    before = os.umask(0o027)
    try:
        alone, copied = in_both(keeping, ended, [*WAYS[way], FACTS], **how)
    finally:
        os.umask(before)
    assert (alone.exit_status, alone.stderr_tail) == (0, "")
    assert (copied.exit_status, copied.stderr_tail) == (0, "")
    facts, theirs = (json.loads(ADDRESS.sub("", one.stdout_tail)) for one in (alone, copied))
    assert theirs.keys() == facts.keys()
    assert {name: theirs[name] for name in facts} == facts
    assert facts["ours"] == []
    assert facts["parent"] == os.getpid()
    assert facts["umask"] == 0o027


def test_it_runs_in_a_copy_and_not_where_its_module_was_imported(
    keeping: Keeping, ended: Run
) -> None:
    keeping("told")
    ran = ended(["told", "import os, told; print(told.IMPORTED_IN, os.getpid())"])
    imported_in, ran_in = map(int, ran.stdout_tail.split())
    assert [imported_in] == keeping.started
    assert ran_in != imported_in


def test_copies_share_nothing_that_changes(keeping: Keeping, ended: Run) -> None:
    keeping("told")
    code = "import random, told; print(hasattr(told, 'x'), random.random()); told.x = 1"
    said = [ended(["told", code]).stdout_tail.split() for _ in range(3)]
    assert [was_there for was_there, _ in said] == ["False"] * 3
    assert len({number for _, number in said}) == 3
    assert len(keeping.started) == 1


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_in_the_same_way(end: str, keeping: Keeping, ended: Run) -> None:
    """With the same exit status, and the same words on both streams."""
    code, status = ENDS[end]
    alone, copied = in_both(keeping, ended, ["told", code])
    assert (alone.exit_status, copied.exit_status) == (status, status)
    assert copied.stdout_tail == alone.stdout_tail
    assert ADDRESS.sub("", copied.stderr_tail) == ADDRESS.sub("", alone.stderr_tail)
    assert copied.left_over == alone.left_over


def test_so_does_a_module_that_ends_with_an_exception(keeping: Keeping, ended: Run) -> None:
    alone, copied = in_both(keeping, ended, [sys.executable, "-m", "told", "1/0"])
    assert (copied.exit_status, copied.stderr_tail) == (1, alone.stderr_tail)


def test_a_limit_of_the_host_is_the_copys(keeping: Keeping, ended: Run) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    keeping("told")
    ended(["told", code])
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        assert ended(["told", code]).stdout_tail == "100\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(keeping.started) == 1


def test_a_module_finds_its_own_package(keeping: Keeping, ended: Run, installed: Path) -> None:
    package = installed / "telling"
    package.mkdir()
    (package / "__init__.py").write_text("import os\nIN = os.getpid()\n")
    (package / "__main__.py").write_text("from . import IN\nprint(IN, __package__, __name__)\n")
    keeping("telling")
    end = ended([sys.executable, "-m", "telling"])
    assert end.stdout_tail == f"{keeping.started[0]} telling __main__\n"
