"""``python -m benchmarks.account [--results DIR] [BROKER …]``: a minute for each broker.

Plays our default setting with 1,000 requests open, and looks meanwhile with py-spy at what its
processes do. Leaves a file for each broker, from which ``python -m benchmarks --report`` writes a
section of docs/performance.md. Where ptrace is restricted py-spy may not look: then it says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import runner
from benchmarks.account import files, stacks
from benchmarks.account.files import Account
from benchmarks.cells import Cell, Sitting
from benchmarks.options import add_results
from benchmarks.sizes import SIZES

BROKERS: Final = ("redis", "amqp")
RATE: Final = 200  # looks a second


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, and look; the exit code is 1 if nothing was seen."""
    options = _parser().parse_args(arguments)
    failed = False
    for broker in options.brokers or BROKERS:
        account = _account(broker)
        if isinstance(account, str):
            print(f"{broker}: {account}", file=sys.stderr)
            failed = True
        else:
            print(files.write(account, options.results))
    return int(failed)


def _account(broker: str) -> Account | str:
    """What was seen, or why there is nothing."""
    with tempfile.TemporaryDirectory(prefix="taskline-account-") as folder:
        raw = Path(folder, "looks")
        looking = [*_PY_SPY, "--rate", str(RATE), "--output", str(raw), "--"]
        sitting = Sitting("account", (Cell("throughput", broker, "taskline", "default"),))
        (result,) = runner.run([sitting], SIZES["account"], 1, looking)
        if result.problem:
            return result.problem
        if not raw.exists():
            return "py-spy has written nothing: may it look at processes (ptrace_scope)?"
        seen = stacks.read(raw.read_text())
    cpu = {
        part: result.figures[f"cpu_{part}"] * 1000 for part in ("submitter", "workers", "broker")
    }
    rows = [(side, room, looks) for (side, room), looks in seen.most_common()]
    return Account(broker, cpu, rows, result.of)


#: Without stopping whom it looks at: a few looks are wrong then, and none changes what is measured.
_PY_SPY: Final = (
    *("py-spy", "record", "--subprocesses", "--nonblocking"),
    *("--format", "raw", "--full-filenames"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.account", description=__doc__)
    parser.add_argument("brokers", nargs="*", choices=[*BROKERS, []], metavar="BROKER")
    add_results(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
