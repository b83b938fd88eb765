"""The list of rules does not rot, and the quick ones are seen to be missed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.joint.mutations import ROOT, copied, run
from tests.joint.rules import MUTATIONS, Mutation

#: Seconds of the processor for a rule that is missed within a few.
PATIENCE = 40.0
QUICK = [mutation for mutation in MUTATIONS if mutation.is_quick]


def named(mutation: Mutation) -> str:
    return mutation.name.replace(" ", "-")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=named)
def test_each_rule_stands_exactly_once_where_it_is_taken_out(mutation: Mutation) -> None:
    assert mutation.changes
    for file, old, new in mutation.changes:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has it {text.count(old)} times:\n{old}"
        changed = text.replace(old, new)
        assert changed != text
        compile(changed, file, "exec")


def test_each_rule_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert set(Counter(mutation.name for mutation in MUTATIONS).values()) == {1}
    assert all(len(mutation.rule.split()) > 5 for mutation in MUTATIONS)
    assert not any(mutation.harmless and mutation.is_quick for mutation in MUTATIONS)


def test_a_copy_differs_by_its_rule_and_nothing_else(tmp_path: Path) -> None:
    mutation = MUTATIONS[0]
    copied(mutation, tmp_path)
    (change,) = mutation.changes
    differing = [
        str(path.relative_to(ROOT))
        for path in ROOT.glob("worker/**/*.py")
        if path.read_bytes() != (tmp_path / path.relative_to(ROOT)).read_bytes()
    ]
    assert differing == [change[0]]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", QUICK, ids=named)
def test_what_is_missed_at_once_is_missed(mutation: Mutation) -> None:
    caught = run(mutation, PATIENCE, with_traces=False)
    assert caught.promise is not None, f"{caught.walks} walks and nobody missed it: {mutation.rule}"
