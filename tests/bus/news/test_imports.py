"""What comes along with the journal: nothing that carries messages."""

from __future__ import annotations

import os
import subprocess
import sys

ASK = "import sys, bus.news; print([n for n in ('kombu', 'bus.wire', 'rich') if n in sys.modules])"


def test_it_is_imported_without_kombu() -> None:
    """Whoever only wants to read a journal need not load a broker's library."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "[]\n"
