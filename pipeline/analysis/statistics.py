"""Paired comparisons over seeds, with bootstrap intervals."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval, in the unit of the values.

    Of a single value there is no interval: `low` and `high` are NaN. Of no values at all, the mean is NaN too.
    """

    value: float
    low: float
    high: float

    def excludes(self, null: float) -> bool:
        """Return whether there is an interval and all of it lies on one side of `null`."""
        return self.low > null or self.high < null


@dataclass(frozen=True)
class Comparison:
    """A treatment compared with its control, pair by pair.

    Attributes:
        pairs: How many pairs were compared.
        treatment_mean: Mean of the treatment's values, in their unit; NaN without pairs.
        control_mean: Mean of the control's values.
        difference: Mean of treatment minus control.
        superiority: Probability that the treatment has the greater value of a pair, ties counting half (Bouthillier
            et al. 2021, "Accounting for variance in machine learning benchmarks", section 5).
    """

    pairs: int
    treatment_mean: float
    control_mean: float
    difference: Interval
    superiority: Interval


def compare(treatment: Floats, control: Floats, confidence: float, resamples: int) -> Comparison:
    """Compare two sets of values that share their seeds, such as accuracies with and without Batch Normalization.

    Pairs with a value that is not finite, because a training diverged, are left out.

    Args:
        treatment: One value per seed [seeds].
        control: Values [seeds] in the same unit, of the same seeds in the same order.
        confidence: Probability that an interval covers the mean, between 0 and 1.
        resamples: How many bootstrap resamples of the pairs an interval is taken from.
    """
    finite = np.isfinite(treatment) & np.isfinite(control)
    treatment, control = treatment[finite], control[finite]
    differences = treatment - control
    return Comparison(
        pairs=len(differences),
        treatment_mean=_mean(treatment),
        control_mean=_mean(control),
        difference=interval(differences, confidence, resamples),
        superiority=interval((np.sign(differences) + 1) / 2, confidence, resamples),
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def interval(values: Floats, confidence: float, resamples: int) -> Interval:
    """Return the mean of values [count] with its percentile bootstrap interval, from a fixed random state."""
    if len(values) < 2:
        return Interval(_mean(values), float("nan"), float("nan"))
    from scipy import stats  # which takes a second

    bounds = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(_mean(values), float(bounds.low), float(bounds.high))


def verdict(difference: Interval, more: str, less: str) -> str:
    """Say in words what the interval of a difference shows.

    Args:
        difference: Mean of treatment minus control.
        more: The verdict if the treatment has the greater values.
        less: The verdict if it has the smaller ones.

    Returns:
        One of the two, or that no difference is shown or that there are too few pairs for an interval.
    """
    if math.isnan(difference.low):
        return "too few pairs to tell"
    if not difference.excludes(0):
        return "no difference is shown"
    return more if difference.value > 0 else less
