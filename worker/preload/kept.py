"""Which template this host keeps. A room of its own, for most hosts keep none and load no more.

A host's main thread only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.preload.templates import Template

_templates: list[Template] = []


def keep(template: Template) -> None:
    """From now on, commands that can run in a copy of this do."""
    _templates[:] = [template]


def kept() -> Template | None:
    """The template to be used; None: every command runs as a process of its own."""
    return _templates[0] if _templates else None
