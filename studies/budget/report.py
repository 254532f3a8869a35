"""Test accuracies after few and many epochs, each budget and network at its own best learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED, Comparison, Interval, compare, summarise
from pipeline.analysis.tables import format_failed, format_interval, format_number, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, seed_words, setting
from pipeline.params import VARIANTS, Evaluate, Params, Variant
from pipeline.sweeps.panels import MARKED, Panel, draw, mean_line, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

OF_VARIANT = ("rate", "test accuracy", "median", f"below {LEARNED:g}")
HEAD = [
    "epochs",
    *(f"{VARIANT_NAMES[variant]}: {column}" for variant in VARIANTS for column in OF_VARIANT),
    "difference",
]


@dataclass(frozen=True)
class Budget:
    """Both variants after as many epochs, each at the rate that was chosen for them.

    Attributes:
        epochs: How many.
        comparison: Batch Normalization against plain, by test accuracies.
    """

    epochs: int
    comparison: Comparison


def choose(group: Sequence[Result], variant: Variant) -> Sequence[Result]:
    """Return the best point of each budget: of each measurement but that of the untrained network."""
    measurements = group[0].outcomes[variant].probed["held_out"].shape[1]
    return [best_at(group, variant, at) for at in range(1, measurements)]


def best_at(group: Sequence[Result], variant: Variant, at: int) -> Result:
    """Return the point with the greatest mean held-out accuracy at a measurement, of equals the first.

    A training that diverges, at that measurement or later, counts as 0.
    """

    def mean(result: Result) -> float:
        return float(np.nan_to_num(result.kept(variant, lambda outcome: outcome.probed["held_out"][:, at])).mean())

    return max(group, key=mean)


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare test accuracies of fresh seeds after each budget: one family."""
    settings = params.evaluate
    fresh = next(result.seeds for result in results if result.confirmed)
    family = Family(fresh, ("plain", "batchnorm"))
    budgets = []
    for at, step in enumerate(steps[1:], start=1):
        epochs = step * params.train.epochs // steps[-1]
        cells, tested = [str(epochs)], []
        for variant in VARIANTS:
            result = best_at(results, variant, at)
            tested.append(_tested(result, variant, at))
            edge = result is results[0] or result is results[-1]
            cells += [f"{result.point.values['train.lr']}{' (edge)' * edge}", *_cells(tested[-1], settings)]
        plain, batchnorm = tested
        comparison = compare(batchnorm, plain, settings.confidence)
        cells.append(format_interval(comparison.difference))
        question = Question(comparison, margin=settings.margin)
        family.ask("budgets", count_of(epochs, "epoch"), question, cells, plain, batchnorm)
        budgets.append(Budget(epochs, comparison))
    tables = family.tables({"budgets": HEAD}, primary, settings.confidence)
    choosing = results[0].point.params.train.seeds
    lines = [
        "# Is the tuned remainder speed or quality?",
        "",
        f"Each network's learning rate was chosen for each number of epochs, by the held-out accuracy after them, with "
        f"{seed_words(choosing)}; only {len(choosing)} seeds choose. (edge) is the least or the greatest rate tried. "
        f"Test accuracies are those of fresh {seed_words(fresh)}: means with Student's "
        f"{100 * settings.confidence:g} % intervals. A training of fewer epochs is the beginning of one of "
        f"{params.train.epochs}. Differences are Batch Normalization minus plain, pair by pair.",
        "",
        *markdown_table(*tables["budgets"]),
        *closing(primary, settings.margin, "both test accuracies of each pair"),
    ]
    note = (
        f"{setting(params, [*results[0].point.values, 'train.epochs'])}; {count_of(len(fresh), 'fresh seed')} of each "
        "variant, each number of epochs at the learning rate that was chosen for it with other seeds. Lines: means; "
        f"bands: Student's {100 * settings.confidence:g} % intervals. Differences: Batch Normalization minus plain."
    )
    figure = draw([_errors(budgets), _differences(budgets, settings)], note, columns=2, width=4.6, height=3.6)
    return Report(lines, {"budgets": figure}, tables)


def _tested(result: Result, variant: Variant, at: int) -> Floats:
    """Return the test accuracy [seeds] at a measurement; NaN of trainings that diverge."""
    return result.probed(variant, "test", at)


def _cells(accuracy: Floats, settings: Evaluate) -> list[str]:
    summary = summarise(accuracy, settings.confidence)
    failed = format_failed(accuracy, settings.confidence)
    return [format_interval(summary.mean), format_number(summary.median), failed]


def _errors(budgets: Sequence[Budget]) -> Panel:
    lines = []
    for variant, side in zip(VARIANTS, ("control", "treatment"), strict=True):
        accuracies = [getattr(budget.comparison, side).mean for budget in budgets]
        errors = [Interval(1 - mean.value, 1 - mean.high, 1 - mean.low) for mean in accuracies]
        style = style_of(variant) | MARKED
        lines.append(mean_line(VARIANT_NAMES[variant], [budget.epochs for budget in budgets], errors, 100, style))
    return Panel("each at its best rate", lines, "epochs", "test error (%)", log_x=True, log_y=True)


def _differences(budgets: Sequence[Budget], settings: Evaluate) -> Panel:
    epochs = [budget.epochs for budget in budgets]
    differences = [budget.comparison.difference for budget in budgets]
    reach = [Interval(0, -settings.margin, settings.margin) for _ in budgets]
    lines = [
        mean_line(f"margin, ±{100 * settings.margin:g} points", epochs, reach, 100, {"color": "0.6", "linewidth": 0.8}),
        mean_line("difference", epochs, differences, 100, {"color": "0.1", **MARKED}),
    ]
    title, label = "difference of the accuracies", "difference (percentage points)"
    return Panel(title, lines, "epochs", label, log_x=True, symlog=100 * settings.margin)
