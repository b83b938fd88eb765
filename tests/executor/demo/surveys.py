"""Surveys of files that do not exist, for those who add up and print."""

from __future__ import annotations

from executor.demo.survey import FileSurvey


def made_up(
    path: str, *, complexity: int = 1, worker: int = 1, seconds: float = 0.001
) -> FileSurvey:
    """A survey of 100 bytes and 10 lines."""
    return {
        "path": path,
        "bytes": 100,
        "sha256": f"{complexity:064x}",
        "lines": 10,
        "functions": 3,
        "classes": 2,
        "complexity": complexity,
        "worst": {"name": "Some.method", "line": 5, "complexity": complexity - 1},
        "seconds": seconds,
        "worker": worker,
    }
