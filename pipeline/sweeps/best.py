"""The best point of each variant in words: where it is in the grid, what it reaches, and what the comparison shows."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import Comparison, for_new_images, learned, summarise
from pipeline.analysis.tables import (
    ACCURACIES,
    DIFFERENCE,
    Table,
    accuracy_cells,
    difference_cells,
    for_each,
    format_failed,
    format_interval,
    format_p,
    format_quartiles,
    markdown_table,
)
from pipeline.analysis.wording import count_of, seed_words
from pipeline.params import Evaluate, Variant
from pipeline.sweeps.grid import Point
from pipeline.sweeps.refine import has_numbers, number_of
from pipeline.sweeps.result import Result, choose, compare_best, groups

CLIFF = 0.1  # of accuracy: how much lower than at the best point it is at the bottom of a cliff


def describe_best(results: Sequence[Result], settings: Evaluate, holdout: int) -> list[str]:
    """Say which points are the best ones, what they reach on the test images, and where in the grid they are."""
    if not holdout:
        return [
            "No best point is chosen: the accuracies are the test images', and choosing needs held-out training "
            "images (data.holdout above 0)."
        ]
    chosen = choose(results)
    lines = [f"{how_chosen(results)}:", ""]
    for variant, result in chosen.items():
        accuracy = result.tested(variant)
        summary = summarise(accuracy, settings.confidence)
        lines.append(
            f"- {VARIANT_NAMES[variant]}: {_describe(result.point)}; test accuracy "
            f"{format_interval(summary.mean, missing='–')}, median {format_quartiles(summary, missing='–')}, "
            f"failed {format_failed(accuracy, settings.confidence)}."
        )
    control, *treatments = chosen
    comparisons = compare_best(chosen, settings)
    for variant in treatments:
        which = "the two best points" if len(treatments) == 1 else f"the best points of {_pair(variant, control)}"
        if not (comparison := comparisons.get(variant)):
            lines += ["", f"No difference at {which}: their images differ."]
            continue
        lines += ["", f"Difference at {which}, over {count_of(comparison.pairs, 'pair')}{_found(comparison)}."]
        lines += _more({control: chosen[control], variant: chosen[variant]}, comparison, settings)
    if len(groups(results)) > 1:
        lines += ["", *_best_by_group(results, settings)]
    if where := _places(results):
        cliff = f"beside a cliff: most trainings fail at a neighbouring value, with a median at least {CLIFF:g} lower"
        lines += ["", f"Where in the grid the best points are ({cliff}):", "", *where]
    return lines


def how_chosen(results: Sequence[Result], best: str = "The best point of each variant") -> str:
    """Say on which images and seeds the `best` points were chosen, and of which seeds their test accuracies are."""
    chosen = f"{best} was chosen on the held-out images"
    confirmed = next((result.seeds for result in results if result.confirmed), ())
    if not confirmed:
        return f"{chosen}, then evaluated once on the test images, of the same trainings"
    choosing = seed_words(results[0].point.params.train.seeds)
    return f"{chosen} with {choosing}, and confirmed with fresh {seed_words(confirmed)}, the only ones tested"


def best_table(results: Sequence[Result], settings: Evaluate) -> Table:
    """Return a header, and a row for each group: all variants on the test images, each at its best point.

    A row has the group's values; for each variant the best value of the first key, the number of trainings, of those
    that failed and of those that diverged, then of the others' accuracy the mean with its interval, the median and the
    quartiles; and for each variant but the control the difference from that with its interval, the number of pairs
    and the p of their sign-flip test.
    """
    key, *others = results[0].point.values
    header = [*others]
    for variant in results[0].variants:
        header += [f"{variant}_{column}" for column in (key, *ACCURACIES)]
    rows = []
    for values, group in groups(results).items():
        chosen = choose(group)
        row = [*values]
        for variant, result in chosen.items():
            row += [result.point.values[key], *accuracy_cells(result.tested(variant), settings.confidence)]
        for comparison in compare_best(chosen, settings).values():
            row += difference_cells(comparison)
        rows.append(row)
    return [*header, *for_each(results[0].variants[1:], DIFFERENCE)], rows


def _pair(variant: Variant, control: Variant) -> str:
    return f"{VARIANT_NAMES[variant]} and {VARIANT_NAMES[control]}"


def _found(comparison: Comparison) -> str:
    if not comparison.pairs:
        return ""
    p = f", p {format_p(comparison.sign_flip)} (exact sign-flip test)" if comparison.pairs > 1 else ""
    return f": {format_interval(comparison.difference)}{p}"


def _more(chosen: Mapping[Variant, Result], comparison: Comparison, settings: Evaluate) -> list[str]:
    """Say what is known of the best points of two variants, the control first, beyond their mean difference."""
    lines = []
    if comparison.learned and comparison.learned[1] < comparison.pairs:
        among, count = comparison.learned
        value = f", the difference is {format_interval(among)}" if count else ": none"
        lines += ["", f"Where both networks learn ({count_of(count, 'pair')}){value}."]
    both = np.all([result.examined(variant).diverged_at == 0 for variant, result in chosen.items()], axis=0)
    correct = {variant: result.examined(variant).correct for variant, result in chosen.items()}
    if all(array.size for array in correct.values()):
        control, treatment = (array[both] for array in correct.values())
        anew = for_new_images(treatment, control, settings.confidence)
        if np.isfinite(anew.low):
            lines += [
                "",
                f"For new digits, seeds and test images both drawn anew, the difference is {format_interval(anew)}.",
            ]
    return lines


def _best_by_group(results: Sequence[Result], settings: Evaluate) -> list[str]:
    key, *others = results[0].point.values
    header = [*others]
    for variant in results[0].variants:
        header += [f"{VARIANT_NAMES[variant]}: {column}" for column in (f"best {key}", "test accuracy", "failed")]
    treatments = [VARIANT_NAMES[variant] for variant in results[0].variants[1:]]
    header += for_each(treatments, ["difference", "pairs", "p"], ": ")
    rows = []
    for values, group in groups(results).items():
        chosen = choose(group)
        row = [*values]
        for variant, result in chosen.items():
            accuracy = result.tested(variant)
            row += [
                result.point.values[key],
                format_interval(summarise(accuracy, settings.confidence).mean),
                format_failed(accuracy, settings.confidence),
            ]
        for comparison in compare_best(chosen, settings).values():
            difference = format_interval(comparison.difference)
            row += [difference, str(comparison.pairs), format_p(comparison.sign_flip)]
        rows.append(row)
    return [
        f"Likewise for each choice of {' and '.join(others)}, each variant at its own best {key}:",
        "",
        *markdown_table(header, rows),
    ]


def _places(results: Sequence[Result]) -> list[str]:
    """Return a line for each best point at the edge of the grid, or beside a value at which most trainings fail."""
    lines = []
    for values, group in groups(results).items():
        for variant, result in choose(group).items():
            if place := place_of(group, result, variant):
                name = ", ".join([*values, VARIANT_NAMES[variant]])
                key, text = next(iter(result.point.values.items()))
                lines.append(f"- {name}: {key} = {text} is {' and '.join(place)}.")
    return lines


def place_of(group: Sequence[Result], result: Result, variant: Variant) -> list[str]:
    """Say where a point is among those that differ from it in the first key alone.

    It is at the edge of the grid if its value is the first or the last one, of at least two. It is beside a cliff if
    at a neighbouring value most of the variant's trainings fail (a held-out accuracy below 0.9, or divergence), and
    their median accuracy is lower by `CLIFF` or more. Values that are no numbers have no order, so neither is said.
    """
    if len(group) < 2 or not has_numbers([one.point for one in group]):
        return []
    ordered = sorted(group, key=lambda one: number_of(one.point))
    at = next(at for at, one in enumerate(ordered) if one is result)
    words = ["at the edge of the grid"] if at in (0, len(ordered) - 1) else []
    height = _median(result, variant)
    for near in (one for one in ordered[max(at - 1, 0) : at + 2] if one is not result):
        failed = ~learned(near.final(variant))
        if failed.mean() > 0.5 and height - _median(near, variant) >= CLIFF:
            text = next(iter(near.point.values.values()))
            words.append(f"beside a cliff ({failed.sum()}/{failed.size} failed at {text})")
    return words


def _median(result: Result, variant: Variant) -> float:
    return float(np.median(np.nan_to_num(result.final(variant))))  # divergence counts as 0


def _describe(point: Point) -> str:
    return ", ".join(f"{key} = {value}" for key, value in point.values.items())
