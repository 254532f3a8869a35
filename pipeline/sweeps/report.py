"""The results of a sweep: the table of its points, the best point of each variant, and the answer in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import Comparison, Interval, compare, interval
from pipeline.analysis.tables import Table, format_interval, format_number, markdown_table
from pipeline.params import VARIANTS, Evaluate, Variant
from pipeline.sweeps.grid import Point
from pipeline.sweeps.outcome import Outcome
from pipeline.training.history import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Result:
    """One point of the grid with the outcome of each variant."""

    point: Point
    outcomes: Mapping[Variant, Outcome]

    def final(self, variant: Variant) -> Floats:
        """Return the validation accuracy [seeds] after the last epoch."""
        return self.outcomes[variant].validation_accuracy[:, -1]

    def mean(self, variant: Variant, settings: Evaluate) -> Interval:
        """Return the mean over seeds of the final validation accuracy."""
        return interval(self.final(variant), settings.confidence, settings.resamples)

    def tested(self, variant: Variant, settings: Evaluate) -> Interval:
        """Return the mean over seeds of the test accuracy."""
        return interval(self.outcomes[variant].test_accuracy, settings.confidence, settings.resamples)

    def difference(self, settings: Evaluate) -> Comparison:
        """Compare the variants' final validation accuracies, seed by seed."""
        return compare(self.final("batchnorm"), self.final("plain"), settings.confidence, settings.resamples)


@dataclass(frozen=True)
class Report:
    """Lines of Markdown, with figures and tables by the name of their file."""

    lines: list[str]
    figures: dict[str, "Figure"]
    tables: dict[str, Table] = field(default_factory=dict)


def best(results: Sequence[Result], variant: Variant) -> Result:
    """Return the point with the greatest mean validation accuracy, or the first of several."""
    return max(results, key=lambda result: float(result.final(variant).mean()))


def table(results: Sequence[Result], settings: Evaluate) -> tuple[list[str], list[list[str]]]:
    """Return a header, and a row for each point.

    A row has the point's values, then each variant's validation accuracy with its interval and the number of trainings
    that diverged, then the difference of the variants with its interval and the number of pairs.
    """
    keys = list(results[0].point.values)
    header = [*keys]
    for variant in VARIANTS:
        header += [f"{variant}_{column}" for column in ("accuracy", "low", "high", "diverged")]
    header += ["difference", "difference_low", "difference_high", "pairs"]
    rows = []
    for result in results:
        row = [result.point.values[key] for key in keys]
        for variant in VARIANTS:
            row += [*_bounds(result.mean(variant, settings)), str(_diverged(result.outcomes[variant]))]
        comparison = result.difference(settings)
        rows.append([*row, *_bounds(comparison.difference), str(comparison.pairs)])
    return header, rows


def groups(results: Sequence[Result]) -> dict[tuple[str, ...], list[Result]]:
    """Group the points by their values of all keys but the first."""
    grouped: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        grouped.setdefault(tuple(result.point.values.values())[1:], []).append(result)
    return grouped


def answer(results: Sequence[Result], settings: Evaluate, holdout: int) -> str:
    """Return the sweep's table and best points as Markdown.

    Args:
        results: All points of the grid.
        settings: How intervals are computed.
        holdout: How many training images were held out for validation; if none, validation is on the test images.
    """
    where = f"{holdout} held-out training images" if holdout else "the test images"
    lines = [
        f"Accuracy on {where} after the last epoch, means over seeds with {100 * settings.confidence:g} % bootstrap "
        "intervals; differences are Batch Normalization minus plain, pair by pair.",
        "",
        *markdown_table(*table(results, settings)),
        "",
        *_best(results, settings, holdout),
        "",
    ]
    return "\n".join(lines)


def _best(results: Sequence[Result], settings: Evaluate, holdout: int) -> list[str]:
    if not holdout:
        return [
            "No best point is chosen: the accuracies are the test images', and choosing needs held-out training "
            "images (data.holdout above 0)."
        ]
    chosen = {variant: best(results, variant) for variant in VARIANTS}
    lines = [
        "The best point of each variant was chosen on the held-out images, then evaluated once on the test images:",
        "",
    ]
    for variant, result in chosen.items():
        accuracy = format_interval(result.tested(variant, settings))
        lines.append(f"- {VARIANT_NAMES[variant]}: {_describe(result.point)}; test accuracy {accuracy}.")
    comparison = compare_best(chosen, settings)
    if comparison.pairs < 2:
        remark = " One pair is too few for an interval." if comparison.pairs else " No pair is without divergence."
    else:
        remark = "" if comparison.difference.excludes(0) else " No difference is shown."
    pairs = f"{comparison.pairs} pair{'s' * (comparison.pairs != 1)}"
    difference = format_interval(comparison.difference)
    lines += ["", f"Difference at the two best points, over {pairs}: {difference}.{remark}"]
    if len(groups(results)) > 1:
        lines += ["", *_best_by_group(results, settings)]
    return lines


def _best_by_group(results: Sequence[Result], settings: Evaluate) -> list[str]:
    key, *others = results[0].point.values
    header = [*others]
    for variant in VARIANTS:
        header += [f"{VARIANT_NAMES[variant]}: best {key}", f"{VARIANT_NAMES[variant]}: test accuracy"]
    header += ["difference", "pairs"]
    rows = []
    for values, group in groups(results).items():
        chosen = {variant: best(group, variant) for variant in VARIANTS}
        row = [*values]
        for variant, result in chosen.items():
            row += [result.point.values[key], format_interval(result.tested(variant, settings))]
        comparison = compare_best(chosen, settings)
        rows.append([*row, format_interval(comparison.difference), str(comparison.pairs)])
    return [
        f"Likewise for each choice of {' and '.join(others)}, each variant at its own best {key}:",
        "",
        *markdown_table(header, rows),
    ]


def compare_best(chosen: Mapping[Variant, Result], settings: Evaluate) -> Comparison:
    """Compare the test accuracies of the variants, each at its chosen point, seed by seed."""
    accuracies = {variant: result.outcomes[variant].test_accuracy for variant, result in chosen.items()}
    return compare(accuracies["batchnorm"], accuracies["plain"], settings.confidence, settings.resamples)


def _describe(point: Point) -> str:
    return ", ".join(f"{key} = {value}" for key, value in point.values.items())


def _diverged(outcome: Outcome) -> int:
    return int(np.count_nonzero(outcome.diverged_at))


def _bounds(interval: Interval) -> list[str]:
    return [format_number(number) for number in (interval.value, interval.low, interval.high)]
