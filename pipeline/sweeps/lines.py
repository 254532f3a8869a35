"""What a kind of networks reaches over a grid's first key, as lines of a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.analysis.statistics import LEARNED
from pipeline.params import Evaluate, Variant
from pipeline.sweeps.panels import Finals, Line, final_lines
from pipeline.sweeps.refine import number_of
from pipeline.sweeps.result import Result, best


def error_lines(
    label: str,
    results: Sequence[Result],
    variant: Variant,
    settings: Evaluate,
    style: Mapping[str, Any],
    least: float = LEARNED,
) -> list[Line]:
    """Return a variant's errors over the first key, in ascending order: medians, quartiles and marks, as `final_lines`.

    Args:
        label: What the variant is called at these points.
        results: Points that differ in the first key alone, whose values are numbers.
        variant: The variant.
        settings: As elsewhere.
        style: The line's, with its colour.
        least: The accuracy below which a training has failed.
    """
    ordered = sorted(results, key=lambda result: number_of(result.point))
    chosen = best(results, variant)
    finals = [finals_of(result, variant, settings, least, chosen=result is chosen) for result in ordered]
    return final_lines(label, [number_of(result.point) for result in ordered], finals, style)


def finals_of(result: Result, variant: Variant, settings: Evaluate, least: float = LEARNED, *, chosen: bool) -> Finals:
    """Return a variant's held-out accuracies at a point, as a figure shows them."""
    failed = result.failures(variant, settings, least).count > 0
    return Finals(result.summary(variant, settings), failed=failed, chosen=chosen)
