"""The same messages in both formats, both ways: what one writes, the other reads alike."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news import toil as ours
from bus.news.toil.messages import MESSAGES
from tests.bus.news.toil.samples import MESSAGES as LEADER
from tests.bus.news.toil.samples import any_message, some_messages

theirs: Any = pytest.importorskip(
    "toil.bus", reason="the peer of these tests is not installed: toil"
)


def as_theirs(message: Any) -> Any:
    """The same message of the other module."""
    return getattr(theirs, type(message).__name__)(*message)


def as_data(statuses: Any) -> list[tuple[str, dict[str, Any]]]:
    """What a replay came to, in its order."""
    return [(job, dataclasses.asdict(status)) for job, status in statuses.items()]


def without_early_ids(messages: list[Any]) -> list[Any]:
    """Without the external ids that come before their job: Toil loses them, and we do not."""
    issued: set[int] = set()
    kept = []
    for message in messages:
        if isinstance(message, ours.JobIssuedMessage):
            issued.add(message.toil_batch_id)
        if not isinstance(message, ours.ExternalBatchIdMessage) or message.toil_batch_id in issued:
            kept.append(message)
    return kept


def write(module: Any, path: Path, messages: list[Any], **options: Any) -> bytes:
    bus = module.MessageBus()
    output = bus.connect_output_file(str(path), **options)
    for message in messages:
        bus.publish(message)
    del output, bus
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(any_message)
@settings(deadline=None)
def test_the_fields_of_any_message_are_the_same_bytes_and_read_alike(message: Any) -> None:
    written = theirs.message_to_bytes(as_theirs(message))
    assert ours.message_to_bytes(message) == written
    assert ours.bytes_to_message(type(message), written) == message
    assert theirs.bytes_to_message(type(as_theirs(message)), written) == tuple(message)


@given(st.lists(any_message, max_size=8), st.booleans())
@settings(deadline=None, max_examples=100)
def test_files_are_the_same_byte_for_byte(folder: Path, messages: list[Any], grouped: bool) -> None:
    wanted = write(theirs, folder / "theirs", list(map(as_theirs, messages)))
    assert write(ours, folder / "ours", messages, grouped=grouped) == wanted
    for path in (folder / "ours", folder / "theirs"):
        with path.open("rb") as stream:
            assert list(ours.MessageBus.scan_bus_messages(stream, MESSAGES)) == messages
        with path.open("rb") as stream:
            types = [getattr(theirs, each.__name__) for each in MESSAGES]
            assert [tuple(each) for each in theirs.MessageBus.scan_bus_messages(stream, types)] == [
                tuple(each) for each in messages
            ]


@given(some_messages, st.data())
@settings(deadline=None, max_examples=150)
def test_a_file_cut_anywhere_replays_alike(
    folder: Path, messages: list[Any], data: st.DataObject
) -> None:
    path = folder / "cut"
    whole = write(ours, path, without_early_ids(messages))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert as_data(ours.replay_message_bus(path)) == as_data(theirs.replay_message_bus(str(path)))


@given(some_messages)
@settings(deadline=None, max_examples=50)
def test_external_ids_that_come_early_are_all_that_we_know_better(
    folder: Path, messages: list[Any]
) -> None:
    path = folder / "early"
    write(ours, path, messages)
    found = ours.replay_message_bus(path)
    known = theirs.replay_message_bus(str(path))
    for status in (*found.values(), *known.values()):
        status.external_batch_id = status.batch_system = ""
    assert as_data(found) == as_data(known)


def test_a_real_leaders_file_replays_alike() -> None:
    assert as_data(ours.replay_message_bus(LEADER)) == as_data(
        theirs.replay_message_bus(str(LEADER))
    )


@pytest.mark.parametrize(
    "line",
    [
        b"toil.bus.JobUpdatedMessage\tj\tmany\n",
        b"toil.bus.JobUpdatedMessage\n",
        b"toil.bus.JobUpdatedMessage\tj\n",
        b"\xfftoil.bus.JobUpdatedMessage\tj\t1\n",
        b"toil.bus.JobIssuedMessage\talign\ttoil.bus.JobUpdatedMessage\tj\t0\n",
    ],
)
def test_what_ends_their_replay_costs_ours_a_line(folder: Path, line: bytes) -> None:
    """That Toil still does so is looked at here too: if not, this and a sentence of ours go."""
    path = folder / "bad"
    messages = [ours.JobIssuedMessage("align", "j", 1), ours.JobCompletedMessage("align", "j", 0)]
    first, last = (write(ours, path, [message]) for message in messages)
    path.write_bytes(first + line + last)
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        theirs.replay_message_bus(str(path))
    assert ours.replay_message_bus(path)["j"].exit_code == 0


#: Lines that nobody has written: of no topic, and of one with fields that may or may not be its.
foreign_lines = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda kind, fields: b"\t".join([f"toil.bus.{kind.__name__}".encode(), *fields]),
        st.sampled_from(MESSAGES),
        st.lists(
            st.one_of(
                st.sampled_from([b"j", b"0", b"-1", b"7", b"", b"\\x"]), st.binary(max_size=8)
            ),
            max_size=4,
        ),
    ),
).filter(lambda line: b"\n" not in line)


@given(some_messages, foreign_lines, st.data())
@settings(deadline=None, max_examples=300)
def test_a_foreign_line_anywhere_never_ends_ours_and_means_what_it_does_to_theirs(
    folder: Path, messages: list[Any], line: bytes, data: st.DataObject
) -> None:
    path = folder / "foreign"
    lines = write(ours, path, messages).splitlines(keepends=True)
    lines.insert(data.draw(st.integers(0, len(lines))), line + b"\n")
    path.write_bytes(b"".join(lines))
    found = ours.replay_message_bus(path)
    try:
        known = theirs.replay_message_bus(str(path))
    except Exception:
        return
    for status in (*found.values(), *known.values()):
        status.external_batch_id = status.batch_system = ""
    assert as_data(found) == as_data(known)


def test_types_of_theirs_are_scanned_by_ours() -> None:
    data = b"toil.bus.QueueSizeMessage\t1\n"
    found = list(ours.MessageBus.scan_bus_messages(io.BytesIO(data), [theirs.QueueSizeMessage]))
    assert found == [theirs.QueueSizeMessage(1)]
    assert type(found[0]) is theirs.QueueSizeMessage
