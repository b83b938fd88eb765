"""The words on a command line that a worker and an executor share: which broker, under which names.

Each option is mirrored by an environment variable: ``--transport-option`` by
``TASKLINE_TRANSPORT_OPTION``; lists are separated by commas. A flag wins over the environment, the
environment over the default. Pure but for reading the mapping it is handed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from protocol import __version__
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC

PREFIX = "TASKLINE_"
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class Parser(argparse.ArgumentParser):
    """An ``argparse`` parser whose options can be given by environment variables as well."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        #: With whether it may be repeated.
        self._mirrored: list[tuple[argparse.Action, bool]] = []

    def mirror(self, *flags: str, **settings: Any) -> None:
        """Add an option that ``TASKLINE_…`` mirrors, as its help says."""
        action = self.add_argument(*flags, **settings)
        action.help = f"{action.help or ''} [{self._variable(action)}]".strip()
        self._mirrored.append((action, settings.get("action") == "append"))

    def parse(self, argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
        """The options, with what the environment says put in where no flag says otherwise.

        Ends the process with code 2 and a usage line for what cannot be, as argparse does.
        """
        said: list[str] = []
        for action, several in self._mirrored:
            flag = action.option_strings[0]
            value = environ.get(self._variable(action))
            flags = action.option_strings
            if not value or any(arg.startswith(f"{each}=") for arg in argv for each in flags):
                continue
            if any(arg in flags for arg in argv):
                continue
            if isinstance(action, argparse.BooleanOptionalAction):
                said.append(flags[self._is_no(action, value)])
                continue
            parts = [part.strip() for part in value.split(",")] if several else [value]
            said += [f"{flag}={part}" for part in parts if part]
        # Intermixed: further words of a list may come after an option as well.
        options = self.parse_intermixed_args([*said, *argv])
        if str(getattr(options, "url", None) or "").startswith("memory:"):
            self.error(
                "memory:// lives inside one process, and a command is a process of its own: leave "
                "--url out for the local broker"
            )
        return options

    def add_broker(self, log_level: str = "info") -> None:
        """Which broker, exchange and topics; kombu's options; how much is logged; the version."""
        self.add_url()
        self.mirror("--exchange", default=DEFAULT_EXCHANGE, help="default: %(default)s")
        self.mirror("--topic", action="append", help=f"may be repeated; default: {DEFAULT_TOPIC}")
        self.mirror(
            "--transport-option",
            action="append",
            type=transport_option,
            metavar="KEY=VALUE",
            help="for kombu's transport; may be repeated",
        )
        self.mirror(
            "--signing-keys",
            metavar="FILE",
            help="sign all messages, and refuse what is not signed with one of these keys: a line "
            "ID: SECRET each, in hexadecimal digits; the first signs",
        )
        self.mirror(
            "--require-signature",
            action=argparse.BooleanOptionalAction,
            default=None,
            help="refuse what is unsigned; default: if there are keys",
        )
        self.add_logging(log_level)

    def add_url(self) -> None:
        """Which broker, and nothing else."""
        self.mirror(
            "--url",
            help="the broker: local://[/path] (default), redis[s]://…, amqp[s]://…; for taskflow's "
            "peers filesystem:///path too",
        )

    def add_logging(self, level: str) -> None:
        """How much is logged, this much by default; the version."""
        self.mirror("--log-level", choices=LOG_LEVELS, default=level, help="default: %(default)s")
        self.add_argument("--version", action="version", version=f"taskline {__version__}")

    def _is_no(self, action: argparse.Action, value: str) -> bool:
        if value.lower() not in ("1", "yes", "true", "on", "0", "no", "false", "off"):
            self.error(f"{self._variable(action)}={value}: say yes or no")
        return value.lower() in ("0", "no", "false", "off")

    @staticmethod
    def _variable(action: argparse.Action) -> str:
        return PREFIX + action.dest.upper()


def topics_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The topics named, or the default one."""
    return tuple(options.topic or (DEFAULT_TOPIC,))


def transport_option(text: str) -> tuple[str, object]:
    """``KEY=VALUE`` as a pair; a value that reads as a number, true or false is one."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, _value(value)


def _value(text: str) -> object:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
