"""What ``docs/batch-systems.md`` shows can be run as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from executor.batch import BatchSystem, ExitReason
from tests.processes import PROJECT, WorkerProcess

PAGE = PROJECT / "docs" / "batch-systems.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

PROGRAM = """
if __name__ == "__main__":
BLOCKS
    print("all of it", flush=True)
"""


def test_its_examples_are_one_program_that_runs(tmp_path: Path) -> None:
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 7
    program = PROGRAM.replace("BLOCKS", textwrap.indent("\n".join(blocks), " " * 4))
    (tmp_path / "program.py").write_text(program)
    with WorkerProcess(folder=tmp_path, command=("program.py",)) as process:
        assert process.exit_code(100) == 0, process.said
        assert "all of it" in process.said


def test_every_method_and_every_reason_is_on_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    methods = [name for name in vars(BatchSystem) if not name.startswith("_")]
    assert [name for name in methods if name not in page] == []
    assert [reason.name for reason in ExitReason if f"`{reason.name}`" not in page] == []
