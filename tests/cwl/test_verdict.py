"""What is said of a run of CWL's tests, and when it is good."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cwl.verdict import KNOWN, Verdict, verdict_of
from tests.processes import PROJECT

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite name="conformance_tests" tests="3">
<testcase name="General test" file="cl_basic_generation"/>
<testcase name="A mark" file="filename_with_hash_mark"><failure>odd</failure></testcase>
<testcase name="Another" file="nested_types"><error>odd</error></testcase>
</testsuite></testsuites>
"""


def test_a_report_is_read_by_the_names_in_the_suite() -> None:
    found = verdict_of(REPORT)
    assert found == Verdict(("cl_basic_generation",), ("filename_with_hash_mark", "nested_types"))
    assert str(found).splitlines()[0] == "1 of 3 passed"
    assert "failed: nested_types (NOT KNOWN TO FAIL)" in str(found)


@pytest.mark.parametrize(
    ("passed", "failed", "is_good"),
    [
        (("a", "b"), (), True),
        (("a",), tuple(KNOWN), True),
        (("a",), ("b",), False),
        ((), tuple(KNOWN), False),
        ((), (), False),
    ],
)
def test_a_run_is_good_if_something_passed_and_nothing_new_failed(
    passed: tuple[str, ...], failed: tuple[str, ...], is_good: bool
) -> None:
    assert Verdict(passed, failed).is_good is is_good


def test_what_is_known_to_fail_and_passes_is_told() -> None:
    (first, *_) = KNOWN
    assert f"passed, and was known to fail: {first}" in str(Verdict((first,), ()))


@pytest.mark.parametrize("folder", [None, "/nowhere"])
def test_without_the_tests_it_is_said_how_to_get_them(
    folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CWL_V1_2", raising=False)
    if folder is not None:
        monkeypatch.setenv("CWL_V1_2", folder)
    command = [sys.executable, "-m", "tests.cwl"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "git clone https://github.com/common-workflow-language/cwl-v1.2" in done.stderr
    assert ("not set" if folder is None else "/nowhere, which has no") in done.stderr
