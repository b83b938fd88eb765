"""What is needed and what there is: how it is written, compared, taken and given back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import MAX_HEADER, Header, parse_header
from protocol.errors import ConfigurationError, MessageRefused
from protocol.resources import (
    NOTHING,
    NodeReport,
    Requirements,
    Resources,
    Shortage,
    parse_accelerators,
    parse_requirements,
    report_from_json,
    requirements_from_json,
    resources_from_json,
)
from protocol.values import dumps, loads

GIB = 1024**3

AMOUNTS = st.builds(
    Resources,
    cores=st.integers(0, 64_000).map(lambda thousandths: thousandths / 1000),
    memory=st.integers(0, 2**40),
    disk=st.integers(0, 2**40),
    accelerators=st.dictionaries(st.sampled_from(["gpu", "tpu"]), st.integers(0, 8)),
)

MACHINE = Resources(cores=8, memory="16 GiB", disk="100 GB", accelerators={"gpu": 2})


def test_amounts_are_given_as_people_write_them_and_kept_as_numbers() -> None:
    assert Resources(8.0, 16 * GIB, 10**11, (("gpu", 2),)) == MACHINE
    assert str(MACHINE) == "8 cores, 16.0 GiB of memory, 93.1 GiB of disk, 2 gpu"
    assert str(Resources(cores=1)) == "1 core"
    assert str(NOTHING) == "nothing"


@pytest.mark.parametrize(
    ("needed", "short"),
    [
        ({"cores": 8}, None),
        ({"cores": 8.001}, Shortage("cores", 8.001, 8.0)),
        ({"memory": 16 * GIB + 1}, Shortage("memory", 16 * GIB + 1, 16 * GIB)),
        ({"disk": 10**11 + 1, "accelerators": {"gpu": 3}}, Shortage("disk", 10**11 + 1, 10**11)),
        ({"accelerators": {"gpu": 3}}, Shortage("gpu", 3, 2)),
        ({"accelerators": {"tpu": 1}}, Shortage("tpu", 1, 0)),
        ({"accelerators": {"tpu": 0}}, None),
    ],
)
def test_what_is_short_is_told_and_what_is_exactly_enough_is_not(
    needed: dict[str, Any], short: Shortage | None
) -> None:
    amount = Resources(**needed)
    assert MACHINE.shortage(amount) == short
    assert MACHINE.holds(amount) == (short is None)


def test_a_shortage_is_worded_with_its_units() -> None:
    short = MACHINE.shortage(Resources(memory=32 * GIB))
    assert short is not None
    assert (short.requested_words, short.available_words) == (
        "32.0 GiB of memory",
        "16.0 GiB of memory",
    )
    assert Shortage("tpu", 1, 0).available_words == "no tpu"
    assert Shortage("gpu", 3, 2).requested_words == "3 gpu"


@given(AMOUNTS, AMOUNTS)
def test_what_was_taken_and_given_back_is_as_it_was(first: Resources, second: Resources) -> None:
    both = first.plus(second)
    assert both.minus(second) == first
    assert both.minus(first) == second
    assert both.holds(first)
    assert both.holds(second)
    assert first.holds(second) == (first.minus(second).plus(second) == first)


@given(st.lists(st.integers(1, 999), max_size=200))
def test_parts_of_cores_add_up_without_an_error(thousandths: list[int]) -> None:
    total = NOTHING
    for part in thousandths:
        total = total.plus(Resources(cores=part / 1000))
    assert total.cores == sum(thousandths) / 1000
    assert Resources(cores=sum(thousandths) / 1000).holds(total)


@given(AMOUNTS, AMOUNTS)
def test_there_is_never_less_than_nothing(first: Resources, second: Resources) -> None:
    left = first.minus(second)
    assert left.cores >= 0
    assert left.memory >= 0
    assert all(count > 0 for _, count in left.accelerators)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cores": -1},
        {"cores": "2"},
        {"cores": True},
        {"cores": float("nan")},
        {"cores": float("inf")},
        {"cores": 0.0001},
        {"cores": 10**9},
        {"memory": "much"},
        {"memory": -1},
        {"memory": 1.5},
        {"memory": "1 XiB"},
        {"memory": None},
        {"disk": 2**60},
        {"accelerators": "gpu=x"},
        {"accelerators": {"gpu": -1}},
        {"accelerators": {"gpu": 1.0}},
        {"accelerators": {"": 1}},
        {"accelerators": {"a b": 1}},
        {"accelerators": {"cores": 1}},
        {"accelerators": 3},
        {"accelerators": ["gpu"]},
        {"accelerators": {f"k{n}": 1 for n in range(17)}},
    ],
)
def test_what_is_no_amount_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=name):
        Resources(**wrong)
    with pytest.raises(ConfigurationError, match=name):
        Requirements(**wrong)


@pytest.mark.parametrize("seconds", [0, -1, "1 h", True, float("inf"), 10**10])
def test_a_wall_time_is_seconds(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="wall_time"):
        Requirements(wall_time=seconds)


def test_what_is_yes_or_no_is_nothing_else() -> None:
    with pytest.raises(ConfigurationError, match="preemptible"):
        Requirements(preemptible=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="limits_memory"):
        Requirements(limits_memory=None)  # type: ignore[arg-type]


def test_memory_may_be_promised_without_being_a_limit() -> None:
    wanted = Requirements(memory=5, limits_memory=False)
    assert wanted.to_json() == {"memory": 5, "limits_memory": False}
    assert requirements_from_json(wanted.to_json()) == wanted


def test_accelerators_are_written_in_three_ways() -> None:
    expected = (("gpu", 2), ("tpu", 1))
    assert parse_accelerators("here", {"tpu": 1, "gpu": 2}) == expected
    assert parse_accelerators("here", "gpu=2, tpu") == expected
    assert parse_accelerators("here", [("gpu", 1), ("tpu", 1), ("gpu", 1)]) == expected
    assert parse_accelerators("here", "") == ()


def test_requirements_are_given_as_themselves_or_as_a_dict() -> None:
    wanted = Requirements(cores=2, memory="4 GiB", wall_time=60)
    assert parse_requirements("here", wanted) is wanted
    assert parse_requirements("here", {"cores": 2, "memory": 4 * GIB, "wall_time": 60}) == wanted
    assert parse_requirements("here", None) is None
    with pytest.raises(ConfigurationError, match=r"here.*ram is none of cores, memory"):
        parse_requirements("here", {"ram": 5})
    with pytest.raises(ConfigurationError, match=r"here.*'much'"):
        parse_requirements("here", "much")


def test_requirements_travel_without_their_wall_time_which_is_a_limit_there() -> None:
    wanted = Requirements(
        cores=0.5,
        memory=7,
        disk=8,
        accelerators={"gpu": 1},
        preemptible=True,
        wall_time=9,
    )
    assert wanted.to_json() == {
        "cores": 0.5,
        "memory": 7,
        "disk": 8,
        "accelerators": {"gpu": 1},
        "preemptible": True,
    }
    read = requirements_from_json(loads(dumps(wanted.to_json())))
    assert read == Requirements(0.5, 7, 8, (("gpu", 1),), True)
    assert Requirements().to_json() == {}


@given(AMOUNTS)
def test_amounts_travel(amount: Resources) -> None:
    assert resources_from_json(loads(dumps(amount.to_json()))) == amount


@pytest.mark.parametrize("written", [None, 5, [], {"cores": "many"}, {"accelerators": [1]}])
def test_what_a_later_version_writes_otherwise_is_nothing(written: Any) -> None:
    assert requirements_from_json(written) is None
    assert resources_from_json(written) is None
    assert report_from_json({"node": "n", "have": written}) is None


def test_what_no_float_can_hold_is_no_amount() -> None:
    """A peer may write any int."""
    many = 10**400
    told = report_from_json({"node": "n", "have": {"cores": 1}, "busy": many, "memory_used": many})
    assert told == NodeReport("n", Resources(cores=1))
    assert resources_from_json({"cores": many}) is None
    with pytest.raises(MessageRefused):
        parse_header(dumps({"v": 1, "node": {"node": "n", "have": {}, "memory_used": many}}))


def test_a_report_of_a_machine_travels_in_a_header_with_room_to_spare() -> None:
    many = {f"accelerator-kind-{n}": 10**6 for n in range(16)}
    have = Resources(cores=999_999.999, memory=2**53 - 1, disk=2**53 - 1, accelerators=many)
    report = NodeReport("n" * 64, have, True, have, 4096, 0.12345, 1.0)
    header = Header(worker="w" * 64, boot="a" * 16, node=report.to_json())
    assert len(header.to_text()) < MAX_HEADER
    read = report_from_json(loads(header.to_text())["node"])
    assert read == NodeReport("n" * 64, have, True, have, 4096, 0.123, 1.0)
    bare = NodeReport("n", NOTHING)
    assert report_from_json(bare.to_json()) == bare
