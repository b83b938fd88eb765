"""Run them: ``CWL_V1_2=CHECKOUT python -m tests.cwl [OPTIONS OF toil-cwl-runner]``.

The exit code is 0 if no test fails but those that fail on Toil's single_machine as well, 1 if
another one does, 2 if nothing could be run. Without options they run with ``--batchSystem
taskline``; ``--batchSystem single_machine`` is what they are compared with. Takes some ten minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.cwl.verdict import verdict_of

SUITE: Final = "conformance_tests.yaml"
HOW_TO_GET: Final = """\
CWL_V1_2 is {found}. The tests are not ours, and not copied here: get them with

    git clone https://github.com/common-workflow-language/cwl-v1.2
    CWL_V1_2=$PWD/cwl-v1.2 tox -e cwl"""
#: Beside ``cwltest``: what the tests start, and what the tools in them do.
PROGRAMS: Final = ("cwltest", "toil-cwl-runner", "node")
TIMEOUT: Final = 180  # seconds for each test, most of which are Toil's to come up
#: Nothing is left in the suite's folder, and no container is asked for.
USUAL: Final = (
    "--caching=false",
    "--clean=always",
    "--logLevel=ERROR",
    "--no-container",
    "--retryCount=0",
)


def main(options: list[str]) -> int:
    """Run them; the exit code."""
    folder = os.environ.get("CWL_V1_2")
    if not folder or not Path(folder, SUITE).is_file():
        found = f"{folder}, which has no {SUITE}" if folder else "not set"
        print(HOW_TO_GET.format(found=found), file=sys.stderr)
        return 2
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        print(f"not on the PATH: {', '.join(absent)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="taskline-cwl-") as aside:
        report = Path(aside, "report.xml")
        subprocess.run(
            [
                *("cwltest", "--test", SUITE, "--tool", "toil-cwl-runner", "--tags", "required"),
                *("-j", "2", "--timeout", str(TIMEOUT), "--junit-xml", str(report), "--"),
                *(options or ["--batchSystem", "taskline"]),
                *USUAL,
            ],
            cwd=folder,
            check=False,  # it is 1 for those as well that are known to fail
            env={**os.environ, "TMPDIR": aside, "TOIL_HISTORY": "0"},
        )
        if not report.is_file():
            print("cwltest has ended without a report: see above", file=sys.stderr)
            return 2
        verdict = verdict_of(report.read_text())
    print(verdict)
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
