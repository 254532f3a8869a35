"""The paired comparison over seeds."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval; without an interval (NaN) when a single pair was measured."""

    value: float
    low: float
    high: float

    def excludes(self, null: float) -> bool:
        """Whether the whole interval lies on one side of `null`."""
        return self.low > null or self.high < null


@dataclass(frozen=True)
class Comparison:
    """Batch Normalization against plain, over `pairs` of trainings that share weights and batches.

    difference: mean of batchnorm - plain.
    superiority: probability that a pair's batchnorm value is the greater, ties counting half (Bouthillier et
        al. 2021, "Accounting for variance in machine learning benchmarks", section 5).
    """

    pairs: int
    batchnorm_mean: float
    plain_mean: float
    difference: Interval
    superiority: Interval


def compare(batchnorm: Floats, plain: Floats, confidence: float, resamples: int) -> Comparison:
    """Compare one value per seed [seeds], the same seed at the same place in both.

    Intervals are percentile bootstrap intervals over pairs, from a fixed random state. Pairs in which a
    training diverged (a value that is not finite) are left out.
    """
    finite = np.isfinite(batchnorm) & np.isfinite(plain)
    batchnorm, plain = batchnorm[finite], plain[finite]
    differences = batchnorm - plain
    return Comparison(
        pairs=len(differences),
        batchnorm_mean=_mean(batchnorm),
        plain_mean=_mean(plain),
        difference=interval(differences, confidence, resamples),
        superiority=interval((np.sign(differences) + 1) / 2, confidence, resamples),
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def interval(values: Floats, confidence: float, resamples: int) -> Interval:
    """Return the mean of values [count] with its percentile bootstrap interval, from a fixed random state."""
    if len(values) < 2:
        return Interval(_mean(values), float("nan"), float("nan"))
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(_mean(values), float(found.low), float(found.high))


def verdict(difference: Interval, more: str, less: str) -> str:
    """Return in words what an interval shows: that there is `more`, that there is `less`, or neither."""
    if math.isnan(difference.low):
        return "too few pairs to tell"
    if not difference.excludes(0):
        return "no difference is shown"
    return more if difference.value > 0 else less
