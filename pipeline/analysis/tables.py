"""Tables in Markdown, and the numbers and intervals in them: the only module that formats either."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.analysis.statistics import (
    LEARNED,
    Comparison,
    Floats,
    Interval,
    Proportion,
    Summary,
    failures,
    of_survivors,
    summarise,
)
from pipeline.params import Variant

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # header and rows

PER_SEED = (  # the columns of per_seed.csv, after those of a sweep's point
    "variant",
    "seed",
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "diverged_at",
)
ACCURACIES = (  # the heads of `accuracy_cells`
    "n",
    "failed",
    "diverged",
    "accuracy",
    "low",
    "high",
    "median",
    "lower_quartile",
    "upper_quartile",
)
DIFFERENCE = ("difference", "difference_low", "difference_high", "pairs", "p_sign_flip")  # those of `difference_cells`


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; every row has as many cells as the header."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def align_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table for a terminal, with two spaces between the columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (header, *rows)
    ]


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for LaTeX, which needs the package booktabs."""
    lines = [f"{' & '.join(map(_latex, cells))} \\\\" for cells in (header, *rows)]
    columns = "l" * len(header)
    body = [lines[0], r"\midrule", *lines[1:]]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}", ""])


def _latex(text: str) -> str:
    """Return a text in which the characters that LaTeX would interpret are escaped; a row must not begin with `[`."""
    escaped = "".join(f"\\{character}" if character in "&%$#_{}" else character for character in text)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def format_number(value: float, digits: int = 4, *, sign: str = "", missing: str = "") -> str:
    """Format a number with a fixed count of decimals.

    Args:
        value: The number.
        digits: How many decimals it gets.
        sign: `+` to write the sign of positive numbers too.
        missing: The text for a value that is not finite.
    """
    return f"{value:{sign}.{digits}f}" if math.isfinite(value) else missing


def format_interval(interval: Interval, digits: int = 4, *, sign: str = "", missing: str = "") -> str:
    """Format a value with its interval, such as `0.5000 [0.4000, 0.6000]`, or alone if it has no interval.

    The arguments are those of `format_number`.
    """
    value, low, high = (
        format_number(number, digits, sign=sign, missing=missing)
        for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]" if math.isfinite(interval.low) else value


def format_p(p: float, missing: str = "") -> str:
    """Format a probability with two significant digits; NaN is `missing`."""
    if math.isnan(p):
        return missing
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def format_proportion(proportion: Proportion, missing: str = "") -> str:
    """Format a proportion with its interval, such as `9/10 [0.55, 1.00]`; `missing` stands for one of nothing."""
    if not proportion.total:
        return missing
    return f"{proportion.count:g}/{proportion.total} [{proportion.low:.2f}, {proportion.high:.2f}]"


def format_failures(proportion: Proportion, diverged: int) -> str:
    """Format how many trainings failed, and how many of these diverged: `9/10 [0.55, 1.00], 2 diverged`."""
    return format_proportion(proportion) + (f", {diverged} diverged" if diverged else "")


def format_failed(accuracy: Floats, confidence: float, least: float = LEARNED) -> str:
    """Format how many trainings failed, being below `least` or NaN, given accuracies [seeds] as fractions."""
    return format_failures(failures(accuracy, confidence, least), int(np.isnan(accuracy).sum()))


def accuracy_cells(accuracy: Floats, confidence: float) -> list[str]:
    """Return the cells below `ACCURACIES` of accuracies [seeds] as fractions; NaN of trainings that diverged."""
    summary, failed = summarise(accuracy, confidence), failures(accuracy, confidence)
    spread = (summary.median, summary.lower_quartile, summary.upper_quartile)
    counts = [str(failed.total), f"{failed.count:g}", str(int(np.isnan(accuracy).sum()))]
    return [*counts, *_bounds(summary.mean), *map(format_number, spread)]


def for_each(names: Sequence[str], heads: Sequence[str], between: str = "_") -> list[str]:
    """Return heads for each of some names, which they begin with; a single name needs no telling apart."""
    return [f"{name}{between}{head}" if len(names) > 1 else head for name in names for head in heads]


def difference_cells(comparison: Comparison) -> list[str]:
    """Return the cells below `DIFFERENCE` of a comparison."""
    return [*_bounds(comparison.difference), str(comparison.pairs), format_p(comparison.sign_flip)]


def _bounds(interval: Interval) -> list[str]:
    return [format_number(number) for number in (interval.value, interval.low, interval.high)]


def format_quartiles(summary: Summary, digits: int = 4, missing: str = "") -> str:
    """Format a median with its quartiles, such as `0.5000 (0.4000 to 0.6000)`."""
    if not summary.count:
        return missing
    low, median, high = (
        format_number(value, digits) for value in (summary.lower_quartile, summary.median, summary.upper_quartile)
    )
    return f"{median} ({low} to {high})"


def format_mean(summary: Summary, digits: int = 4) -> str:
    """Format a mean with its median, such as `0.5790 (median 0.6200)`; no values are an empty text."""
    mean, median = (format_number(value, digits) for value in (summary.mean.value, summary.median))
    return f"{mean} (median {median})" if summary.count else ""


def per_seed(
    variant: Variant, seeds: Sequence[int], finals: Sequence[Floats], diverged_at: Floats
) -> Iterator[list[str]]:
    """Return the rows of `per_seed.csv` for one variant, with nine digits; a training that diverged has empty cells.

    Args:
        variant: The variant.
        seeds: The seeds.
        finals: Validation accuracy, validation loss, test accuracy and test loss [seeds] after the last epoch.
        diverged_at: The first iteration, from 1, whose loss is infinite or not a number [seeds]; 0 if there is none.
    """
    columns = [of_survivors(values, diverged_at) for values in finals]
    for at, seed in enumerate(seeds):
        cells = [f"{column[at]:.9g}" if math.isfinite(column[at]) else "" for column in columns]
        yield [variant, str(seed), *cells, f"{diverged_at[at]:.0f}" if diverged_at[at] else ""]
