"""What a sweep shows where its study has no report of its own: verdicts on the comparisons at the best points."""

import itertools
from collections.abc import Sequence

from pipeline.analysis.family import PAIRS, Family
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.tables import Table, markdown_table
from pipeline.analysis.verdicts import Question, rule
from pipeline.params import Evaluate
from pipeline.sweeps.result import Result, choose, compare_best, groups

BEST = "best points"  # the name of the comparison of the variants at their best points


def judge_best(results: Sequence[Result], settings: Evaluate, primary: str | None) -> tuple[list[str], Table]:
    """Judge the comparisons at the best points: equal ones, of a group that has both, are one.

    Args:
        results: All points of the grid.
        settings: How intervals are computed.
        primary: The comparison that is judged without correction: `best points`, or a group's values of all keys but
            the first, separated by commas; then the variant's name, if there are several.

    Returns:
        Lines of Markdown, and the table of all pairs.
    """
    chosen, grouped = choose(results), groups(results)
    control, *treatments = chosen
    seeds = next((result.seeds for result in results if result.confirmed), results[0].point.params.train.seeds)
    family = Family(seeds, ("control", "treatment"))
    names: dict[str, tuple[list[tuple[str, ...]], list[str]]] = {}  # all that a comparison is called, and its variant
    for values, points in [((BEST,), chosen), *((values, choose(group)) for values, group in grouped.items())]:
        for variant, comparison in compare_best(points, settings).items():
            whose = [VARIANT_NAMES[variant]] if len(treatments) > 1 else []
            is_best = all(points[one] is chosen[one] for one in (control, variant))
            name = ", ".join([*((BEST,) if is_best else values), *whose])
            if name not in names:
                sides = points[control].tested(control), points[variant].tested(variant)
                family.ask(BEST, name, Question(comparison, margin=settings.margin), [name], *sides)
            names.setdefault(name, ([], whose))[0].append(values)
    known = next(
        (name for name, (called, whose) in names.items() if primary in [", ".join([*one, *whose]) for one in called]),
        primary,
    )
    on = VARIANT_NAMES[treatments[0]] if len(treatments) == 1 else "the variant"
    tables = family.tables({BEST: ["compared"]}, known, settings.confidence)
    rows = [
        [_shown(*names[name]) if len(grouped) > 1 else name, p or "–", verdict]
        for name, *_, p, verdict in tables[BEST][1]
    ]
    return [
        "",
        *markdown_table(["compared", "corrected p", f"verdict on {on}"], rows),
        "",
        rule(primary, settings.margin),
    ], tables[PAIRS]


def _shown(called: Sequence[tuple[str, ...]], whose: Sequence[str]) -> str:
    """Return all that a comparison is called, and its variant once."""
    return ", ".join([*itertools.chain(*called), *whose])
