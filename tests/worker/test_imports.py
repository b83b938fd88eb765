"""What importing ``worker`` costs a module of tasks: next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import worker

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import json, sys, threading
from worker import progress, task, task_event
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count()}))
"""


def test_task_and_progress_load_no_broker_no_pool_no_schemas_and_no_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    heavy = {"kombu", "amqp", "redis", "futurist", "jsonschema", "fastjsonschema", "asyncio", "bus"}
    assert not heavy & set(said["modules"])
    ours = [name for name in said["modules"] if name.partition(".")[0] in ("worker", "protocol")]
    assert ours == [
        "protocol",
        "protocol.errors",
        "protocol.importable",
        "protocol.rate",
        "protocol.resources",
        "protocol.retry",
        "protocol.size",
        "protocol.task",
        "protocol.values",
        "worker",
        "worker.context",
        "worker.payload",
    ]
    assert said["threads"] == 1


def test_the_exported_names_are_sorted_and_there() -> None:
    assert worker.__all__ == sorted(worker.__all__)
    assert all(getattr(worker, name) is not None for name in worker.__all__)


def test_worker_is_loaded_when_it_is_asked_for() -> None:
    assert worker.Worker.__module__ == "worker.service"


def test_a_name_there_is_not_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'worker' has no attribute 'nothing'"):
        worker.nothing  # noqa: B018
