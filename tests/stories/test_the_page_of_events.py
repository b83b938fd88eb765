"""What ``docs/events.md`` shows can be run as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.processes import PROJECT, WorkerProcess

PAGE = PROJECT / "docs" / "events.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ python -m executor (.*?)  +#", re.MULTILINE)

PROGRAM = """
from executor.cli import main

if __name__ == "__main__":
BLOCKS
    for command in COMMANDS:
        assert main([word for word in command.split() if word != "--follow"]) == 0
    print("all of it", flush=True)
"""


def test_its_examples_are_one_program_that_runs(tmp_path: Path, exchange: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(page)
    assert len(blocks) == 5
    commands = _COMMAND.findall(page)
    assert [command.split()[1] for command in commands] == ["tail", "status", "replay"]
    shown = "Executor(workers=2"
    assert shown in page
    ours = f"Executor('local://{tmp_path}/broker', exchange={exchange!r}, workers=2"
    program = PROGRAM.replace("COMMANDS", repr(commands))
    lines = "\n".join(blocks).replace(shown, ours)
    program = program.replace("BLOCKS", textwrap.indent(lines, " " * 4))
    (tmp_path / "program.py").write_text(program)
    with WorkerProcess(folder=tmp_path, command=("program.py",)) as process:
        assert process.exit_code(60) == 0, process.said
        assert "job sort-2 issued: sort, batch id 2" in process.said
        assert "all of it" in process.said
