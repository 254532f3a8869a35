"""Intervals, tests and proportions against SciPy, hand computation, enumeration and simulation."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis.statistics import (
    Bools,
    Comparison,
    Floats,
    Interval,
    compare,
    exponential,
    failures,
    for_new_images,
    holm,
    interval,
    learned,
    proportion,
    sign_flip,
    summarise,
)

NAN, INF = float("nan"), float("inf")


def compared(treatment: list[float], control: list[float], confidence: float = 0.95) -> Comparison:
    return compare(np.array(treatment, float), np.array(control, float), confidence)


def test_means_quartiles_and_differences_are_those_by_hand() -> None:
    comparison = compared([0.9, 0.7, 0.8, 0.6], [0.5, 0.8, 0.4, 0.3])
    assert comparison.pairs == comparison.treatment.count == 4
    assert comparison.treatment.mean.value == pytest.approx(3.0 / 4)
    assert comparison.control.mean.value == pytest.approx(2.0 / 4)
    assert comparison.difference.value == pytest.approx((0.4 - 0.1 + 0.4 + 0.3) / 4)
    assert (comparison.wins.count, comparison.wins.total) == (3, 4)
    summary = summarise(np.array([5.0, 1, 2, 4, 3, NAN, INF]), 0.95)
    assert (summary.count, summary.mean.value) == (5, 3)
    assert (summary.lower_quartile, summary.median, summary.upper_quartile) == (2, 3, 4)


@pytest.mark.parametrize("count", [2, 10, 30])
def test_interval_p_and_correlation_are_scipys(count: int) -> None:
    random = np.random.default_rng(5)
    treatment, control = random.normal(0.4, 1, count), random.normal(0, 1, count)
    comparison = compare(treatment, control, 0.9)
    expected = stats.ttest_rel(treatment, control)
    bounds = expected.confidence_interval(0.9)
    assert comparison.difference.low == pytest.approx(bounds.low)
    assert comparison.difference.high == pytest.approx(bounds.high)
    assert comparison.p() == pytest.approx(expected.pvalue)
    assert comparison.correlation == pytest.approx(stats.pearsonr(treatment, control).statistic)
    one_sided = [
        stats.ttest_1samp(treatment - control, end, alternative=side).pvalue
        for end, side in ((-0.8, "greater"), (0.8, "less"))
    ]
    assert comparison.p_equivalent(0.8) == pytest.approx(max(one_sided))


def test_two_one_sided_tests_are_the_90_per_cent_interval_within_the_margin() -> None:
    comparison = compared([0.91, 0.93, 0.92, 0.96], [0.92, 0.91, 0.92, 0.95])
    narrow = compared([0.91, 0.93, 0.92, 0.96], [0.92, 0.91, 0.92, 0.95], 0.9).difference
    edge = max(-narrow.low, narrow.high)
    assert comparison.p_equivalent(edge) == pytest.approx(0.05)
    assert comparison.p_equivalent(edge + 0.01) < 0.05 < comparison.p_equivalent(edge - 0.01)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_the_sign_flip_test_counts_all_choices_of_signs(count: int) -> None:
    random = np.random.default_rng(count)
    differences = np.round(random.normal(0.3, 1, count), 1)
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in _signs(count)]
    expected = np.mean([value >= abs(differences.sum()) - 1e-9 for value in sums])
    assert sign_flip(differences) == pytest.approx(expected)


def _signs(count: int) -> list[tuple[int, ...]]:
    return list(itertools.product((1, -1), repeat=count))


def test_the_sign_flip_test_of_one_sign_or_no_difference() -> None:
    assert sign_flip(np.full(10, 0.4)) == 2 / 2**10
    assert sign_flip(-np.arange(1.0, 31)) == 2 / 2**30
    assert sign_flip(np.zeros(10)) == 1
    assert math.isnan(sign_flip(np.array([])))


def test_of_many_pairs_signs_are_drawn_and_always_the_same_ones() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, 50)
    drawn, exact = sign_flip(differences), stats.ttest_1samp(differences, 0).pvalue
    assert drawn == pytest.approx(exact, abs=0.01)
    assert drawn == sign_flip(differences)
    assert sign_flip(np.full(41, 1.0)) == pytest.approx(1 / 100_001)


@pytest.mark.parametrize("total", [1, 10, 30])
def test_proportions_have_the_intervals_of_clopper_and_pearson(total: int) -> None:
    for count in range(total + 1):
        expected = stats.binomtest(count, total).proportion_ci(0.95, "exact")
        found = proportion(count, total, 0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert proportion(10, 10, 0.95).low == pytest.approx(0.69, abs=0.005)
    assert proportion(30, 30, 0.95).low == pytest.approx(0.88, abs=0.005)


def test_a_tie_is_half_a_win_and_gives_wilsons_interval() -> None:
    comparison = compared([1, 2, 3, 4], [1, 1, 4, 3])
    assert comparison.wins.count == 2.5
    low, high = (stats.binomtest(k, 4).proportion_ci(0.95, "wilson") for k in (2, 3))
    assert low.low < comparison.wins.low < high.low
    assert low.high < comparison.wins.high < high.high
    even = compared([1, 1], [1, 1]).wins
    expected = stats.binomtest(1, 2).proportion_ci(0.95, "wilson")
    assert (even.count, even.low, even.high) == pytest.approx((1, expected.low, expected.high))
    assert math.isnan(proportion(0, 0, 0.95).low)


def test_a_training_fails_below_nine_tenths_or_if_it_diverged() -> None:
    accuracy = np.array([0.9, 0.89999, 0.97, NAN, 0.1])
    assert learned(accuracy).tolist() == [True, False, True, False, False]
    failed = failures(accuracy, 0.95)
    assert (failed.count, failed.total) == (3, 5)


def test_the_difference_among_pairs_that_learn_is_beside_that_of_all() -> None:
    treatment, control = np.array([0.95, 0.96, 0.97, NAN]), np.array([0.2, 0.93, 0.95, 0.9])
    comparison = compare(treatment, control, 0.95, learned(treatment) & learned(control))
    assert comparison.pairs == 3
    assert comparison.learned
    among, count = comparison.learned
    assert (among, count) == (interval(np.array([0.96 - 0.93, 0.97 - 0.95]), 0.95), 2)
    assert compare(treatment, control, 0.95).learned is None


def test_the_exponential_of_a_mean_logarithm_is_a_geometric_mean() -> None:
    values = np.array([1.0, 10.0, 100.0])
    mean = exponential(interval(np.log(values), 0.95))
    assert mean.value == pytest.approx(10)
    assert mean.low * mean.high == pytest.approx(100)
    assert math.isnan(exponential(Interval(0, NAN, NAN)).low)


def test_exchanging_treatment_and_control_mirrors_the_result() -> None:
    one, other = compared([3, 1, 4, 1, 5], [2, 7, 1, 8, 2]), compared([2, 7, 1, 8, 2], [3, 1, 4, 1, 5])
    assert (one.difference.value, one.difference.low) == (-other.difference.value, -other.difference.high)
    assert one.wins.count == 5 - other.wins.count
    assert (one.p(), one.sign_flip) == (other.p(), other.sign_flip)


def test_one_pair_has_values_and_no_bounds() -> None:
    comparison = compared([0.9], [0.4])
    assert (comparison.pairs, comparison.difference.value, comparison.wins.count) == (1, 0.5, 1)
    assert math.isnan(comparison.difference.low)
    assert math.isnan(comparison.p())
    assert math.isnan(comparison.p_equivalent(1))
    assert math.isnan(comparison.correlation)
    assert comparison.sign_flip == 1
    assert not comparison.difference.excludes(0)


@pytest.mark.parametrize(("treatment", "control"), [([], []), ([NAN], [1.0]), ([1.0, INF], [-INF, 2.0])])
def test_no_pair_has_no_values(treatment: list[float], control: list[float]) -> None:
    comparison = compared(treatment, control)
    assert comparison.pairs == comparison.wins.total == 0
    numbers = [comparison.treatment.mean.value, comparison.control.median, comparison.p(), comparison.sign_flip]
    numbers += [comparison.difference.value, comparison.difference.low, comparison.wins.low, comparison.wins.high]
    assert all(math.isnan(number) for number in numbers)


def test_pairs_with_a_training_that_diverged_are_left_out_of_everything() -> None:
    kept = compared([3, 1, 4], [2, 7, 1])
    assert compared([3, NAN, 1, 9, 4, INF], [2, 5, 7, NAN, 1, 5]) == kept
    assert kept.pairs == 3


def test_equal_differences_give_an_interval_without_width() -> None:
    comparison = compared([1.5, 2.5, 3.5], [1, 2, 3])
    assert comparison.difference == Interval(0.5, 0.5, 0.5)
    assert (comparison.p(), comparison.p_equivalent(0.6), comparison.p_equivalent(0.4)) == (0, 0, 1)
    nothing = compared([1, 2], [1, 2])
    assert nothing.difference == Interval(0, 0, 0)
    assert (nothing.p(), nothing.sign_flip, nothing.p_equivalent(0.1)) == (1, 1, 0)
    rounded = compared([0.3, 0.5], [0.1, 0.3])  # 0.19999999999999998 and 0.2
    assert rounded.p() == 0


def test_holm_multiplies_the_least_by_the_number_of_tests_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # by hand
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    first, missing, last = holm([0.04, NAN, 0.01])
    assert (first, last) == (0.04, 0.02)
    assert math.isnan(missing)


@pytest.mark.parametrize(
    ("found", "excludes"),
    [
        (Interval(1, 0.1, 2), True),
        (Interval(-1, -2, -0.1), True),
        (Interval(1, -0.1, 2), False),
        (Interval(1, 0, 2), False),
        (Interval(0, 0, 0), False),
        (Interval(1, NAN, NAN), False),
    ],
)
def test_an_interval_excludes_zero_if_it_lies_on_one_side(found: Interval, excludes: bool) -> None:
    assert found.excludes(0) is excludes


# Coverage, by simulation

DIFFERENCES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "normal": lambda random, size: random.normal(0, 1, size),
    "bimodal": lambda random, size: random.choice([-1.0, 1.0], size) + random.normal(0, 0.3, size),
    "heavy-tailed": lambda random, size: random.standard_t(3, size),
}
TRIALS = 4000  # the share that covers has a standard error of 0.0034


def percentile_bootstrap(differences: Floats, random: np.random.Generator) -> tuple[float, float]:
    """The interval that this project used before: quantiles of the means of resamples."""
    means = random.choice(differences, (400, len(differences))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("pairs", [10, 30])
@pytest.mark.parametrize("kind", DIFFERENCES)
def test_the_interval_covers_as_often_as_it_says(kind: str, pairs: int) -> None:
    random = np.random.default_rng(pairs)
    found = [interval(sample, 0.95) for sample in DIFFERENCES[kind](random, (TRIALS, pairs))]
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= 0.93


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_a_percentile_bootstrap_of_ten_pairs_would_not_cover(kind: str) -> None:
    random = np.random.default_rng(10)
    found = [percentile_bootstrap(sample, random) for sample in DIFFERENCES[kind](random, (TRIALS, 10))]
    assert np.mean([low <= 0 <= high for low, high in found]) < 0.93


def right(random: np.random.Generator, seeds: int, images: int) -> tuple[Bools, Bools]:
    """Two variants' answers: the chance of a right one varies by seed and by image; on average the first is right
    0.1 more often."""
    by_seed, by_image = random.uniform(-0.05, 0.05, (seeds, 1)), random.choice([-0.2, 0.4], images)
    chance = random.uniform(0, 1, (seeds, images))
    return chance < 0.5 + by_seed + by_image, random.uniform(0, 1, (seeds, images)) < 0.5


def test_the_interval_for_new_images_covers_where_that_of_the_seeds_does_not() -> None:
    random = np.random.default_rng(3)
    both, alone = [], []
    for _ in range(400):
        treatment, control = right(random, 10, 100)
        both.append(for_new_images(treatment, control, 0.95))
        alone.append(interval((treatment.mean(axis=1) - control.mean(axis=1)), 0.95))
    assert np.mean([one.low <= 0.1 <= one.high for one in both]) >= 0.93
    assert np.mean([one.low <= 0.1 <= one.high for one in alone]) < 0.8
    assert both[0].value == pytest.approx(alone[0].value)


def test_the_interval_for_new_images_is_that_of_the_seeds_where_images_do_not_matter() -> None:
    treatment = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 1]], bool)
    control = np.zeros((3, 4), bool)
    found, seeds = for_new_images(treatment, control, 0.95), interval(treatment.mean(axis=1), 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((seeds.value, seeds.low, seeds.high))
    assert for_new_images(control, control, 0.95) == Interval(0, 0, 0)
    assert math.isnan(for_new_images(control[:1], control[:1], 0.95).low)
    assert math.isnan(for_new_images(control[:0], control[:0], 0.95).value)
