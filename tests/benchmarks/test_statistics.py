from __future__ import annotations

import pytest

from benchmarks.statistics import Spread, percentile, ratios, rounded


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([3.0], 0.99, 3.0),
        ([2.0, 1.0], 0.5, 1.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 1.0, 100.0),
        ([float(n) for n in range(1, 11)], 0.99, 10.0),
        ([5.0, 6.0], 0.0, 5.0),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[float], share: float, found: float
) -> None:
    assert percentile(values, share) == found


def test_a_spread_is_the_middle_and_both_ends() -> None:
    assert Spread.of([3.0, 1.0, 9.0, 2.0]) == Spread(2.5, 1.0, 9.0, 4)


def test_ratios_are_of_pairs_and_not_of_medians() -> None:
    ours = {1: 100.0, 2: 10.0, 3: 60.0}
    theirs = {1: 50.0, 2: 5.0, 3: 20.0}
    # The machine was busy in the second round, for both.
    assert ratios(ours, theirs) == Spread(2.0, 2.0, 3.0, 3)


def test_a_round_that_only_one_of_them_has_is_no_pair() -> None:
    assert ratios({1: 6.0, 2: 8.0}, {2: 4.0, 3: 1.0}) == Spread(2.0, 2.0, 2.0, 1)
    assert ratios({1: 6.0}, {2: 4.0}) is None
    assert ratios({1: 6.0}, {1: 0.0}) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (12345.6, "12,300"),
        (999.6, "1,000"),
        (123.4, "123"),
        (12.34, "12.3"),
        (1.0, "1.00"),
        (0.035149, "0.0351"),
        (-1.234, "-1.23"),
        (float("inf"), "inf"),
    ],
)
def test_figures_are_told_to_three_places(value: float, said: str) -> None:
    assert rounded(value) == said
