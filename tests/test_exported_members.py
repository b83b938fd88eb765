"""What a user may rely on is in ``__all__``: there, sorted, and nothing public beside it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import pytest

PACKAGES = [
    *("protocol", "bus.news", "bus.news.toil", "bus.wire", "bus.wire.testing", "worker"),
    *("executor", "executor.batch"),
]
FLOORS = {package.split(".")[0] for package in PACKAGES}


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> ModuleType:
    """Each package a user, or the floor above, imports from."""
    return import_module(request.param)


def test_the_export_list_is_sorted_and_names_nothing_twice(package: ModuleType) -> None:
    assert package.__all__ == sorted(set(package.__all__))


def test_everything_in_the_export_list_is_there(package: ModuleType) -> None:
    """Also what is loaded only when it is asked for."""
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_nothing_of_ours_is_missing_from_the_export_list(package: ModuleType) -> None:
    """What the package needs for itself from elsewhere is no export, and neither are modules."""
    ours = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and (getattr(value, "__module__", None) or "").split(".")[0] in FLOORS
    }
    assert ours - set(package.__all__) == set()
