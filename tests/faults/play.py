"""One play, in this process: ``python -m tests.faults.play CODE VARIANT BROKER SEED SIZE FOLDER``.

The variant is ``-`` where there is but one. Writes the result into the folder; what the processes
said stays there too if it did not pass.
"""

from __future__ import annotations

import faulthandler
import logging
import shutil
import sys
import time
import traceback
from pathlib import Path

from tests.faults.result import Result, circumstances
from tests.faults.scenario import Play
from tests.faults.scenarios import SCENARIOS


def main(code: str, variant: str, broker: str, seed: str, size: str, folder: str) -> int:
    """Play; 0 if it passed."""
    scenario = SCENARIOS[code]
    result = Result(code, variant.strip("-"), broker, int(seed), size, of=circumstances())
    aside = Path(folder) / result.file_name.removesuffix(".json")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    faulthandler.enable()
    logging.basicConfig(filename=aside / "executor.log", level=logging.INFO)
    began = time.monotonic()
    try:
        with Play(scenario.quick if size == "quick" else scenario.full, result, aside) as play:
            # What to write if it is killed for taking too long.
            faulthandler.dump_traceback_later(play.size["deadline"] - 2, file=sys.stderr)
            if play.server is not None:
                result.of["server"] = play.server_version()
            scenario.play(play)
    except Exception:
        result.problems.append(f"the play ended with:\n{traceback.format_exc()}")
    faulthandler.cancel_dump_traceback_later()
    result.seconds = round(time.monotonic() - began, 1)
    result.write(Path(folder))
    if not result.problems:
        shutil.rmtree(aside, ignore_errors=True)
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
