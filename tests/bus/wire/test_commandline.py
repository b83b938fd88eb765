"""The words a worker and an executor share: flag over environment over default."""

from __future__ import annotations

import argparse

import pytest

from bus.wire.commandline import Parser, topics_of, transport_option
from protocol import __version__


@pytest.fixture
def parser() -> Parser:
    """As a worker has it: the broker's words, one of its own, and words without a flag."""
    parser = Parser(prog="taskline-test")
    parser.add_argument("tasks", nargs="*")
    parser.add_broker()
    parser.mirror("--concurrency", type=int, help="tasks at once")
    return parser


def test_a_flag_wins_over_the_environment_which_wins_over_the_default(parser: Parser) -> None:
    environ = {"TASKLINE_EXCHANGE": "from-environ"}
    assert parser.parse([], {}).exchange == "taskline"
    assert parser.parse([], environ).exchange == "from-environ"
    assert parser.parse(["--exchange", "flag"], environ).exchange == "flag"
    assert parser.parse(["--exchange=flag"], environ).exchange == "flag"


def test_each_mirrored_option_can_come_from_the_environment(parser: Parser) -> None:
    options = parser.parse(
        ["mytasks"],
        {
            "TASKLINE_URL": "redis://host",
            "TASKLINE_EXCHANGE": "e",
            "TASKLINE_TOPIC": "cpu,gpu",
            "TASKLINE_TRANSPORT_OPTION": "a=1,b=x",
            "TASKLINE_LOG_LEVEL": "debug",
            "TASKLINE_CONCURRENCY": "3",
        },
    )
    assert options.url == "redis://host"
    assert options.exchange == "e"
    assert topics_of(options) == ("cpu", "gpu")
    assert options.transport_option == [("a", 1), ("b", "x")]
    assert options.log_level == "debug"
    assert options.concurrency == 3
    assert options.tasks == ["mytasks"]


def test_a_list_given_by_flags_replaces_the_one_of_the_environment(parser: Parser) -> None:
    options = parser.parse(["--topic", "a", "--topic=b"], {"TASKLINE_TOPIC": "x,y"})
    assert topics_of(options) == ("a", "b")


def test_blanks_and_empty_parts_of_a_list_are_nothing(parser: Parser) -> None:
    options = parser.parse([], {"TASKLINE_TOPIC": " cpu, gpu,,"})
    assert topics_of(options) == ("cpu", "gpu")
    assert topics_of(parser.parse([], {"TASKLINE_TOPIC": " , "})) == ("default",)


def test_an_empty_variable_is_none(parser: Parser) -> None:
    assert parser.parse([], {"TASKLINE_EXCHANGE": ""}).exchange == "taskline"


def test_variables_of_other_programs_are_nothing_to_us(parser: Parser) -> None:
    assert parser.parse([], {"EXCHANGE": "x", "TASKLINE_ELSE": "y"}).exchange == "taskline"


def test_further_tasks_may_come_after_an_option(parser: Parser) -> None:
    assert parser.parse(["one", "--exchange=e", "two"], {}).tasks == ["one", "two"]


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        (["--log-level=loud"], {}, "invalid choice: 'loud'"),
        ([], {"TASKLINE_LOG_LEVEL": "loud"}, "invalid choice: 'loud'"),
        (["--concurrency=many"], {}, "invalid int value: 'many'"),
        ([], {"TASKLINE_CONCURRENCY": "many"}, "invalid int value: 'many'"),
        (["--transport-option=novalue"], {}, "'novalue' is not KEY=VALUE"),
        ([], {"TASKLINE_TRANSPORT_OPTION": "a=1,b"}, "'b' is not KEY=VALUE"),
        (["--exch=e"], {}, "unrecognized arguments"),
        (["--exchange"], {}, "expected one argument"),
    ],
)
def test_what_cannot_be_ends_with_code_2_and_a_sentence(
    parser: Parser,
    argv: list[str],
    environ: dict[str, str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse(argv, environ)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_the_help_names_the_variable_of_each_option(
    parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse(["--help"], {})
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for name in ("URL", "EXCHANGE", "TOPIC", "TRANSPORT_OPTION", "LOG_LEVEL", "CONCURRENCY"):
        assert f"[TASKLINE_{name}]" in said


def test_the_version_is_the_packages(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse(["--version"], {})
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"taskline {__version__}\n"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a=1", ("a", 1)),
        ("a=-0.5", ("a", -0.5)),
        ("a=true", ("a", True)),
        ("a=false", ("a", False)),
        ("a=text", ("a", "text")),
        ("a=", ("a", "")),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_a_transport_option_is_a_pair(text: str, pair: tuple[str, object]) -> None:
    key, value = transport_option(text)
    assert (key, value) == pair
    assert type(value) is type(pair[1])


@pytest.mark.parametrize("text", ["", "a", "=1"])
def test_what_is_no_pair_is_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        transport_option(text)


def test_a_word_that_is_yes_or_no_can_come_from_the_environment(
    parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    def required(*argv: str, said: str = "") -> object:
        environ = {"TASKLINE_REQUIRE_SIGNATURE": said}
        return parser.parse([*argv, "mytasks"], environ).require_signature

    assert required() is None
    assert [required(said=word) for word in ("yes", "1", "True")] == [True] * 3
    assert [required(said=word) for word in ("no", "0", "off")] == [False] * 3
    assert required("--no-require-signature", said="yes") is False
    assert required("--require-signature", said="no") is True
    with pytest.raises(SystemExit):
        required(said="perhaps")
    assert "TASKLINE_REQUIRE_SIGNATURE=perhaps: say yes or no" in capsys.readouterr().err
