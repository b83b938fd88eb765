"""The joint world driven by Hypothesis, which shrinks what it finds better than anybody."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.joint.bounds import bounded
from tests.joint.steps import take
from tests.joint.walker import drawn
from tests.joint.world import World

picks = st.integers(0, 1 << 10)


class AnythingHappens(RuleBasedStateMachine):
    """Each rule is a step, or a few that belong together; the promises are checked in each."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds = bounded(False)
        self.world: World | None = None

    @initialize(number=st.integers(0, 1 << 20), is_tight=st.booleans())
    def begin(self, number: int, is_tight: bool) -> None:
        """A world of some kind, and a request in it."""
        self.bounds = bounded(is_tight)
        self.bounds.__enter__()
        self.world = World(drawn(number).setting)
        self.world.deliver_everything()
        self.step("submit", number, number)

    def step(self, word: str, a: int, b: int) -> None:
        """One step."""
        assert self.world is not None
        take(self.world, (word, a, b))

    @rule(a=picks, b=picks)
    def deliver(self, a: int, b: int) -> None:
        """One letter."""
        self.step("deliver", a, b)

    @rule(a=picks, b=picks)
    def deliver_twice(self, a: int, b: int) -> None:
        """One letter, of which a copy stays under way."""
        self.step("deliver", a, 8 * b)

    @rule(a=picks)
    def lose(self, a: int) -> None:
        """One letter."""
        self.step("lose", a, 0)

    @rule(a=picks, word=st.sampled_from(["lapse", "good", "wait"]))
    def time_passes(self, a: int, word: str) -> None:
        """In silence, in good order, or until somebody wakes."""
        self.step(word, a, 0)

    @rule(a=picks, b=picks, word=st.sampled_from(["submit", "cancel", "turn"]))
    def a_caller(self, a: int, b: int, word: str) -> None:
        """Wants something."""
        self.step(word, a, b)

    @rule(a=picks, b=picks, word=st.sampled_from(["end", "end", "event"]))
    def a_run(self, a: int, b: int, word: str) -> None:
        """Says something, or ends."""
        self.step(word, a, b)

    @rule(
        a=picks,
        b=picks,
        word=st.sampled_from(["kill", "boot", "freeze", "thaw", "drain", "gone", "misdeliver"]),
    )
    def a_worker(self, a: int, b: int, word: str) -> None:
        """Comes, goes, or stands still."""
        self.step(word, a, b)

    @rule(a=picks, b=picks, word=st.sampled_from(["kill_executor", "freeze_executor", "restart"]))
    def the_executor(self, a: int, b: int, word: str) -> None:
        """Dies at any line, and comes back."""
        self.step(word, a, b)

    def teardown(self) -> None:
        """The faults stop: everything ends."""
        try:
            if self.world is not None:
                self.world.calm_down(self.world.requests)
        finally:
            if self.world is not None:
                self.bounds.__exit__(None, None, None)


TestAnythingHappens = AnythingHappens.TestCase
TestAnythingHappens.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
