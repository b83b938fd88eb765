"""What it costs to import the fault kit: nothing that a user's tests would not have anyway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_it_loads_neither_kombu_nor_pytest(tmp_path: Path) -> None:
    program = (
        "import sys, bus.wire.testing\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'kombu', 'amqp', 'redis', 'pytest', '_pytest', 'protocol'}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True
    )
    assert said.stdout.decode().strip() == "[]"
