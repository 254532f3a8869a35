"""Paired comparisons over seeds: intervals, tests and proportions, each with the source of its formula.

A training that diverged has no value: it counts as failed, and is NaN wherever values are given. Probabilities come
from `scipy.special`, because importing `scipy.stats` takes a second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEARNED = 0.9  # accuracy from which a training has learned; below it, it has failed
EXACT = 40  # pairs up to which all choices of signs are counted
DRAWS = 100_000  # choices of signs that are drawn for more pairs than that
NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval, in the unit of the value.

    Of a single value there is no interval: `low` and `high` are NaN. Of no values at all, `value` is NaN too.
    """

    value: float
    low: float
    high: float

    def excludes(self, null: float) -> bool:
        """Return whether there is an interval and all of it lies on one side of `null`."""
        return self.low > null or self.high < null


@dataclass(frozen=True)
class Proportion:
    """`count` of `total`, with the interval of the probability behind it; NaN if `total` is 0."""

    count: float
    total: int
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """One variant's values.

    Attributes:
        count: How many there are, without those of trainings that diverged.
        mean: Their mean, with Student's interval.
        lower_quartile: A quarter of them is below it; NaN without values, as are the next two.
        median: Half of them is below it.
        upper_quartile: Three quarters of them are below it.
    """

    count: int
    mean: Interval
    lower_quartile: float
    median: float
    upper_quartile: float


@dataclass(frozen=True)
class Comparison:
    """A treatment compared with its control, pair by pair.

    Attributes:
        pairs: How many pairs were compared: those of which neither training diverged.
        treatment: The treatment's values in these pairs.
        control: The control's values in these pairs.
        difference: Mean of treatment minus control, with Student's interval.
        deviation: Standard deviation of the differences, as of a sample; NaN for fewer than two.
        sign_flip: Exact two-sided p of the hypothesis that each difference is as likely as its negative.
        wins: In how many pairs the treatment has the greater value, ties counting half.
        correlation: Pearson's, of the values of a pair; NaN if either is constant. Pairing helps if it is positive.
        learned: `difference` among the pairs in which both trainings learned, and the number of these pairs; None if
            it was not said which learned.
    """

    pairs: int
    treatment: Summary
    control: Summary
    difference: Interval
    deviation: float
    sign_flip: float
    wins: Proportion
    correlation: float
    learned: tuple[Interval, int] | None = None

    def p(self) -> float:
        """Return the two-sided p of Student's test that the mean difference is 0; NaN for fewer than two pairs."""
        return min(2 * self._tail(abs(self.difference.value)), 1.0)

    def p_equivalent(self, margin: float) -> float:
        """Return the p of two one-sided tests (Schuirmann 1987) that the mean difference is within ± `margin`.

        It is below 5 % just if the 90 % interval lies within the margin.
        """
        return self._tail(margin - abs(self.difference.value))

    def _tail(self, distance: float) -> float:
        """Return the probability that Student's t exceeds a distance in units of the mean's standard error."""
        from scipy import special

        if self.pairs < 2:
            return NAN
        error = self.deviation / math.sqrt(self.pairs)
        statistic = distance / error if error else math.copysign(math.inf, distance) if distance else 0.0
        return float(special.stdtr(self.pairs - 1, -statistic))


def compare(treatment: Floats, control: Floats, confidence: float, learned: Bools | None = None) -> Comparison:
    """Compare two sets of values that share their seeds, such as accuracies with and without Batch Normalization.

    Pairs with a value that is not finite, because a training diverged, are left out.

    Args:
        treatment: One value per seed [seeds].
        control: Values [seeds] in the same unit, of the same seeds in the same order.
        confidence: Probability that an interval covers what it estimates, between 0 and 1.
        learned: In which pairs [seeds] both trainings learned.
    """
    finite = np.isfinite(treatment) & np.isfinite(control)
    if learned is not None:
        chosen = (treatment - control)[finite & learned]
        among = interval(chosen, confidence), len(chosen)
    treatment, control = treatment[finite], control[finite]
    differences = treatment - control
    constant = len(differences) < 2 or np.ptp(treatment) == 0 or np.ptp(control) == 0
    return Comparison(
        pairs=len(differences),
        treatment=summarise(treatment, confidence),
        control=summarise(control, confidence),
        difference=interval(differences, confidence),
        deviation=_deviation(differences),
        sign_flip=sign_flip(differences),
        wins=_wins(differences, confidence),
        correlation=NAN if constant else float(np.corrcoef(treatment, control)[0, 1]),
        learned=None if learned is None else among,
    )


def summarise(values: Floats, confidence: float) -> Summary:
    """Return mean, median and quartiles of values [count]; those that are not finite are left out."""
    values = values[np.isfinite(values)]
    quartiles = np.quantile(values, [0.25, 0.5, 0.75]).tolist() if len(values) else [NAN] * 3
    return Summary(len(values), interval(values, confidence), *quartiles)


def interval(values: Floats, confidence: float) -> Interval:
    """Return the mean of values [count] with Student's t interval (Student 1908).

    Values that are not finite are left out. Equal values have an interval without width.
    """
    from scipy import special

    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else NAN
    if len(values) < 2:
        return Interval(mean, NAN, NAN)
    quantile = float(special.stdtrit(len(values) - 1, (1 + confidence) / 2))
    half = quantile * _deviation(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def exponential(logarithm: Interval) -> Interval:
    """Return the exponential of a mean logarithm: a geometric mean, or a ratio of two, with its interval."""
    return Interval(*(float(np.exp(value)) for value in (logarithm.value, logarithm.low, logarithm.high)))


def _deviation(values: Floats) -> float:
    """Return a sample's standard deviation: NaN for fewer than two values, 0 for those that differ by rounding."""
    if len(values) < 2:
        return NAN
    deviation = float(values.std(ddof=1))
    return deviation if deviation > 1e-14 * float(np.abs(values).max()) else 0.0


def sign_flip(differences: Floats) -> float:
    """Return the two-sided p of a sign-flip test of differences [pairs] (Fisher 1935, section 21).

    It is the share of all choices of signs whose sum is as far from 0 as that observed, or farther: of up to 40 pairs
    all choices are counted, half of the pairs against the other; of more, 100,000 are drawn from a fixed random state.
    NaN without pairs.
    """
    count = len(differences)
    if not count:
        return NAN
    observed = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()  # what differs by rounding is equal
    if count <= EXACT:
        left, right = (_signed_sums(half) for half in np.array_split(differences, 2))
        right.sort()
        above = len(right) - np.searchsorted(right, observed - left, side="left")
        below = np.searchsorted(right, -observed - left, side="right")
        return min(float((above.sum() + below.sum()) / 2.0**count), 1.0)
    random = np.random.default_rng(0)
    signs = (random.choice([-1.0, 1.0], (DRAWS // 100, count)) for _ in range(100))
    hits = sum(int(np.count_nonzero(np.abs(chosen @ differences) >= observed)) for chosen in signs)
    return (hits + 1) / (DRAWS + 1)


def _signed_sums(values: Floats) -> Floats:
    """Return the sums of values [count] for all choices of their signs [2 ** count]."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def proportion(count: float, total: int, confidence: float, *, wilson: bool = False) -> Proportion:
    """Return a proportion with the interval of Clopper and Pearson (1934), or Wilson's (1927), which takes halves."""
    from scipy import special

    if not total:
        return Proportion(count, total, NAN, NAN)
    tail = (1 - confidence) / 2
    if not wilson:
        low = float(special.betaincinv(count, total - count + 1, tail)) if count else 0.0
        high = float(special.betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
        return Proportion(count, total, low, high)
    z2 = float(special.ndtri(tail)) ** 2
    share = count / total
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * total)) / total) / (1 + z2 / total)
    return Proportion(count, total, centre - half, centre + half)


def _wins(differences: Floats, confidence: float) -> Proportion:
    signs = np.sign(differences)
    return proportion(float((signs + 1).sum()) / 2, len(signs), confidence, wilson=not signs.all())


def failures(accuracy: Floats, confidence: float, least: float = LEARNED) -> Proportion:
    """Return how many trainings failed, given accuracies [seeds] as fractions: they are below `least`, or diverged."""
    return proportion(float(np.count_nonzero(~learned(accuracy, least))), len(accuracy), confidence)


def of_survivors(values: Floats, diverged_at: Floats) -> Floats:
    """Return values [seeds] without those of trainings that diverged: NaN where `diverged_at` [seeds] is not 0."""
    kept: Floats = np.where(diverged_at, NAN, values)
    return kept


def lower_median(values: Floats) -> int:
    """Return the place of the median of `values`, the lower one of an even number; NaN are left out, unless all are."""
    order = np.argsort(values)  # NaN last
    kept = int(np.isfinite(values).sum())
    return int(order[max(kept - 1, 0) // 2])


def learned(accuracy: Floats, least: float = LEARNED) -> Bools:
    """Return which accuracies are those of a training that neither failed, being below `least`, nor diverged."""
    return np.nan_to_num(accuracy) >= least


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust the p of a family of tests (Holm 1979), so that any false rejection has at most the level's probability.

    Tests without a p (NaN) are not of the family.
    """
    order = sorted((at for at, p in enumerate(ps) if not math.isnan(p)), key=lambda at: ps[at])
    adjusted, greatest = [NAN] * len(ps), 0.0
    for rank, at in enumerate(order):
        greatest = max(greatest, min((len(order) - rank) * ps[at], 1.0))
        adjusted[at] = greatest
    return adjusted


def for_new_images(treatment: Bools, control: Bools, confidence: float) -> Interval:
    """Return the difference of two mean accuracies with an interval for new seeds and new test images.

    Seeds and images are crossed random effects without replication: the variance of the mean is (MS of seeds + MS of
    images - MS of the rest) / (seeds × images), and its degrees of freedom are Satterthwaite's (Satterthwaite 1946;
    Searle, Casella and McCulloch 1992, chapter 4). It is never narrower than the interval for the same images.

    Args:
        treatment: Whether each network was right [seeds, images], without those that diverged.
        control: Likewise [seeds, images], of the same seeds and images in the same order.
        confidence: Probability that the interval covers the mean, between 0 and 1.
    """
    from scipy import special

    differences = treatment.astype(float) - control.astype(float)
    seeds, images = differences.shape
    mean = float(differences.mean()) if differences.size else NAN
    if seeds < 2 or images < 2:
        return Interval(mean, NAN, NAN)
    by_seed, by_image = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_image + mean
    squares = np.array([images * by_seed.var(ddof=1), seeds * by_image.var(ddof=1), np.square(rest).sum()])
    freedom = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)])
    squares[2] /= freedom[2]
    signs = np.array([1, 1, -1]) if squares[1] > squares[2] else np.array([1, 0, 0])
    variance = float(signs @ squares)
    if not variance:
        return Interval(mean, mean, mean)
    satterthwaite = variance**2 / float((np.square(signs * squares) / freedom).sum())
    half = float(special.stdtrit(satterthwaite, (1 + confidence) / 2)) * math.sqrt(variance / (seeds * images))
    half = max(half, interval(by_seed, confidence).high - mean)
    return Interval(mean, mean - half, mean + half)
