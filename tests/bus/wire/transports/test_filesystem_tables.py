"""Tables of bindings that kombu's own transport reads and writes as well."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path

import kombu
import pytest

from bus.wire.transports.filesystem.tables import MOST_UUIDS, Tables, bounded

Entry = tuple[str, str, str]


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "control")


def test_a_binding_is_there_once_and_the_newest_comes_first(tables: Tables) -> None:
    for key in ("a", "b", "a"):
        tables.bind("ex", (key, "", f"ex_{key}"))
    assert tables.read("ex") == [("b", "", "ex_b"), ("a", "", "ex_a")]
    tables.unbind("ex", "ex_b")
    assert tables.read("ex") == [("a", "", "ex_a")]
    tables.delete("ex")
    tables.delete("ex")
    tables.unbind("ex", "ex_a")
    assert tables.read("ex") == []


@pytest.mark.parametrize(
    "content", [b"", b"[", b"{}", b"null", b'[["a", "", "q"]]]]', b"\xff", b"[1, [2], {}]"]
)
def test_a_damaged_table_counts_as_empty_and_is_whole_after_the_next_binding(
    tables: Tables, tmp_path: Path, content: bytes
) -> None:
    """A writer was killed in the midst of it, or two of kombu's were the first at once."""
    tables.bind("ex", ("old", "", "ex_old"))
    (tmp_path / "control" / "ex.exchange").write_bytes(content)
    assert tables.read("ex") == []
    tables.bind("ex", ("new", "", "ex_new"))
    assert json.loads((tmp_path / "control" / "ex.exchange").read_text()) == [["new", "", "ex_new"]]


def test_only_the_newest_keys_that_are_uuids_are_kept_and_all_topics() -> None:
    """Those of executors that are gone; a topic's binding is the oldest of all, and is needed."""
    topics: list[Entry] = [("t1", "", "ex_t1"), ("t2", "", "ex_t2")]
    engines: list[Entry] = [
        (key, "", f"ex_{key}") for key in (str(uuid.uuid4()) for _ in range(MOST_UUIDS + 50))
    ]
    assert bounded([*engines, *topics]) == [*engines[:MOST_UUIDS], *topics]
    assert bounded([*topics, *engines[:10]]) == [*topics, *engines[:10]]


def test_many_may_be_the_first_and_none_is_lost(tmp_path: Path) -> None:
    """Twenty of ours at once; kombu's empties what another one is just writing."""
    ready = threading.Barrier(20)

    def bind(n: int) -> None:
        ready.wait()
        Tables(tmp_path / "control").bind("ex", (f"k{n}", "", f"q{n}"))

    threads = [threading.Thread(target=bind, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Tables(tmp_path / "control").read("ex")) == sorted(
        (f"k{n}", "", f"q{n}") for n in range(20)
    )
    assert [path.name for path in (tmp_path / "control").iterdir()] == ["ex.exchange"]


def test_kombu_reads_ours_and_we_read_kombus(tables: Tables, tmp_path: Path) -> None:
    """Entries of the same form, in the same file, added to by both."""
    options = {"control_folder": str(tmp_path / "control"), "data_folder_in": str(tmp_path)}
    tables.bind("ex", ("ours", "", "ex_ours"))
    with kombu.Connection(transport="filesystem", transport_options=options) as connection:
        channel = connection.channel()
        channel._queue_bind("ex", "theirs", "", "ex_theirs")
        assert ("ours", "", "ex_ours") in channel.get_table("ex")
        tables.bind("ex", ("more", "", "ex_more"))
        channel._queue_bind("ex", "last", "", "ex_last")
        tables.unbind("ex", "ex_theirs")
        assert [entry.queue for entry in channel.get_table("ex")] == [
            *("ex_last", "ex_more", "ex_ours")
        ]
