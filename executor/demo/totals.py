"""What all surveys come to. Pure: surveys in, numbers out.

The SHA-256 of all is that of the files' own digests, by path: two machines with the same library
get the same one, whichever worker was faster.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from executor.demo.survey import FileSurvey

MOST_COMPLEX: Final = 10  # files that are listed


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums, and what stands out."""

    #: Files surveyed, without those that failed.
    files: int
    bytes: int
    lines: int
    functions: int
    classes: int
    complexity: int
    sha256: str
    #: From before the first was submitted to when the last had ended.
    seconds: float
    #: Files per second, those that failed included.
    tasks_per_second: float
    #: ``{process id of the worker: files surveyed}``, sorted.
    per_worker: Mapping[int, int]
    #: Most complex first.
    most_complex: Sequence[FileSurvey]
    #: What took its worker longest; None without any.
    slowest: FileSurvey | None
    #: ``{path: exception}``.
    failures: Mapping[str, Exception]

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        slowest = self.slowest
        return {
            "files": self.files,
            "failed": len(self.failures),
            "bytes": self.bytes,
            "lines": self.lines,
            "functions": self.functions,
            "classes": self.classes,
            "complexity": self.complexity,
            "sha256": self.sha256,
            "seconds": round(self.seconds, 3),
            "tasks_per_second": round(self.tasks_per_second, 1),
            "tasks_per_worker": {str(worker): n for worker, n in self.per_worker.items()},
            "slowest": slowest and {key: slowest[key] for key in ("path", "seconds")},
            "most_complex": list(self.most_complex),
            "failures": [_failure(path, error) for path, error in self.failures.items()],
        }


def add_up(
    surveys: Sequence[FileSurvey], failures: Mapping[str, Exception], seconds: float
) -> Totals:
    """The totals of a run that took ``seconds``."""
    by_path = sorted(surveys, key=lambda survey: survey["path"])
    digests = "".join(survey["sha256"] for survey in by_path)
    ended = len(surveys) + len(failures)
    return Totals(
        files=len(surveys),
        bytes=sum(survey["bytes"] for survey in surveys),
        lines=sum(survey["lines"] for survey in surveys),
        functions=sum(survey["functions"] for survey in surveys),
        classes=sum(survey["classes"] for survey in surveys),
        complexity=sum(survey["complexity"] for survey in surveys),
        sha256=hashlib.sha256(digests.encode()).hexdigest(),
        seconds=seconds,
        tasks_per_second=ended / seconds if seconds > 0 else 0.0,
        per_worker=dict(sorted(Counter(survey["worker"] for survey in surveys).items())),
        most_complex=sorted(by_path, key=lambda survey: -survey["complexity"])[:MOST_COMPLEX],
        slowest=max(by_path, key=lambda survey: survey["seconds"], default=None),
        failures=dict(failures),
    )


def _failure(path: str, error: Exception) -> dict[str, Any]:
    remote = getattr(error, "remote", None)
    return {
        "path": path,
        "type": type(error).__name__,
        "text": str(error),
        "worker": remote.worker if remote is not None else None,
        "traceback": remote.traceback if remote is not None else "",
    }
