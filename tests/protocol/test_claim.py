"""A claim as text: what is written is read, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.claim import MAX_VALUE, Claim, claim_name, read_claim

CLAIM = Claim("nightly", 3, "6f1c", "shop.thumbnail")


def test_what_is_written_is_read() -> None:
    assert read_claim(CLAIM.to_text()) == CLAIM


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_a_task_is_called_its_claim_is_short_and_in_ascii(task: str, uuid: str) -> None:
    text = Claim("e" * 64, 1 << 60, uuid[:36], task).to_text()
    assert len(text) <= MAX_VALUE
    assert text.isascii()
    found = read_claim(text)
    assert found is not None
    assert found.task == task[:200]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "[]",
        "{}",
        "nonsense",
        '{"ex":"e","in":1,"uuid":"u"}',
        '{"ex":"e","in":true,"uuid":"u","task":"t"}',
        '{"ex":"e","in":"1","uuid":"u","task":"t"}',
        '{"ex":1,"in":1,"uuid":"u","task":"t"}',
        CLAIM.to_text()[:-1],
        "[" * 5000,
    ],
)
def test_what_no_executor_writes_is_no_claim(text: str) -> None:
    assert read_claim(text) is None


@given(st.tuples(st.text(), st.text()))
def test_no_two_keys_have_one_name(keys: tuple[str, str]) -> None:
    one, other = (claim_name("default", key) for key in keys)
    assert (one == other) == (keys[0] == keys[1])
    assert one.isascii()


def test_exchanges_do_not_share_keys() -> None:
    assert claim_name("a", "b:c") != claim_name("a.b", "c")
    assert claim_name("taskline", "nightly") == "taskline.claim:taskline:nightly"
