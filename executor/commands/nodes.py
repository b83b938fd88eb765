"""``nodes``: list the machines of the workers that answer: how large, and how much is promised.

Everybody is asked once, at the start. With ``--json``: a list of ``executor.NodeInfo``, as objects.
That there is none is an answer too, and no error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from executor.commands.exits import DONE
from executor.commands.options import PROGRAM, add_broker, make_executor, make_parser, parse
from executor.commands.workers import add_wait, hear_all
from executor.nodes import NodeInfo
from protocol.size import in_words
from protocol.values import Json, dumps


def run(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = make_parser(
        "nodes",
        "List the machines of the workers that answer, and what of them is promised to requests.",
        f"example: {PROGRAM} nodes --json",
    )
    add_wait(parser)
    add_broker(parser)
    options = parse(parser, argv)
    with make_executor(options) as executor:
        hear_all(executor, options)
        nodes = executor.nodes().values()
    if options.json:
        print(dumps([_node(node) for node in nodes]), flush=True)
    elif nodes:
        Console().print(_table(nodes))
    else:
        print(
            f"No worker that tells what its machine has answered within {options.wait:g} s; start "
            "one with: python -m worker MODULE",
            flush=True,
        )
    return DONE


def _node(node: NodeInfo) -> dict[str, Json]:
    fields: dict[str, Json] = {
        field.name: getattr(node, field.name) for field in dataclasses.fields(node)
    }
    return {**fields, "total": node.total.to_json(), "requested": node.requested.to_json()}


def _table(nodes: Iterable[NodeInfo]) -> Table:
    table = Table()
    table.add_column("name", overflow="fold")
    for heading in ("workers", "busy", "cores", "memory", "disk", "accelerators", "load"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for node in nodes:
        asked, total = node.requested, node.total
        taken = dict(asked.accelerators)
        table.add_row(
            Text(node.name),
            str(node.workers),
            str(node.busy),
            f"{asked.cores:g} of {total.cores:g}",
            f"{in_words(asked.memory)} of {in_words(total.memory)}",
            f"{in_words(asked.disk)} of {in_words(total.disk)}",
            ", ".join(f"{kind} {taken.get(kind, 0)} of {n}" for kind, n in total.accelerators),
            "" if node.cores_used is None else f"{node.cores_used:.0%}",
            ", ".join(_words(node)),
        )
    return table


def _words(node: NodeInfo) -> list[str]:
    words = ["preemptible"] if node.preemptible else []
    return [*words, "ignored"] if node.is_ignored else words
