"""A package as pip installs it, whose console script runs what it is told: to be preloaded."""

from __future__ import annotations

import sys
from pathlib import Path

#: It knows in which process it was imported.
_MODULE = """
import io
import os
import sys

IMPORTED_IN = os.getpid()


class Keeps:
    'Every class is in a ring, which only a collector takes away.'

    things = []


class Through(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        return os.write(1, data)


WRITER = Keeps.writer = io.BufferedWriter(Through())


def main():
    code = compile(sys.argv.pop(1), "<told>", "exec")
    exec(code, sys.modules["__main__"].__dict__)


if __name__ == "__main__":
    main()
"""
_SCRIPT = """#!{python}
import sys
from told import main
if __name__ == "__main__":
    sys.exit(main())
"""


def install(folder: Path) -> Path:
    """Make it: ``told CODE ARGUMENTS…``, of the module ``told`` in this folder; the script's."""
    (folder / "told.py").write_text(_MODULE)
    info = folder / "told-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: told\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\ntold = told:main\n")
    script = folder / "bin" / "told"
    script.parent.mkdir()
    script.write_text(_SCRIPT.format(python=sys.executable))
    script.chmod(0o755)
    return script.parent
