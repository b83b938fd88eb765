"""What is printed: on a terminal, elsewhere, and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator

import pytest
from rich.console import Console

from executor import WorkerInfo
from executor.demo.library import library_folder
from executor.demo.report import MAX_WIDTH, Report
from protocol.failure import from_exception, to_exception
from tests.executor.demo.surveys import made_up

WORKERS = [
    WorkerInfo(f"hare-{number}", "native", "0" * 16, {}, slots=1, open=0, silent=0.0)
    for number in (11, 22)
]
LONG = f"{library_folder()}/{'very_' * 30}long.py"


def console(**settings: object) -> Console:
    """A console that keeps what is written to it."""
    return Console(file=io.StringIO(), highlight=False, **settings)  # type: ignore[arg-type]


def run(report: Report, files: int = 20) -> None:
    """A run in which every file but the last is surveyed."""
    report.begin(WORKERS, files)
    for number in report.watch(range(files), files):
        if number == files - 1:
            report.fail("/tmp/broken.py", remote_error())
        else:
            path = LONG if number == 3 else f"{library_folder()}/file{number}.py"
            report.add(made_up(path, complexity=number + 1, worker=11 + 11 * (number % 2)))
    report.close()


def remote_error() -> Exception:
    """A SyntaxError as it comes from a worker."""
    try:
        compile("def greet(name:\n", "broken.py", "exec")
    except SyntaxError as error:
        return to_exception(from_exception(error), "hare-22")
    raise AssertionError


def printed(to: Console) -> str:
    """What has been written to this console."""
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_report_says_everything_in_100_columns(width: int, terminal: bool) -> None:
    """The totals, ten files, the failure with its remote traceback, and each worker's share."""
    to = console(width=width, force_terminal=terminal, color_system=None)
    run(Report(console=to))
    text = printed(to)
    said = ["hare-11, hare-22", "20 files on 2 workers", "files surveyed", "tasks/s", "1,900"]
    said += ["tasks of worker 11", "tasks of worker 22", "The most complex files"]
    said += [
        "broken.py failed in worker hare-22",
        "Traceback (most recent call last)",
        "SyntaxError: ",
    ]
    said += ["test_report.py", "fewer than"]
    assert [words for words in said if words not in text] == []
    tables = text[text.index("broken.py failed") :].splitlines()
    assert max(map(len, tables)) <= MAX_WIDTH
    assert sum(" Some.method " in line or " Some.met" in line for line in tables) == 10


def test_without_a_terminal_each_tenth_is_a_plain_line() -> None:
    to = console()
    run(Report(console=to), files=735)
    lines = [line for line in printed(to).splitlines() if "of 735 files" in line]
    assert [int(line.split()[0]) for line in lines] == [
        74, 147, 221, 294, 368, 441, 515, 588, 662, 735,
    ]  # fmt: skip
    assert lines[-1].endswith("1 failed")
    assert "\x1b" not in printed(to)
    assert "fewer than" not in printed(to)


def test_on_a_terminal_there_is_a_bar_that_comes_to_its_end() -> None:
    to = console(width=100, force_terminal=True)
    run(Report(console=to))
    assert "\x1b" in printed(to)
    assert "20/20" in printed(to)
    assert "━" in printed(to)


def test_a_run_that_is_broken_off_leaves_the_terminal_as_it_was() -> None:
    """The cursor is shown again."""
    to = console(width=100, force_terminal=True)
    report = Report(console=to)
    report.begin(WORKERS, 3)

    def broken_off() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch_all(report, broken_off())
    assert printed(to).rindex("\x1b[?25h") > printed(to).rindex("\x1b[?25l")


def watch_all(report: Report, ended: Iterable[int]) -> None:
    """Watch and do nothing."""
    for _ in report.watch(ended, 3):
        pass


def test_as_json_there_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    run(Report(as_json=True))
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["files"], told["failed"], err) == (19, 1, "")
    assert told["tasks_per_worker"] == {"11": 10, "22": 9}
    assert told["failures"][0]["type"] == "SyntaxError"
    assert "test_report.py" in told["failures"][0]["traceback"]


def test_a_failure_that_nobody_remote_raised_is_shown_as_well() -> None:
    to = console()
    report = Report(console=to)
    report.begin(WORKERS, 1)
    watch_all(report, [1])
    report.fail("/tmp/a[1].py", TimeoutError("nobody came"))
    report.close()
    assert "a[1].py failed" in printed(to)
    assert "TimeoutError: nobody came" in printed(to)
