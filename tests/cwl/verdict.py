"""What came of a run of CWL's conformance tests. Pure.

Decided here: which failures are not ours. Those fail in the same way on Toil's own single_machine.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final

#: By its name in the suite, and why it fails, whatever Toil runs its jobs on. Seen with Toil 9.6.0
#: and the suite of 2026-03-21.
KNOWN: Final = {
    "cwloutput_nolimit": "its tool requires a container, and tests run without",
    "filename_with_hash_mark": "Toil allows no such name of a file unless it is told to",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one run."""

    #: Names in the suite, all of them.
    passed: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def new(self) -> list[str]:
        """What failed, and is not known to."""
        return [name for name in self.failed if name not in KNOWN]

    @property
    def mended(self) -> list[str]:
        """What is known to fail, and has passed."""
        return [name for name in self.passed if name in KNOWN]

    @property
    def is_good(self) -> bool:
        """Whether something was run, and nothing failed that passes elsewhere."""
        return bool(self.passed) and not self.new

    def __str__(self) -> str:
        lines = [f"{len(self.passed)} of {len(self.passed) + len(self.failed)} passed"]
        for name in self.failed:
            known = f"known: {KNOWN[name]}" if name in KNOWN else "NOT KNOWN TO FAIL"
            lines.append(f"failed: {name} ({known})")
        lines += [f"passed, and was known to fail: {name}" for name in self.mended]
        return "\n".join(lines)


def verdict_of(report: str) -> Verdict:
    """Of what ``cwltest --junit-xml`` has written; raises ``ParseError`` for what is no XML."""
    passed: list[str] = []
    failed: list[str] = []
    for case in ET.fromstring(report).iter("testcase"):
        # Its name in the suite is where others name a file.
        name = case.get("file") or case.get("name") or "?"
        is_well = all(case.find(bad) is None for bad in ("failure", "error", "skipped"))
        (passed if is_well else failed).append(name)
    return Verdict(tuple(passed), tuple(failed))
