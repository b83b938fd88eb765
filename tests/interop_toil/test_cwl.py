"""CWL of our own through ``toil-cwl-runner``, here and with workers on a Redis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop_toil.site import PATIENCE, Site

pytest.importorskip(
    "toil.cwl.cwltoil", reason="the peer of these tests is not installed: toil[cwl]"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

FOLDER = Path(__file__).with_name("cwl")


def test_a_scatter_over_a_workflow_has_each_file_and_all_together(staffed: Site) -> None:
    texts = {f"text-{number}.txt": f"pear {number}\napple {number}\n" for number in range(3)}
    for name, text in texts.items():
        (staffed.folder / name).write_text(text)
    files = [{"class": "File", "location": str(staffed.folder / name)} for name in texts]
    (staffed.folder / "job.json").write_text(json.dumps({"texts": files}))
    out = staffed.folder / "out"
    with staffed.cwl(
        "--outdir", out, FOLDER / "letters.cwl", staffed.folder / "job.json"
    ) as leader:
        assert leader.exit_code(PATIENCE) == 0, leader.said
    shouted = {f"text-{n}.txt": f"APPLE {n}\nPEAR {n}\n" for n in range(3)}
    wanted = {**shouted, "together.txt": "".join(shouted.values())}
    assert {each.name: each.read_text() for each in out.iterdir()} == wanted
    assert list(staffed.work.iterdir()) == []


def test_a_tool_that_can_never_fit_ends_with_one_line_that_says_so(staffed: Site) -> None:
    with staffed.cwl("--retryCount", "0", FOLDER / "greedy.cwl") as leader:
        assert leader.exit_code(PATIENCE) == 1, leader.said
        assert "5000" in leader.said
        assert "more than the max" in leader.said or "the most that one worker has" in leader.said
