"""The automaton is the one that is drawn, and taskflow's."""

from __future__ import annotations

import inspect

import pytest
from automaton.exceptions import FrozenMachine
from hypothesis import given, settings
from hypothesis import strategies as st
from taskflow.engines.worker_based import protocol as theirs

from protocol import states
from protocol.errors import IllegalTransition
from protocol.states import EVENT, FAILURE, PENDING, RUNNING, STATES, SUCCESS, WAITING, Progress

#: How to come to each state.
WAYS = {
    WAITING: (),
    PENDING: (PENDING,),
    RUNNING: (PENDING, RUNNING),
    SUCCESS: (PENDING, RUNNING, SUCCESS),
    FAILURE: (FAILURE,),
}
LEGAL = {
    WAITING: {PENDING, FAILURE},
    PENDING: {RUNNING, FAILURE},
    RUNNING: {SUCCESS, FAILURE},
    SUCCESS: set(),
    FAILURE: set(),
}
PAIRS = [(start, end) for start in STATES for end in STATES if start != end]


def came_to(state: str) -> Progress:
    """A progress in this state."""
    progress = Progress()
    for step in WAYS[state]:
        progress.advance(step)
    return progress


def test_the_table_in_the_docstring_is_the_automaton() -> None:
    """The drawing is compared, so that it cannot grow old."""
    doc = inspect.getdoc(states)
    assert doc is not None
    drawn = [line.strip() for line in doc.splitlines() if line.strip()[:1] in {"+", "|"}]
    assert "\n".join(drawn) == states.PROTOTYPE.pformat()


def test_the_transitions_are_taskflows_and_no_other() -> None:
    """Compared with the machine that taskflow builds."""
    machine = theirs.build_a_machine()
    assert set(states.PROTOTYPE) == set(machine)
    assert set(states.PROTOTYPE.states) == set(machine.states)
    assert states.PROTOTYPE.default_start_state == machine.default_start_state
    assert states.PROTOTYPE.pformat() == machine.pformat()


def test_the_states_are_grouped_as_taskflow_groups_them() -> None:
    """Where a request expires, and what stops its timer."""
    assert frozenset(theirs.WAITING_STATES) == states.EXPIRING
    assert frozenset(theirs.STOP_TIMER_STATES) == frozenset(STATES) - states.EXPIRING
    assert frozenset(theirs.STOP_TIMER_STATES) > states.TERMINAL
    assert theirs.EVENT == EVENT


def test_an_attempt_begins_waiting_and_alone() -> None:
    """What one attempt does is not seen by another."""
    one, other = Progress(), Progress()
    one.advance(PENDING)
    assert (one.state, other.state) == (PENDING, WAITING)
    assert repr(one) == "<Progress PENDING>"


@pytest.mark.parametrize("state", STATES)
def test_the_same_state_again_is_no_change(state: str) -> None:
    """Also in an end."""
    progress = came_to(state)
    assert progress.advance(state) is False
    assert progress.state == state
    assert progress.is_terminal is (state in {SUCCESS, FAILURE})


@pytest.mark.parametrize(("start", "end"), [pair for pair in PAIRS if pair[1] in LEGAL[pair[0]]])
def test_a_legal_transition_is_made(start: str, end: str) -> None:
    """All six of them."""
    progress = came_to(start)
    assert progress.advance(end) is True
    assert progress.state == end


@pytest.mark.parametrize(
    ("start", "end"),
    [pair for pair in PAIRS if pair[1] not in LEGAL[pair[0]]]
    + [(state, other) for state in STATES for other in (EVENT, "success", "", "on_running")],
)
def test_an_illegal_transition_is_refused_and_the_state_stays(start: str, end: str) -> None:
    """SUCCESS before RUNNING among them, and what is no state at all."""
    progress = came_to(start)
    with pytest.raises(IllegalTransition, match=start) as caught:
        progress.advance(end)
    assert (caught.value.state, caught.value.event) == (start, end)
    assert progress.state == start


def test_the_prototype_and_its_copies_are_frozen() -> None:
    """Nobody adds a transition to one of them."""
    copy = states.PROTOTYPE.copy(shallow=True)
    for machine in (states.PROTOTYPE, copy):
        assert machine.frozen
        with pytest.raises(FrozenMachine):
            machine.add_state("PAUSED")
        with pytest.raises(FrozenMachine):
            machine.add_transition(SUCCESS, WAITING, "again")


@given(st.lists(st.sampled_from([*STATES, EVENT, "", "paused"]), max_size=12))
@settings(deadline=None)
def test_any_sequence_leaves_a_legal_state_and_never_leaves_an_end(asked: list[str]) -> None:
    """Whatever peers say in whatever order."""
    progress = Progress()
    for state in asked:
        before = progress.state
        try:
            changed = progress.advance(state)
        except IllegalTransition:
            assert progress.state == before
            assert state not in LEGAL[before]
        else:
            assert progress.state == state
            assert changed is (state != before)
            assert not changed or state in LEGAL[before]
        assert progress.state in STATES
        assert before not in states.TERMINAL or progress.state == before
