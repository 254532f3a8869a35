"""What a sweep found: the table of its points, the best of each variant, and the answer in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.analysis.figures import LABELS
from pipeline.analysis.statistics import Comparison, Interval, compare, interval
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
        """Validation accuracy [seeds] after the last epoch."""
        return self.outcomes[variant].validation_accuracy[:, -1]

    def mean(self, variant: Variant, settings: Evaluate) -> Interval:
        """Mean validation accuracy over the seeds."""
        return interval(self.final(variant), settings.confidence, settings.resamples)

    def difference(self, settings: Evaluate) -> Comparison:
        """The variants' validation accuracies, compared seed by seed."""
        return compare(self.final("batchnorm"), self.final("plain"), settings.confidence, settings.resamples)


@dataclass(frozen=True)
class Findings:
    """Lines of Markdown; figures and tables (header and rows) by the name of their file."""

    words: list[str]
    figures: dict[str, "Figure"]
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = field(default_factory=dict)


def best(results: Sequence[Result], variant: Variant) -> Result:
    """The point with the greatest mean validation accuracy; of equals, the first."""
    return max(results, key=lambda result: float(result.final(variant).mean()))


def table(results: Sequence[Result], settings: Evaluate) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a point's values; each variant's accuracy, interval and divergences; their difference."""
    keys = list(results[0].point.values)
    header = [*keys]
    for variant in VARIANTS:
        header += [f"{variant}_{what}" for what in ("accuracy", "low", "high", "diverged")]
    header += ["difference", "difference_low", "difference_high", "pairs"]
    rows = []
    for result in results:
        row = [result.point.values[key] for key in keys]
        for variant in VARIANTS:
            mean = result.mean(variant, settings)
            row += [*map(number, (mean.value, mean.low, mean.high)), str(_diverged(result.outcomes[variant]))]
        found = result.difference(settings)
        row += [*map(number, (found.difference.value, found.difference.low, found.difference.high)), str(found.pairs)]
        rows.append(row)
    return header, rows


def groups(results: Sequence[Result]) -> dict[tuple[str, ...], list[Result]]:
    """Group the points by the values of all keys but the first."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        found.setdefault(tuple(result.point.values.values())[1:], []).append(result)
    return found


def answer(results: Sequence[Result], settings: Evaluate, holdout: int) -> str:
    """The sweep in words: Markdown made from its numbers."""
    header, rows = table(results, settings)
    where = f"{holdout} held-out training images" if holdout else "the test images"
    lines = [
        f"Accuracy on {where} after the last epoch, means over seeds with {100 * settings.confidence:g} % bootstrap "
        "intervals; differences are Batch Normalization minus plain, pair by pair.",
        "",
        *markdown(header, rows),
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
        tested = interval(result.outcomes[variant].test_accuracy, settings.confidence, settings.resamples)
        lines.append(f"- {LABELS[variant]}: {_where(result.point)}; test accuracy {spread(tested)}.")
    found = compare_best(chosen, settings)
    if found.pairs < 2:
        verdict = " One pair is too few for an interval." if found.pairs else " No pair is without divergence."
    else:
        verdict = "" if found.difference.excludes(0) else " No difference is shown."
    pairs = f"{found.pairs} pair{'s' * (found.pairs != 1)}"
    lines += ["", f"Difference at the two best points, over {pairs}: {spread(found.difference)}.{verdict}"]
    if len(groups(results)) > 1:
        lines += ["", *_best_by_group(results, settings)]
    return lines


def _best_by_group(results: Sequence[Result], settings: Evaluate) -> list[str]:
    key, *others = results[0].point.values
    cells = [*others]
    for variant in VARIANTS:
        cells += [f"{LABELS[variant]}: best {key}", f"{LABELS[variant]}: test accuracy"]
    cells += ["difference", "pairs"]
    rows = []
    for values, of in groups(results).items():
        chosen = {variant: best(of, variant) for variant in VARIANTS}
        row = [*values]
        for variant, result in chosen.items():
            tested = interval(result.outcomes[variant].test_accuracy, settings.confidence, settings.resamples)
            row += [result.point.values[key], spread(tested)]
        found = compare_best(chosen, settings)
        rows.append([*row, spread(found.difference), str(found.pairs)])
    return [
        f"Likewise for each choice of {' and '.join(others)}, each variant at its own best {key}:",
        "",
        *markdown(cells, rows),
    ]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows)]


def compare_best(chosen: Mapping[Variant, Result], settings: Evaluate) -> Comparison:
    """The test accuracies of the two best points, compared seed by seed."""
    tested = {variant: result.outcomes[variant].test_accuracy for variant, result in chosen.items()}
    return compare(tested["batchnorm"], tested["plain"], settings.confidence, settings.resamples)


def _where(point: Point) -> str:
    return ", ".join(f"{key} = {value}" for key, value in point.values.items())


def _diverged(outcome: Outcome) -> int:
    return int(np.count_nonzero(outcome.diverged_at))


def number(value: float) -> str:
    """Return a number with four digits, or nothing for what is not one."""
    return f"{value:.4f}" if np.isfinite(value) else ""


def spread(interval: Interval) -> str:
    """Return a value with its interval, if it has one."""
    value, low, high = (number(one) for one in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]" if low else value
