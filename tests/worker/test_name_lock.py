"""The lock of a worker's name, and whom its holder may call dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from protocol.topology import Names
from tests.processes import wait_until
from worker import name_lock
from worker.name_lock import STALE, NameLock, default_folder

FIRST, SECOND, THIRD = (letter * 16 for letter in "abc")


def lock(folder: Path, boot: str, name: str = "hare") -> NameLock:
    """Of the exchange of these tests."""
    return NameLock(Names("native", "test").exchange, name, boot, folder)


def left(folder: Path, boot: str, name: str = "hare") -> None:
    """Somebody held it and has ended."""
    holder = lock(folder, boot, name)
    holder.take()
    holder.release()


def only_file(folder: Path) -> Path:
    """The one there."""
    (path,) = folder.iterdir()
    return path


def test_the_first_of_a_name_replaces_nobody_and_its_successor_the_first(tmp_path: Path) -> None:
    for boot, earlier in ((FIRST, None), (SECOND, FIRST), (THIRD, SECOND)):
        holder = lock(tmp_path / "locks", boot)
        assert holder.take() == earlier
        holder.release()
        holder.release()


def test_nothing_is_said_while_another_holds_the_name(tmp_path: Path) -> None:
    first, beside = lock(tmp_path / "locks", FIRST), lock(tmp_path / "locks", SECOND)
    assert first.take() is None
    assert first.take() is None
    assert beside.take() is None
    first.release()
    assert beside.take() == FIRST


def test_names_and_exchanges_are_told_apart(tmp_path: Path) -> None:
    for exchange, name in (("a", "b"), ("a", "c"), ("b", "b"), ("a.b", "c"), ("a", "b.c")):
        held = NameLock(exchange, name, FIRST, tmp_path / "locks")
        assert held.take() is None
        held.release()


def test_a_file_of_nonsense_names_nobody(tmp_path: Path) -> None:
    left(tmp_path / "locks", FIRST)
    path = only_file(tmp_path / "locks")
    for nonsense in (b"", b"a" * 15, b"a" * 17, b"x" * 16, b"\xff" * 900):
        path.write_bytes(nonsense)
        held = lock(tmp_path / "locks", SECOND)
        assert held.take() is None
        held.release()
        assert path.read_bytes() == SECOND.encode()


def test_it_is_the_users_own_and_readable_by_nobody_else(tmp_path: Path) -> None:
    left(tmp_path / "locks", FIRST)
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
    assert only_file(tmp_path / "locks").stat().st_mode & 0o777 == 0o600


def test_where_there_can_be_no_file_nobody_is_replaced_and_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert lock(tmp_path / "file", FIRST).take() is None
    assert lock(tmp_path / "file" / "below", FIRST).take() is None
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "other").touch()
    shared.chmod(0o777)
    assert lock(shared, FIRST).take() is None
    monkeypatch.setattr(name_lock, "default_folder", lambda: Path("not/absolute"))
    assert NameLock("test", "hare", FIRST).take() is None


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    left(folder, FIRST)
    path = only_file(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert lock(folder, SECOND).take() is None
    assert (tmp_path / "elsewhere").read_text() == FIRST


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_RUNTIME_DIR": "/run/me", "XDG_CACHE_HOME": "/c"}, "/run/me/taskline/workers"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/taskline/workers"),
        ({"HOME": "/home/me"}, "/home/me/.cache/taskline/workers"),
    ],
)
def test_the_folder_is_where_the_user_keeps_such_things(
    environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(folder)


def test_what_a_holder_has_started_does_not_hold_the_name_after_it(tmp_path: Path) -> None:
    """Hosts outlive a worker that was killed, by a moment or longer."""
    first = lock(tmp_path / "locks", FIRST)
    first.take()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        first.release()
        assert lock(tmp_path / "locks", SECOND).take() == FIRST
        child.kill()


_HOLDER = """
import sys
from pathlib import Path
from worker.name_lock import NameLock
print(NameLock("test", "hare", sys.argv[1], Path(sys.argv[2])).take(), flush=True)
input()
"""


def test_a_holder_that_is_killed_is_replaced_at_once(tmp_path: Path) -> None:
    folder = str(tmp_path / "locks")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, FIRST, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "None\n"
        assert lock(tmp_path / "locks", SECOND).take() is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert lock(tmp_path / "locks", THIRD).take() == FIRST


def test_names_that_nobody_has_held_for_long_are_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    held = lock(folder, FIRST, "held")
    held.take()
    left(folder, FIRST, "left")
    before = time.time() - STALE - 1
    for path in folder.iterdir():
        os.utime(path, (before, before))
    (folder / "a-folder").mkdir()
    newcomer = lock(folder, SECOND, "newcomer")
    newcomer.take()
    names = sorted(path.name.split("@")[1] for path in folder.iterdir() if path.is_file())
    assert names == ["held", "newcomer"]
    assert lock(folder, THIRD, "held").take() is None
    held.release()
    wait_until(lambda: lock(folder, THIRD, "held").take() == FIRST, "the lock")
