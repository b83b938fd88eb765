"""The states of a request and the one frozen automaton between them.

Everything about states lives here; nothing here knows messages, peers or time. The automaton is
taskflow's, transition for transition (``taskflow.engines.worker_based.protocol``, the machine of
``Request``), and has no other::

    +------------+------------+---------+----------+---------+
    |   Start    |   Event    |   End   | On Enter | On Exit |
    +------------+------------+---------+----------+---------+
    | FAILURE[$] |     .      |    .    |    .     |    .    |
    |  PENDING   | on_failure | FAILURE |    .     |    .    |
    |  PENDING   | on_running | RUNNING |    .     |    .    |
    |  RUNNING   | on_failure | FAILURE |    .     |    .    |
    |  RUNNING   | on_success | SUCCESS |    .     |    .    |
    | SUCCESS[$] |     .      |    .    |    .     |    .    |
    | WAITING[^] | on_failure | FAILURE |    .     |    .    |
    | WAITING[^] | on_pending | PENDING |    .     |    .    |
    +------------+------------+---------+----------+---------+

In words: WAITING is not sent yet, PENDING is sent and not yet known to run, RUNNING runs, SUCCESS
and FAILURE are ends and are never left. A request expires in WAITING and PENDING only. EVENT
travels like a state in a response but is none: a running task said something.

The prototype is built once and frozen; an attempt takes a shallow copy, which is a quarter of a
microsecond and frozen as well.
"""

from __future__ import annotations

from typing import Final

from automaton import exceptions as automaton_errors
from automaton import machines

from protocol.errors import IllegalTransition

WAITING: Final = "WAITING"
PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"

#: What a response may carry in ``state`` beside the states: a task event.
EVENT: Final = "EVENT"

STATES: Final = (WAITING, PENDING, RUNNING, SUCCESS, FAILURE)
TERMINAL: Final = frozenset({SUCCESS, FAILURE})
#: The states a request can expire in; RUNNING or an end stops its timer.
EXPIRING: Final = frozenset({WAITING, PENDING})

_TRANSITIONS: Final = (
    (WAITING, PENDING),  # a worker was chosen and the request is about to be published
    (WAITING, FAILURE),  # it expired, was cancelled, or could not be sent
    (PENDING, RUNNING),  # the worker says it started
    (PENDING, FAILURE),  # the worker could not start it, or it expired
    (RUNNING, SUCCESS),  # the worker says it returned
    (RUNNING, FAILURE),  # the worker says it raised
)


def _build() -> machines.FiniteMachine:
    machine = machines.FiniteMachine()
    for state in STATES:
        machine.add_state(state, terminal=state in TERMINAL)
    machine.default_start_state = WAITING
    for start, end in _TRANSITIONS:
        machine.add_transition(start, end, _event(end))
    machine.freeze()
    return machine


def _event(state: str) -> str:
    return f"on_{state.lower()}"


PROTOTYPE: Final = _build()
_EVENTS: Final = {state: _event(state) for state in STATES}


class Progress:
    """How far one attempt has come: a private copy of the automaton. Owner's thread only."""

    __slots__ = ("_machine", "state")

    def __init__(self) -> None:
        self._machine = PROTOTYPE.copy(shallow=True)
        self._machine.initialize()
        #: One of :data:`STATES`: the machine's, which takes three calls to ask.
        self.state: str = WAITING

    def __repr__(self) -> str:
        return f"<Progress {self.state}>"

    @property
    def is_terminal(self) -> bool:
        """Whether this is an end, which is never left."""
        return self.state in TERMINAL

    def advance(self, state: str) -> bool:
        """Go to ``state``. True if that changed anything; the same state again is no change.

        Raises :class:`~protocol.errors.IllegalTransition` for a transition the table above does not
        have, unknown states included, and stays where it was.
        """
        if state == self.state:
            return False
        try:
            self._machine.process_event(_EVENTS[state])
        except (KeyError, automaton_errors.NotFound, automaton_errors.InvalidState) as refusal:
            raise IllegalTransition(self.state, state) from refusal
        self.state = state
        return True
