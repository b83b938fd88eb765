"""Imported by every Python with this folder on its path: from then on ``toil.bus`` is our bus."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module, and finds another one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == "toil.bus" else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return importlib.import_module("bus.news.toil")

    def exec_module(self, module: ModuleType) -> None:
        pass


sys.meta_path.insert(0, Instead())
