"""The results of a sweep in tables and in words: its points, its trainings, and the best point of each variant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED
from pipeline.analysis.tables import (
    ACCURACIES,
    DIFFERENCE,
    PER_SEED,
    Table,
    accuracy_cells,
    difference_cells,
    for_each,
    format_failures,
    format_interval,
    format_number,
    format_quartiles,
    markdown_table,
    per_seed,
)
from pipeline.params import Evaluate, Variant
from pipeline.sweeps.best import describe_best
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result, groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report:
    """Lines of Markdown, with figures and tables by the name of their file."""

    lines: list[str]
    figures: dict[str, "Figure"]
    tables: dict[str, Table] = field(default_factory=dict)


def table(results: Sequence[Result], settings: Evaluate) -> Table:
    """Return a header, and a row for each point.

    A row has the point's values and, if some points were added around the best ones, whether this one was; for each
    variant the number of trainings, of those that failed and of those that diverged, then of the others' validation
    accuracy the mean with its interval, the median and the quartiles; and for each variant but the control the
    difference from that with its interval, the number of pairs and the p of their sign-flip test.
    """
    keys, added = list(results[0].point.values), any(result.added for result in results)
    header = [*keys, *(["added"] if added else [])]
    for variant in results[0].variants:
        header += [f"{variant}_{column}" for column in ACCURACIES]
    rows = []
    for result in results:
        row = [*result.point.values.values(), *(["yes" if result.added else "no"] if added else [])]
        for variant in result.variants:
            row += accuracy_cells(result.final(variant), settings.confidence)
        for comparison in result.differences(settings).values():
            row += difference_cells(comparison)
        rows.append(row)
    return [*header, *for_each(results[0].variants[1:], DIFFERENCE)], rows


def compact_table(results: Sequence[Result], settings: Evaluate) -> Table:
    """Return a header, and a row for each point that fits a page: of each variant the median and how many failed.

    The differences from the control are those of the means, with their intervals.
    """
    header = [key.split(".")[-1] for key in results[0].point.values]
    for variant in results[0].variants:
        header += [VARIANT_NAMES[variant], "failed"]
    rows = []
    for result in results:
        row = [*result.point.values.values()]
        for variant in result.variants:
            failed = result.failures(variant, settings)
            row += [format_number(result.summary(variant, settings).median), f"{failed.count:g}/{failed.total}"]
        differences = [comparison.difference for comparison in result.differences(settings).values()]
        rows.append([*row, *(format_interval(difference, sign="+") for difference in differences)])
    return [*header, *for_each(_treatments(results), ["difference"], ": ")], rows


def seeds_table(results: Sequence[Result]) -> Table:
    """Return a header, and a row for each training: all that tables, intervals and verdicts are computed from.

    Where the best points are confirmed, the column `role` says whether a training was one of those to `choose` by or to
    `confirm`; then the former have no test accuracy and loss, because nothing uses theirs.
    """
    keys, confirming = list(results[0].point.values), any(result.confirmed for result in results)
    rows = []
    for result in results:
        for variant, outcome in result.outcomes.items():
            cells = _per_seed(variant, result.point.params.train.seeds, outcome, tested=not confirming)
            rows += [[*result.point.values.values(), *(["choose"] if confirming else []), *row] for row in cells]
        for variant, outcome in result.confirmed.items():
            cells = _per_seed(variant, result.seeds, outcome)
            rows += [[*result.point.values.values(), "confirm", *row] for row in cells]
    return [*keys, *(["role"] if confirming else []), *PER_SEED], rows


def _per_seed(variant: Variant, seeds: Sequence[int], outcome: Outcome, *, tested: bool = True) -> Iterator[list[str]]:
    test = [outcome.test_accuracy, outcome.test_loss]
    finals = [outcome.validation_accuracy[:, -1], outcome.validation_loss[:, -1]]
    finals += test if tested else [np.full_like(values, np.nan) for values in test]
    return per_seed(variant, seeds, finals, outcome.diverged_at)


def answer(results: Sequence[Result], settings: Evaluate, holdout: int, verdicts: Sequence[str] = ()) -> str:
    """Return the sweep's table and best points as Markdown.

    Args:
        results: All points of the grid.
        settings: How intervals are computed.
        holdout: How many training images were held out for validation; if none, validation is on the test images.
        verdicts: Lines on what the comparisons show, if no report of the study says it.
    """
    where = f"{holdout} held-out training images" if holdout else "the test images"
    lines = [
        f"Accuracy on {where} after the last epoch, over seeds: medians with quartiles, means with Student's "
        f"{100 * settings.confidence:g} % intervals, and how many trainings failed (below {LEARNED:g}, or diverged; "
        f"those that diverged have no accuracy). Differences are means of {_minus(results)}, pair by pair; each "
        "interval is that of a single comparison.",
        "",
        *_points(results, settings),
        "",
        *_added(results),
        *describe_best(results, settings, holdout),
        *verdicts,
        "",
    ]
    return "\n".join(lines)


def _added(results: Sequence[Result]) -> list[str]:
    """Say which points are not of the grid that was given."""
    key, *others = results[0].point.values
    added = []
    for values, group in groups(results).items():
        texts = [result.point.values[key] for result in group if result.added]
        where = f" ({', '.join(values)})" if others else ""
        added += [f"{key} = {', '.join(texts)}{where}"] if texts else []
    return [f"Added around the best points: {'; '.join(added)}.", ""] if added else []


def _points(results: Sequence[Result], settings: Evaluate) -> list[str]:
    header = [*results[0].point.values]
    for variant in results[0].variants:
        header += [f"{VARIANT_NAMES[variant]}: {column}" for column in ("failed", "median (quartiles)", "mean")]
    header += for_each(_treatments(results), ["difference", "pairs"], ": ")
    rows = []
    for result in results:
        row = [*result.point.values.values()]
        for variant in result.variants:
            summary = result.summary(variant, settings)
            row += [
                format_failures(result.failures(variant, settings), result.diverged(variant)),
                format_quartiles(summary),
                format_interval(summary.mean),
            ]
        for comparison in result.differences(settings).values():
            row += [format_interval(comparison.difference), str(comparison.pairs)]
        rows.append(row)
    return markdown_table(header, rows)


def _treatments(results: Sequence[Result]) -> list[str]:
    return [VARIANT_NAMES[variant] for variant in results[0].variants[1:]]


def _minus(results: Sequence[Result]) -> str:
    """Say what differences are of."""
    treatments = _treatments(results)
    control = VARIANT_NAMES[results[0].variants[0]]
    return f"{treatments[0] if len(treatments) == 1 else 'each variant'} minus {control}"
