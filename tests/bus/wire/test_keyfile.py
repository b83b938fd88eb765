"""Which key file is taken for secret, and how it is changed while everybody works."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from bus.wire.keyfile import LOOK, KeyFile
from protocol.errors import ConfigurationError

ONE, TWO = "11" * 32, "22" * 32


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """As an administrator does it: a new file in the place of the old."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file with one key."""
    return write(tmp_path / "keys", f"one: {ONE}\n")


def test_a_file_of_ours_alone_is_read(path: Path) -> None:
    file = KeyFile(path)
    assert file.keys().signs.id == "one"
    path.chmod(0o400)
    assert KeyFile(str(path)).keys().signs.id == "one"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o644, 0o610])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600"):
        KeyFile(path)


def test_what_is_no_file_or_not_there_is_refused_at_once(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file"):
        KeyFile(path.with_name("nowhere"))
    with pytest.raises(ConfigurationError, match="is no file"):
        KeyFile(path.parent)
    pipe = path.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ConfigurationError, match="is no file"):
        KeyFile(pipe)
    with pytest.raises(ConfigurationError, match="has more than"):
        KeyFile(write(path, "# \n" * 40_000))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="no text in UTF-8"):
        KeyFile(path)


def test_a_path_is_told_to_others_in_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    assert KeyFile("keys").path == path


def test_new_keys_are_read_while_everybody_works(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    file = KeyFile(path, clock=clock)
    write(path, f"two: {TWO}\none: {ONE}\n")
    assert file.keys().signs.id == "one"  # it was looked at a moment ago
    clock.now += LOOK
    with caplog.at_level(logging.INFO):
        assert file.keys().signs.id == "two"
    assert "signing with key two from now on; accepted: two, one" in caplog.text
    assert ONE not in caplog.text
    clock.now += LOOK
    write(path, f"two: {TWO}\n")
    assert list(file.keys().accepted) == ["two"]


def test_a_file_that_becomes_wrong_leaves_the_keys_in_force_and_is_told_of_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    file = KeyFile(path, clock=clock)

    def look() -> str:
        clock.now += LOOK
        return file.keys().signs.id

    write(path, f"two: {TWO}\n", mode=0o644)
    assert [look(), look(), look()] == ["one"] * 3
    path.unlink()
    assert [look(), look()] == ["one"] * 2
    write(path, "two: half\n")
    assert look() == "one"
    complaints = [record.getMessage() for record in caplog.records]
    assert len(complaints) == 3
    assert all(each.startswith("the keys read before stay in force") for each in complaints)
    write(path, f"two: {TWO}\n")
    assert look() == "two"
