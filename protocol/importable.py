"""What a module is called when others import it, also the one that runs as ``__main__``.

Decided here: that name, and nothing else. ``python -m package.module`` keeps it in the module's
``__spec__`` (PEP 451), a script has its file. Nothing is imported for it. Any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.errors import UnnameableTask


def importable_name(space: Mapping[str, Any]) -> str:
    """What the module with this namespace is called when others import it.

    Raises ``UnnameableTask`` for a ``__main__`` that has neither a ``__spec__`` nor a file.
    """
    name = space.get("__name__")
    if isinstance(name, str) and name != "__main__":
        return name
    spec = space.get("__spec__")
    if spec is not None and isinstance(spec.name, str):
        return spec.name
    file = space.get("__file__")
    if isinstance(file, str):
        stem = file.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
        if stem.isidentifier():
            return stem
    raise UnnameableTask(
        "a function was defined where no worker can import it (an interactive session, or a file "
        "whose name is no module name): move it to a module"
    )
