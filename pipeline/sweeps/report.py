"""The results of a sweep in tables and in words: its points, its trainings, and the best point of each variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import (
    LEARNED,
    Comparison,
    Interval,
    failures,
    for_new_images,
    summarise,
)
from pipeline.analysis.tables import (
    PER_SEED,
    Table,
    format_failures,
    format_interval,
    format_number,
    format_p,
    format_quartiles,
    markdown_table,
    per_seed,
)
from pipeline.analysis.verdicts import Question, judge, rule
from pipeline.analysis.wording import count_of
from pipeline.params import VARIANTS, Evaluate, Variant
from pipeline.sweeps.grid import Point
from pipeline.sweeps.result import Result, choose, compare_best, groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST = "best points"  # the name of the comparison of the variants at their best points


@dataclass(frozen=True)
class Report:
    """Lines of Markdown, with figures and tables by the name of their file."""

    lines: list[str]
    figures: dict[str, "Figure"]
    tables: dict[str, Table] = field(default_factory=dict)


def table(results: Sequence[Result], settings: Evaluate) -> Table:
    """Return a header, and a row for each point.

    A row has the point's values; for each variant the number of trainings, of those that failed and of those that
    diverged, then of the others' validation accuracy the mean with its interval, the median and the quartiles; and the
    difference of the variants with its interval, the number of pairs and the p of their sign-flip test.
    """
    keys = list(results[0].point.values)
    header = [*keys]
    columns = ("n", "failed", "diverged", "accuracy", "low", "high", "median", "lower_quartile", "upper_quartile")
    for variant in VARIANTS:
        header += [f"{variant}_{column}" for column in columns]
    header += ["difference", "difference_low", "difference_high", "pairs", "p_sign_flip"]
    rows = []
    for result in results:
        row = [result.point.values[key] for key in keys]
        for variant in VARIANTS:
            summary, failed = result.summary(variant, settings), result.failures(variant, settings)
            spread = (summary.median, summary.lower_quartile, summary.upper_quartile)
            row += [str(failed.total), f"{failed.count:g}", str(result.diverged(variant))]
            row += [*_bounds(summary.mean), *map(format_number, spread)]
        comparison = result.difference(settings)
        rows.append(
            [*row, *_bounds(comparison.difference), str(comparison.pairs), format_p(comparison.sign_flip)],
        )
    return header, rows


def seeds_table(results: Sequence[Result]) -> Table:
    """Return a header, and a row for each training: all that tables, intervals and verdicts are computed from."""
    keys = list(results[0].point.values)
    rows = [
        [*(result.point.values[key] for key in keys), *cells]
        for result in results
        for variant, outcome in result.outcomes.items()
        for cells in per_seed(
            variant,
            result.point.params.train.seeds,
            (
                outcome.validation_accuracy[:, -1],
                outcome.validation_loss[:, -1],
                outcome.test_accuracy,
                outcome.test_loss,
            ),
            outcome.diverged_at,
        )
    ]
    return [*keys, *PER_SEED], rows


def answer(
    results: Sequence[Result], settings: Evaluate, holdout: int, primary: str | None = None, *, judged: bool = True
) -> str:
    """Return the sweep's table and best points as Markdown.

    Args:
        results: All points of the grid.
        settings: How intervals are computed.
        holdout: How many training images were held out for validation; if none, validation is on the test images.
        primary: The comparison that is judged without correction: `best points`, or a group's values of all keys but
            the first, separated by commas.
        judged: Whether there are verdicts; a study's own report has others.
    """
    where = f"{holdout} held-out training images" if holdout else "the test images"
    lines = [
        f"Accuracy on {where} after the last epoch, over seeds: medians with quartiles, means with Student's "
        f"{100 * settings.confidence:g} % intervals, and how many trainings failed (below {LEARNED:g}, or diverged; "
        "those that diverged have no accuracy). Differences are means of Batch Normalization minus plain, pair by "
        "pair; each interval is that of a single comparison.",
        "",
        *_points(results, settings),
        "",
        *_best(results, settings, holdout),
        *(_judge_best(results, settings, primary) if holdout and judged else []),
        "",
    ]
    return "\n".join(lines)


def _points(results: Sequence[Result], settings: Evaluate) -> list[str]:
    header = [*results[0].point.values]
    for variant in VARIANTS:
        header += [f"{VARIANT_NAMES[variant]}: {column}" for column in ("failed", "median (quartiles)", "mean")]
    header += ["difference", "pairs"]
    rows = []
    for result in results:
        row = [*result.point.values.values()]
        for variant in VARIANTS:
            summary = result.summary(variant, settings)
            row += [
                format_failures(result.failures(variant, settings), result.diverged(variant)),
                format_quartiles(summary),
                format_interval(summary.mean),
            ]
        comparison = result.difference(settings)
        rows.append([*row, format_interval(comparison.difference), str(comparison.pairs)])
    return markdown_table(header, rows)


def _best(results: Sequence[Result], settings: Evaluate, holdout: int) -> list[str]:
    if not holdout:
        return [
            "No best point is chosen: the accuracies are the test images', and choosing needs held-out training "
            "images (data.holdout above 0)."
        ]
    chosen = choose(results)
    lines = [
        "The best point of each variant was chosen on the held-out images, then evaluated once on the test images, of "
        "the same trainings:",
        "",
    ]
    for variant, result in chosen.items():
        accuracy = summarise(result.tested(variant), settings.confidence)
        failed = format_failures(failures(result.tested(variant), settings.confidence), result.diverged(variant))
        lines.append(
            f"- {VARIANT_NAMES[variant]}: {_describe(result.point)}; test accuracy "
            f"{format_interval(accuracy.mean, missing='–')}, median {format_quartiles(accuracy, missing='–')}, "
            f"failed {failed}."
        )
    comparison = compare_best(chosen, settings)
    lines += ["", f"Difference at the two best points, over {count_of(comparison.pairs, 'pair')}{_found(comparison)}."]
    lines += _more(chosen, comparison, settings)
    if len(groups(results)) > 1:
        lines += ["", *_best_by_group(results, settings)]
    return lines


def _found(comparison: Comparison) -> str:
    if not comparison.pairs:
        return ""
    p = f", p {format_p(comparison.sign_flip)} (exact sign-flip test)" if comparison.pairs > 1 else ""
    return f": {format_interval(comparison.difference)}{p}"


def _judge_best(results: Sequence[Result], settings: Evaluate, primary: str | None) -> list[str]:
    """Say what the comparisons at the best points show: equal ones, of a group that has both, are one."""
    chosen = choose(results)
    grouped = {", ".join(values): choose(group) for values, group in groups(results).items()}
    names = {name: BEST if pair == chosen else name for name, pair in grouped.items()}
    family = {BEST: chosen} | {names[name]: pair for name, pair in grouped.items()}
    questions = {name: Question(compare_best(pair, settings), margin=settings.margin) for name, pair in family.items()}
    judgements = judge(questions, names.get(primary, primary) if primary else None, settings.confidence)
    called = {BEST: ", ".join([BEST, *(name for name in names if names[name] == BEST and len(names) > 1)])}
    rows = [
        [called.get(name, name), format_p(judgement.p, missing="–"), judgement.verdict]
        for name, judgement in judgements.items()
    ]
    return [
        "",
        *markdown_table(["compared", "corrected p", "verdict on Batch Normalization"], rows),
        "",
        rule(primary, settings.margin),
    ]


def _more(chosen: Mapping[Variant, Result], comparison: Comparison, settings: Evaluate) -> list[str]:
    """Say what is known of the two best points beyond their mean difference."""
    lines = []
    if comparison.learned and comparison.learned[1] < comparison.pairs:
        among, count = comparison.learned
        value = f", the difference is {format_interval(among)}" if count else ": none"
        lines += ["", f"Where both networks learn ({count_of(count, 'pair')}){value}."]
    both = np.all([result.outcomes[variant].diverged_at == 0 for variant, result in chosen.items()], axis=0)
    correct = {variant: result.outcomes[variant].correct for variant, result in chosen.items()}
    if all(array.size for array in correct.values()):
        anew = for_new_images(correct["batchnorm"][both], correct["plain"][both], settings.confidence)
        if np.isfinite(anew.low):
            lines += [
                "",
                f"For new digits, seeds and test images both drawn anew, the difference is {format_interval(anew)}.",
            ]
    return lines


def _best_by_group(results: Sequence[Result], settings: Evaluate) -> list[str]:
    key, *others = results[0].point.values
    header = [*others]
    for variant in VARIANTS:
        header += [f"{VARIANT_NAMES[variant]}: {column}" for column in (f"best {key}", "test accuracy", "failed")]
    header += ["difference", "pairs", "p"]
    rows = []
    for values, group in groups(results).items():
        chosen = choose(group)
        row = [*values]
        for variant, result in chosen.items():
            accuracy = result.tested(variant)
            row += [
                result.point.values[key],
                format_interval(summarise(accuracy, settings.confidence).mean),
                format_failures(failures(accuracy, settings.confidence), result.diverged(variant)),
            ]
        comparison = compare_best(chosen, settings)
        difference = format_interval(comparison.difference)
        rows.append([*row, difference, str(comparison.pairs), format_p(comparison.sign_flip)])
    return [
        f"Likewise for each choice of {' and '.join(others)}, each variant at its own best {key}:",
        "",
        *markdown_table(header, rows),
    ]


def _describe(point: Point) -> str:
    return ", ".join(f"{key} = {value}" for key, value in point.values.items())


def _bounds(interval: Interval) -> list[str]:
    return [format_number(number) for number in (interval.value, interval.low, interval.high)]
