"""``dlq list``, ``show``, ``retry``, ``drop``, from the words typed to what is in the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.news import Journal, read
from executor.cli import main
from protocol.events import Discarded, Dispatched, Ended, Event, Round, Running, Submitted
from protocol.history import Entry, History
from protocol.retry import Retry
from tests.bus.news.writing import a_life, submitted

FIRST, SECOND, THIRD = "aaaa1111-0", "aaaa2222-0", "bbbb3333-0"
FAILURE = {
    "exception_str": "it is \x1b[31mclosed",
    "traceback_str": '  File "shop.py", line 7, in order\n    raise Closed\n',
    "exc_type_names": ["shop.Closed", "Exception"],
    "version": 1,
    "causes": [],
}


def sent(uuid: str, attempt: int) -> Dispatched:
    """A round of its own."""
    place = ("native", "default", "hare", "0f", "inbox", f"1:{attempt}", 9000)
    return Dispatched(uuid, attempt, attempt, *place)  # type: ignore[arg-type]


def a_death(uuid: str, **more: Any) -> list[Event]:
    """It failed twice, and that was once too often."""
    body = {"args": [7, "ä"], "arguments": {"gate": None}}
    policy = Retry(max=1, on=("shop.Closed",)).to_json()
    return [
        Submitted(uuid, "shop.order", body, ["default"], retries=policy, **more),
        *(sent(uuid, 1), Running(uuid, 1)),
        Round(uuid, 2, 0, 1, "failure", 1, FAILURE, 1.5),  # type: ignore[arg-type]
        *(sent(uuid, 2), Running(uuid, 2)),
        Ended(uuid, "failure", FAILURE, "hare", dead=True),  # type: ignore[arg-type]
    ]


POISON = {"type": "PoisonTask", "message": f"request {THIRD} (t) ended the process that ran it"}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal that nobody writes, with three dead letters."""
    monkeypatch.setenv("COLUMNS", "160")
    found = tmp_path / "nightly.journal"
    with Journal(found, "nightly") as journal:
        journal.append(a_death(FIRST, key="k", not_before=5.0, priority=3))
        journal.append([*a_life("fine"), submitted("open")])
        journal.append(a_death(SECOND))
        journal.append([submitted(THIRD), Ended(THIRD, "error", POISON, "hare", dead=True)])  # type: ignore[arg-type]
    return found


@pytest.fixture
def in_use(path: Path) -> Iterator[Path]:
    """The same while an executor writes it."""
    with Journal(path, "nightly"):
        yield path


def dlq(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What is printed, on the standard error if it comes to nothing."""
    assert main(["dlq", *map(str, words)]) == code
    printed = capsys.readouterr()
    assert (printed.err == "") is (code == 0)
    return printed.err if code else printed.out


def dlq_json(capsys: pytest.CaptureFixture[str], command: str, *words: object) -> Any:
    return json.loads(dlq(capsys, command, "--json", *words))


def folded(path: Path) -> History:
    history = History()
    for found in read(path):
        assert isinstance(found, Entry)
        history.apply(found)
    assert history.problems == []
    return history


def left(path: Path) -> list[str]:
    return [letter.submitted.uuid for letter in folded(path).dead_letters()]


# list ---------------------------------------------------------------------------------------------


def test_they_are_listed_the_oldest_first(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = dlq(capsys, "list", path)
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in said.splitlines()]
    assert [row for row in rows if row] == [
        ["aaaa1111", "shop.order", "shop.Closed: it is \\x1b[31mclosed", "2", "0 s ago"],
        ["aaaa2222", "shop.order", "shop.Closed: it is \\x1b[31mclosed", "2", "0 s ago"],
        ["bbbb3333", "t", "PoisonTask: ended the process that ran it", "0", "0 s ago"],
    ]


def test_they_are_listed_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = dlq_json(capsys, "list", path)["dead"]
    assert [letter["uuid"] for letter in found] == [FIRST, SECOND, THIRD]
    assert (found[0]["key"], found[0]["attempts"], found[0]["retries"]) == ("k", 2, 1)


def test_where_there_are_none_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.journal"
    Journal(path, "x").close()
    assert dlq(capsys, "list", path) == f"{path}: no dead letters\n"
    assert dlq(capsys, "drop", path, "--all") == f"{path}: no dead letters\n"
    assert dlq_json(capsys, "retry", path, "--all") == {"retried": {}}


def test_a_journal_that_is_not_there_is_2_and_is_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["list"], ["show", "x"], ["retry", "--all"], ["drop", "--all"]):
        dlq(capsys, words[0], tmp_path / "none", *words[1:], code=2)
    assert list(tmp_path.iterdir()) == []


def test_the_journals_status_says_how_many_there_are(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "status", str(path)]) == 0
    assert f"dead letters: 3; `taskline dlq list {path}` lists them" in capsys.readouterr().out


# show ---------------------------------------------------------------------------------------------


def test_one_is_shown_with_its_arguments_and_each_failure(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = dlq(capsys, "show", path, "aaaa1")
    assert f"request    {FIRST}\ntask       shop.order\n" in said
    assert 'arguments  7 "ä" gate=null\n' in said
    assert "retries    1 of 1 used, on shop.Closed\nkey        k\n" in said
    assert said.count('  File "shop.py", line 7, in order') == 2
    assert "attempt 1, failure:" in said
    assert "attempt 2, failure:" in said
    assert "1. " in said
    assert "round 2, hare: failure after 0.0 s: shop.Closed: it is \\x1b[31mclosed" in said
    assert "\x1b" not in said


def test_one_is_shown_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = dlq_json(capsys, "show", path, FIRST)
    assert (found["args"], found["arguments"]) == ([7, "ä"], {"gate": None})
    assert [one["how"] for one in found["attempts"]] == ["failure", "failure"]
    assert [(one["attempt"], one["failure"]) for one in found["failures"]] == [
        (1, FAILURE),
        (2, FAILURE),
    ]
    assert found["policy"]["max"] == 1


def test_poison_is_shown_though_it_has_no_failure(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "PoisonTask: request bbbb3333" in dlq(capsys, "show", path, THIRD)


@pytest.mark.parametrize("name", ["aaaa", "bbb", "nobody", "fine", "open"])
def test_what_is_no_dead_letter_or_more_than_one_is_2(
    path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for command in ("show", "retry", "drop"):
        said = dlq(capsys, command, path, name, code=2)
        assert f"taskline: {name!r} in {path}: " in said
        assert ("2 dead letters begin so" if name == "aaaa" else "no dead letter is it") in said
    assert left(path) == [FIRST, SECOND, THIRD]


# retry and drop -----------------------------------------------------------------------------------


def test_a_retry_is_a_new_request_that_names_the_one_it_repeats(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same call with the same options, but to be started at once."""
    said = dlq(capsys, "retry", path, "aaaa1", FIRST)  # named twice, it is one
    history = folded(path)
    (new,) = [one for one in history.open_requests() if one.submitted.repeats]
    old = history.requests[FIRST]
    assert said.splitlines() == [
        f"{new.submitted.uuid} repeats {FIRST} (shop.order)",
        f"submitted; executor nightly runs it when it is started again with journal='{path}'",
    ]
    assert new.submitted.repeats == FIRST
    assert old.repeated_by == new.submitted.uuid
    assert (new.submitted.body, new.submitted.retries) == (
        old.submitted.body,
        old.submitted.retries,
    )
    assert (new.submitted.key, new.submitted.priority) == ("k", 3)
    assert (new.submitted.not_before, new.stamp) == (None, pytest.approx(old.stamp, abs=60))
    assert left(path) == [SECOND, THIRD]
    with Journal(path, "nightly") as journal:
        assert journal.find_key("k") == new.submitted.uuid
    dlq(capsys, "retry", path, FIRST, code=2)  # it is none any more


def test_all_are_retried_in_one_piece(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = dlq_json(capsys, "retry", path, "--all")["retried"]
    assert list(found) == [FIRST, SECOND, THIRD]
    assert left(path) == []
    assert {one.submitted.uuid for one in folded(path).open_requests()} == {
        *found.values(),
        "open",
    }


def test_what_is_dropped_is_gone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dlq(capsys, "drop", path, "aaaa2", "bbbb") == (
        f"dropped {SECOND} (shop.order)\ndropped {THIRD} (t)\n"
    )
    assert left(path) == [FIRST]
    assert dlq_json(capsys, "drop", path, "--all") == {"dropped": [FIRST]}
    assert Discarded(FIRST) in [one.event for one in read(path) if isinstance(one, Entry)]


def test_which_must_be_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "or say --all" in dlq(capsys, "drop", path, code=2)
    assert left(path) == [FIRST, SECOND, THIRD]


def test_while_it_is_in_use_they_can_be_read_and_who_writes_it_is_named(
    in_use: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "aaaa1111" in dlq(capsys, "list", in_use)
    assert FIRST in dlq(capsys, "show", in_use, FIRST)
    for command in ("retry", "drop"):
        said = dlq(capsys, command, in_use, FIRST, code=2)
        assert f"executor nightly in process {os.getpid()} on " in said
        assert "shut that one down first; `taskline dlq list` and `show` work meanwhile" in said
    assert left(in_use) == [FIRST, SECOND, THIRD]


#: The command, killed at each line of ours that writes: first and last time. Says in how many ways.
DEATHS = """
import json, os, pathlib, shutil, signal, sys
from executor.cli import main

path = pathlib.Path(sys.argv[1])

def run(number, fatal):
    steps = []
    def tracer(frame, event, _):
        if not frame.f_code.co_filename.endswith(("dlq.py", "journal.py", "segment.py")):
            return None
        if event == "line":
            if len(steps) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            steps.append((frame.f_code.co_filename, frame.f_lineno))
        return tracer
    copy = path.with_name(str(number))
    shutil.copy(path, copy)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.settrace(tracer)
        main(["dlq", "retry", str(copy), "--all"])
        sys.settrace(None)
        with os.fdopen(writing, "w") as pipe:
            json.dump(steps, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else None

steps = [tuple(step) for step in run(0, -1)]
fatal = sorted({steps.index(step) for step in steps}
               | {len(steps) - 1 - steps[::-1].index(step) for step in steps})
for number, each in enumerate(fatal, 1):
    assert run(number, each) is None, "it should have been killed"
print(json.dumps(len(fatal)))
"""


@pytest.mark.slow
def test_killed_at_any_line_it_has_submitted_each_once_or_not_at_all(path: Path) -> None:
    """And what is left is done by the command that is typed again."""
    done = subprocess.run(
        [sys.executable, "-c", DEATHS, str(path)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    ways = json.loads(done.stdout)
    assert ways > 50
    before = 0
    for number in range(ways + 1):
        copy = path.with_name(str(number))
        dead = left(copy)
        before += bool(dead)
        for _ in range(2):
            again = [one.submitted.repeats for one in folded(copy).open_requests()]
            repeated = [uuid for uuid in again if uuid is not None]
            assert sorted(repeated + left(copy)) == [FIRST, SECOND, THIRD]
            main(["dlq", "retry", str(copy), "--all"])
        assert left(copy) == []
    assert 0 < before < ways  # some died before their line, and some after
