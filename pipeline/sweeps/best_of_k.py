"""The accuracy to be expected of the best of k values that are drawn at random from a grid (Dodge et al. 2019)."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import interval
from pipeline.analysis.tables import Table, for_each, format_interval
from pipeline.analysis.wording import key_words
from pipeline.errors import UserError
from pipeline.params import Variant
from pipeline.sweeps.grid import Point
from pipeline.sweeps.refine import check_numeric
from pipeline.sweeps.result import Result, groups
from pipeline.training.history import Floats

LEAST = 5  # values that a group must have
CHANCE = 0.1  # the accuracy of a training that diverged: that of guessing one of ten classes


def check_best_of_k(points: Sequence[Point], holdout: int) -> None:
    """Check that the table can be computed.

    Raises:
        UserError: It cannot: nothing is held out, or a group has fewer than five values that are numbers.
    """
    if not holdout:
        raise UserError("best_of_k: the best is chosen on held-out images; set data.holdout above 0")
    check_numeric("best_of_k", points, LEAST)


def expected_best(accuracies: Floats, k: int) -> Floats:
    """Return each seed's expected greatest accuracy among k values drawn with replacement from the grid.

    With a seed's accuracies sorted, v(1) ≤ … ≤ v(m), it is the sum over i of v(i) · ((i/m)^k - ((i - 1)/m)^k): the mean
    of the maximum of k draws from their empirical distribution (Dodge et al. 2019, *Show Your Work: Improved Reporting
    of Experimental Results*, equation 7).

    Args:
        accuracies: One of each seed at every value of the grid [seeds, m].
        k: How many values are drawn, at least 1.

    Returns:
        The expectations [seeds].
    """
    count = accuracies.shape[1]
    weights = np.diff((np.arange(count + 1) / count) ** k)
    expected: Floats = np.sort(accuracies, axis=1) @ weights
    return expected


def best_of_k(results: Sequence[Result], draws: Sequence[int], confidence: float) -> Table:
    """Return a header, and a row for each group and number of draws.

    The unit is the seed: the same trainings at every value of the grid. Seeds are independent of each other, so
    Student's interval of the seeds' expectations holds for new seeds, on this grid and these held-out images. Points
    that were added around the best are left out, because nobody who draws at random would have them.

    Args:
        results: All points.
        draws: The numbers k of values that are drawn.
        confidence: Probability that an interval covers what it estimates, between 0 and 1.
    """
    names = [VARIANT_NAMES[variant] for variant in results[0].variants]
    header = [*list(results[0].point.values)[1:], "k", *names, *for_each(names[1:], ["lead"], ": ")]
    rows = []
    for values, group in groups(results).items():
        accuracies = [_by_seed(group, variant) for variant in results[0].variants]
        for k in draws:
            control, *others = (expected_best(seeds, k) for seeds in accuracies)
            columns = [control, *others, *(other - control for other in others)]
            rows.append([*values, str(k), *(format_interval(interval(column, confidence)) for column in columns)])
    return header, rows


def explain_best_of_k(results: Sequence[Result]) -> list[str]:
    """Return lines of Markdown that say what the table shows."""
    key = key_words(next(iter(results[0].point.values)))
    control, *treatments = (VARIANT_NAMES[variant] for variant in results[0].variants)
    lead = treatments[0] if len(treatments) == 1 else "each variant"
    return [
        f"Expected held-out accuracy of the best of k values of the {key} that are drawn at random, with replacement, "
        "from the grid (Dodge et al. 2019, equation 7), computed for each seed and averaged over seeds, with "
        f"Student's intervals over seeds; the lead is {lead} minus {control}, seed by seed. The best is "
        "chosen by the accuracy that is reported, so a value is not that of a fresh test. A training that diverged "
        f"counts as {CHANCE:g} (chance); points that refinement added do not count.",
    ]


def _by_seed(group: Sequence[Result], variant: Variant) -> Floats:
    """Return the held-out accuracies [seeds, values] at the points of the grid."""
    columns = [np.nan_to_num(result.final(variant), nan=CHANCE) for result in group if not result.added]
    return np.stack(columns, axis=1)
