"""``python -m executor``, from the words typed to the exit code, with a worker on a real broker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.wire import listener
from executor.cli import main
from tests.samples import gate
from worker.service import Worker

TASKS = "tests.samples.tasks"
GATE = "tests.samples.gate"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker with a worker on it that offers the samples."""
    url = f"local://{tmp_path_factory.mktemp('cli') / 'broker'}"
    with Worker([TASKS, GATE], url=url, pool="threads", concurrency=2, name="hare"):
        yield url


@pytest.fixture
def empty_url(local_path: Path) -> str:
    """A broker with nobody on it."""
    return f"local://{local_path}"


def submit(url: str, *words: str) -> int:
    """``submit`` what the samples offer."""
    return main(["submit", f"--url={url}", f"{TASKS}:{words[0]}", *words[1:]])


class TestSubmit:
    """``submit``."""

    def test_prints_the_result(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Arguments by position and by name, options between them."""
        assert submit(url, "add", "20", "--timeout", "30", "y=22") == 0
        assert capsys.readouterr() == ("42\n", "")

    def test_prints_text_as_it_is_and_anything_else_as_json(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Letters beyond ASCII are not written as numbers."""
        assert submit(url, "large", "3") == 0
        assert submit(url, "echo", '"ö"', "a=null") == 0
        assert capsys.readouterr().out == 'xxx\n[["ö"], {"a": null}]\n'

    def test_prints_an_int_that_python_would_not(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """All 5,001 digits of it."""
        assert submit(url, "huge_int") == 0
        assert capsys.readouterr().out == "1" + "0" * 5000 + "\n"

    def test_takes_a_wire_name_as_well(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        """The same task, by the name that travels."""
        assert main(["submit", f"{TASKS}.add", "1", "--url", url]) == 0
        assert capsys.readouterr().out == "1\n"

    def test_as_json_tells_which_request_it_was(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """For a success."""
        assert submit(url, "add", "1", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert re.fullmatch(r"[0-9a-f-]{36}", told.pop("uuid"))
        assert told == {"task": f"{TASKS}.add", "state": "SUCCESS", "result": 1}

    def test_a_failure_is_1_with_the_remote_traceback_on_the_standard_error(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The cause of it included, and nothing on the standard output."""
        assert submit(url, "fail", '"bad"') == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "worker hare" in err
        assert "Traceback (most recent call last):" in err
        assert "tasks.py" in err
        assert "KeyError: 'missing'" in err
        assert err.rstrip().endswith("ValueError: ('bad', 42)")

    def test_a_failure_as_json(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        """With its causes."""
        assert submit(url, "fail", '"bad"', "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert told["state"] == "FAILURE"
        failure = told["failure"]
        assert (failure["type"], failure["worker"]) == ("ValueError", "hare")
        assert [cause["type"] for cause in failure["causes"]] == ["KeyError"]

    def test_wrong_arguments_are_a_failure_from_the_worker(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Names are checked there."""
        assert submit(url, "add", "z=1") == 1
        assert "TypeError" in capsys.readouterr().err

    def test_what_nobody_offers_is_3_and_says_what_is_offered(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With the nearest names."""
        assert submit(url, "adds", "1", "--timeout", "1", "--json") == 3
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert (told["state"], told["failure"]["type"]) == ("WAITING", "RequestTimeout")
        assert f"{TASKS}.add" in err

    def test_what_runs_for_too_long_is_3_and_does_not_keep_us(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It goes on, and ends here when the file is there."""
        file = tmp_path / "go"
        try:
            words = ["wait_for_file", json.dumps(str(file)), "--timeout", "1.5", "--json"]
            assert submit(url, *words) == 3
        finally:
            file.touch()
        out, err = capsys.readouterr()
        assert json.loads(out)["state"] == "RUNNING"
        assert "had not ended after 1.5 s" in err

    @pytest.mark.parametrize(
        "words", [["add", "cat"], ["add", "--timeout", "0"], ["add", "--timeout", "soon"], ["a:b"]]
    )
    def test_what_cannot_be_understood_is_2_before_anything_is_connected(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whether argparse says so or we do."""
        assert code_of(lambda: submit("local://nonsense", *words)) == 2
        assert capsys.readouterr().err

    def test_a_url_that_no_broker_has_is_2(self, capsys: pytest.CaptureFixture[str]) -> None:
        """And says which there are."""
        assert submit("http://example.org", "add", "1") == 2
        assert "redis://" in capsys.readouterr().err


class TestWorkers:
    """``workers``."""

    def test_lists_who_answers(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        """As a table."""
        assert main(["workers", "--url", url]) == 0
        out = capsys.readouterr().out
        assert "hare" in out
        assert "default" in out
        assert "add" in out

    def test_as_json(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        """As ``WorkerInfo`` has it."""
        assert main(["workers", "--json", "--url", url]) == 0
        (told,) = json.loads(capsys.readouterr().out)
        assert (told["name"], told["dialect"], told["slots"]) == ("hare", "native", 2)
        assert f"{TASKS}.add" in told["topics"]["default"]
        assert re.fullmatch(r"[0-9a-f]{16}", told["boot"])
        assert 0 <= told["silent"] < 60

    def test_nobody_is_an_answer_that_says_what_to_do(
        self, empty_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In words and as JSON."""
        assert main(["workers", "--wait", "0.2", "--url", empty_url]) == 0
        assert "Start one with: python -m worker MODULE" in capsys.readouterr().out
        assert main(["workers", "--wait", "0.2", "--url", empty_url, "--json"]) == 0
        assert capsys.readouterr().out == "[]\n"

    def test_workers_of_other_topics_are_hinted_at(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """They answer, but not to us."""
        assert main(["workers", "--wait", "1", "--topic", "elsewhere", "--url", url]) == 0
        assert "other topics" in capsys.readouterr().out


class TestCommands:
    """What all commands have in common."""

    def test_the_environment_stands_in_for_flags(
        self, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And a flag wins over it."""
        monkeypatch.setenv("TASKLINE_URL", url)
        assert main(["submit", f"{TASKS}:add", "1"]) == 0
        monkeypatch.setenv("TASKLINE_URL", "nonsense://")
        assert main(["submit", f"{TASKS}:add", "1", "--url", url]) == 0
        assert capsys.readouterr().out == "1\n1\n"

    @pytest.mark.parametrize("words", [[], ["sumbit"], ["--url", "x", "workers"], ["demo", "more"]])
    def test_an_unknown_command_is_2(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With a usage line."""
        assert code_of(lambda: main(words)) == 2
        assert "usage: taskline" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [[], ["submit"], ["workers"], ["demo"]])
    def test_help_tells_the_exit_codes(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And every command has an example."""
        assert code_of(lambda: main([*words, "--help"])) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "3 no answer in time" in out
        assert not words or f"example: taskline {words[0]}" in out

    def test_a_broker_that_is_not_there_is_4(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Port 9 of this machine discards, if anything is there at all."""
        monkeypatch.setattr(listener, "START_TIMEOUT", 0.5)
        assert main(["workers", "--url", "redis://:secret@127.0.0.1:9/0"]) == 4
        err = capsys.readouterr().err
        assert "127.0.0.1:9" in err
        assert "secret" not in err

    def test_ctrl_c_is_130_without_a_word_of_python(self, url: str) -> None:
        """And at once, although the task goes on."""
        process = subprocess.Popen(
            [sys.executable, "-m", "executor", "submit", f"{GATE}:walk_through", "--url", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert gate.BEGUN.wait(30)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == ("", "")
        finally:
            gate.OPEN.set()
            process.kill()
        assert process.returncode == 130


def code_of(call: Any) -> int:
    """The exit code, whether it is returned or raised."""
    try:
        return int(call())
    except SystemExit as error:
        return int(error.code or 0)
