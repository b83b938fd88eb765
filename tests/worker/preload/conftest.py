"""A package that is installed beside everything, and programs that are preloaded or are not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.commands import Command, CommandEnd, end_from_json
from tests.samples.told import install
from worker.command import run
from worker.preload import kept
from worker.preload.templates import Template


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module ``told`` and its console script, as pip would have installed it."""
    scripts = install(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # or nothing is ever left to be flushed
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


class Keeping:
    """Templates of this process, as a host has one."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self._templates: list[Template] = []

    def __call__(self, *modules: str) -> Template:
        """Keep one of these modules from now on."""
        template = Template(modules, self.started.append)
        self._templates.append(template)
        kept.keep(template)
        return template

    def end(self) -> None:
        """Keep none."""
        kept._templates.clear()
        for template in self._templates:
            template.end()


@pytest.fixture
def keeping(installed: Path) -> Iterator[Keeping]:
    """Has this process keep a template until the end of the test."""
    keeping = Keeping()
    yield keeping
    keeping.end()


@pytest.fixture
def ended(tmp_path: Path) -> Callable[..., CommandEnd]:
    """Runs a command here and now."""

    def to_its_end(command: Any, **how: Any) -> CommandEnd:
        files = {"stdout": str(tmp_path / "out"), "stderr": str(tmp_path / "err")}
        end = end_from_json(run(**Command(command, **{**files, **how}).to_json()))
        assert end is not None
        return end

    return to_its_end
