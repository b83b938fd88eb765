"""What the programs of the benchmarks are told alike: what one leaves another must find."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.ground import ROOT


def add_results(parser: argparse.ArgumentParser) -> None:
    """``--results DIR``."""
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "build" / "benchmarks",
        metavar="DIR",
        help="where the files are left, and the report finds them (build/benchmarks)",
    )
