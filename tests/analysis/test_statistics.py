"""Paired comparisons against hand computation, against simulation, and without pairs."""

import math

import numpy as np
import pytest

from pipeline.analysis.statistics import Comparison, Interval, compare, verdict

NAN, INF = float("nan"), float("inf")


def compared(
    treatment: list[float], control: list[float], confidence: float = 0.95, resamples: int = 2000
) -> Comparison:
    return compare(np.array(treatment, float), np.array(control, float), confidence, resamples)


def test_means_and_differences_are_those_by_hand() -> None:
    comparison = compared([0.9, 0.7, 0.8, 0.6], [0.5, 0.8, 0.4, 0.3])
    assert comparison.pairs == 4
    assert comparison.treatment_mean == pytest.approx(3.0 / 4)
    assert comparison.control_mean == pytest.approx(2.0 / 4)
    assert comparison.difference.value == pytest.approx((0.4 - 0.1 + 0.4 + 0.3) / 4)
    assert comparison.superiority.value == 3 / 4


@pytest.mark.parametrize(
    ("treatment", "control", "expected"),
    [
        ([1, 2, 3], [0, 1, 2], 1),
        ([0, 1, 2], [1, 2, 3], 0),
        ([1, 2], [1, 2], 0.5),
        ([1, 2, 3, 4], [1, 1, 4, 4], (0.5 + 1 + 0 + 0.5) / 4),
    ],
)
def test_ties_count_half(treatment: list[float], control: list[float], expected: float) -> None:
    assert compared(treatment, control).superiority.value == expected


def test_exchanging_treatment_and_control_mirrors_the_result() -> None:
    one, other = compared([3, 1, 4, 1, 5], [2, 7, 1, 8, 2]), compared([2, 7, 1, 8, 2], [3, 1, 4, 1, 5])
    assert one.difference.value == -other.difference.value
    assert one.superiority.value == 1 - other.superiority.value
    assert one.difference.low == pytest.approx(-other.difference.high, abs=0.5)


def test_an_interval_of_two_pairs_is_that_of_its_four_resamples() -> None:
    """Resample means are 0, 1, 1 and 2 with equal chances: 95 % spans all of them, 40 % the middle alone."""
    wide = compared([0, 2], [0, 0]).difference
    assert (wide.low, wide.value, wide.high) == (0, 1, 2)
    narrow = compared([0, 2], [0, 0], confidence=0.4).difference
    assert (narrow.low, narrow.value, narrow.high) == (1, 1, 1)


def test_an_interval_is_a_percentile_interval_over_pairs() -> None:
    random = np.random.default_rng(5)
    treatment, control = random.normal(1, 1, 10), random.normal(0, 1, 10)
    comparison = compare(treatment, control, 0.9, 20_000)
    chosen = random.integers(0, 10, (20_000, 10))
    for interval, values in (
        (comparison.difference, treatment - control),
        (comparison.superiority, (treatment > control).astype(float)),
    ):
        low, high = np.quantile(values[chosen].mean(axis=1), [0.05, 0.95])
        assert interval.low == pytest.approx(low, abs=0.03)
        assert interval.high == pytest.approx(high, abs=0.03)


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    """A percentile interval is a little narrow for few pairs: with 20, some 93 % instead of 95 %."""
    random = np.random.default_rng(11)
    trials = 400
    hits = 0
    for _ in range(trials):
        shared = random.normal(0, 5, 20)
        interval = compare(shared + random.normal(0.3, 1, 20), shared, 0.95, 400).difference
        hits += interval.low <= 0.3 <= interval.high
    assert 0.89 <= hits / trials <= 0.97


def test_more_confidence_gives_a_wider_interval() -> None:
    widths = []
    for confidence in (0.5, 0.8, 0.95, 0.99):
        interval = compared([3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8], confidence).difference
        widths.append(interval.high - interval.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_one_pair_has_values_and_no_bounds() -> None:
    comparison = compared([0.9], [0.4])
    assert comparison.pairs == 1
    assert (comparison.difference.value, comparison.superiority.value) == (0.5, 1)
    for interval in (comparison.difference, comparison.superiority):
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
        assert not interval.excludes(0)


@pytest.mark.parametrize(("treatment", "control"), [([], []), ([NAN], [1.0]), ([1.0, INF], [-INF, 2.0])])
def test_no_pair_has_no_values(treatment: list[float], control: list[float]) -> None:
    comparison = compared(treatment, control)
    assert comparison.pairs == 0
    numbers = [comparison.treatment_mean, comparison.control_mean]
    numbers += [n for i in (comparison.difference, comparison.superiority) for n in (i.value, i.low, i.high)]
    assert all(math.isnan(number) for number in numbers)


def test_pairs_with_a_training_that_diverged_are_left_out_of_everything() -> None:
    kept = compared([3, 1, 4], [2, 7, 1])
    assert compared([3, NAN, 1, 9, 4, INF], [2, 5, 7, NAN, 1, 5]) == kept
    assert kept.pairs == 3


def test_equal_differences_give_an_interval_without_width() -> None:
    comparison = compared([1.5, 2.5, 3.5], [1, 2, 3])
    assert comparison.difference == Interval(0.5, 0.5, 0.5)
    assert comparison.superiority == Interval(1, 1, 1)
    assert compared([1, 2], [1, 2]).difference == Interval(0, 0, 0)


def test_the_same_values_give_the_same_intervals_whatever_the_random_state() -> None:
    first = compared([3, 1, 4, 1, 5], [2, 7, 1, 8, 2])
    np.random.default_rng().random()
    assert compared([3, 1, 4, 1, 5], [2, 7, 1, 8, 2]) == first


@pytest.mark.parametrize(
    ("interval", "excludes"),
    [
        (Interval(1, 0.1, 2), True),
        (Interval(-1, -2, -0.1), True),
        (Interval(1, -0.1, 2), False),
        (Interval(1, 0, 2), False),
        (Interval(-1, -2, 0), False),
        (Interval(0, 0, 0), False),
        (Interval(1, NAN, NAN), False),
    ],
)
def test_an_interval_excludes_zero_if_it_lies_on_one_side(interval: Interval, excludes: bool) -> None:
    assert interval.excludes(0) is excludes


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(2, 1, 3), "more"),
        (Interval(-2, -3, -1), "less"),
        (Interval(1, -1, 3), "no difference is shown"),
        (Interval(1, 0, 3), "no difference is shown"),
        (Interval(1, math.nan, math.nan), "too few pairs to tell"),
    ],
)
def test_a_verdict_needs_an_interval_that_excludes_zero(interval: Interval, words: str) -> None:
    assert verdict(interval, "more", "less") == words
