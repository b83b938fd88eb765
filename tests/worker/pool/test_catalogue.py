"""What the hosts of a pool say they offer, put together."""

from __future__ import annotations

import pytest

from worker.pool.catalogue import Catalogue
from worker.work import Offer, Offers

FIRST = ["a.one", [1, 0], "One.", None, None]
SECOND = ["a.two", [2, 1], "", 10.0, 8]
ONE, TWO = Offer("a.one", (1, 0), "One."), Offer("a.two", (2, 1), "", 10.0, 8)


@pytest.fixture
def catalogue() -> Catalogue:
    """One whose hosts have loaded the module they were started with."""
    catalogue = Catalogue(["a"])
    catalogue.ready([FIRST], [])
    return catalogue


def test_the_first_host_that_is_ready_speaks_for_all(catalogue: Catalogue) -> None:
    catalogue.ready([SECOND], [])
    assert catalogue.offers == (ONE,)


def test_what_is_asked_for_is_answered_once_a_host_has_it(catalogue: Catalogue) -> None:
    assert catalogue.asked("b") is None
    assert catalogue.asked("b") is None
    assert catalogue.more == ["b"]
    assert catalogue.answered("b", None, [FIRST, SECOND], ["left out"]) == Offers(
        (ONE, TWO), ("left out",)
    )
    assert catalogue.answered("b", None, [FIRST, SECOND], []) is None, "the second host's answer"


def test_what_is_known_is_answered_at_once(catalogue: Catalogue) -> None:
    assert catalogue.asked("a") == Offers((ONE,))
    catalogue.asked("b")
    catalogue.answered("b", None, [FIRST, SECOND], [])
    assert catalogue.asked("b") == Offers((ONE, TWO))


def test_what_is_refused_is_kept_so_that_each_host_can_say_why(catalogue: Catalogue) -> None:
    catalogue.asked("b")
    assert catalogue.answered("b", "no such module", [FIRST], ["more"]) == Offers(
        (ONE,), ("no such module",)
    )
    assert catalogue.more == ["b"]


def test_what_a_host_dies_of_is_forgotten_and_may_be_asked_for_again(catalogue: Catalogue) -> None:
    catalogue.asked("b")
    assert catalogue.fatal("b", "it died") == Offers((ONE,), ("it died",))
    assert catalogue.fatal("b", "it died") is None
    assert catalogue.more == []
    assert catalogue.asked("b") is None
    assert catalogue.more == ["b"]


def test_an_answer_nobody_waits_for_is_no_matter(catalogue: Catalogue) -> None:
    assert catalogue.answered("c", None, [SECOND], []) is None
    assert catalogue.offers == (ONE,)
