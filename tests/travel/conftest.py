"""Where workers of these tests find the tests' own tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import importable_tests


@pytest.fixture(scope="session", autouse=True)
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder from which ``tests…`` can be imported, on our own path as well."""
    with importable_tests(tmp_path_factory.mktemp("importable")) as folder:
        yield folder
