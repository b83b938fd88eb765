"""What ``docs/policies.md`` shows can be run as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.processes import PROJECT, WorkerProcess

PAGE = PROJECT / "docs" / "policies.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

PROGRAM = """
import shop
from executor import Executor

if __name__ == "__main__":
    with Executor(URL, exchange=EXCHANGE, workers=2) as executor:
        executor.wait_for_workers(2)
BLOCKS
    print("all of it", flush=True)
"""


def test_its_examples_are_one_program_that_runs(tmp_path: Path, exchange: str) -> None:
    page = PAGE.read_text(encoding="utf-8").partition("\n## Retries")[0]
    shop, *blocks = _BLOCK.findall(page)
    assert shop.startswith("# shop.py")
    assert len(blocks) == 6
    (tmp_path / "shop.py").write_text(shop)
    program = PROGRAM.replace("URL", repr(f"local://{tmp_path}/broker"))
    program = program.replace("EXCHANGE", repr(exchange))
    program = program.replace("BLOCKS", textwrap.indent("\n".join(blocks), " " * 8))
    (tmp_path / "program.py").write_text(program)
    with WorkerProcess(folder=tmp_path, command=("program.py",)) as process:
        assert process.exit_code(60) == 0, process.said
        assert "SUCCESS" in process.said
        assert "all of it" in process.said
