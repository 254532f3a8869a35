"""How much the inputs of the last sigmoid layer move over 50,000 steps, and how fast the networks learn meanwhile."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES, median
from pipeline.analysis.statistics import compare, of_survivors
from pipeline.analysis.tables import format_interval, format_mean, markdown_table
from pipeline.analysis.verdicts import JUDGED, Question, judge, judged, rule
from pipeline.analysis.wording import count_of, point_words, setting
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Line, Panel, draw, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

LEVELS = (15, 50, 85)


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare how far the medians of the units travel between measurements, in widths of their distribution."""
    settings = params.evaluate
    keys = list(results[0].point.values)
    questions: dict[str, Question] = {}
    cells: dict[str, list[str]] = {}
    for result in results:
        for measured, measure in (("shift", shift), ("final test accuracy", lambda outcome: outcome.test_accuracy)):
            batchnorm, plain = (
                of_survivors(measure(result.outcomes[variant]), result.outcomes[variant].diverged_at)
                for variant in ("batchnorm", "plain")
            )
            comparison = compare(batchnorm, plain, settings.confidence)
            name = f"{', '.join(result.point.values.values())}: {measured}"
            margin = settings.margin if "accuracy" in measured else None
            questions[name] = Question(comparison, "larger", "smaller", margin)
            cells[name] = [
                *result.point.values.values(),
                measured,
                format_mean(comparison.control),
                format_mean(comparison.treatment),
                format_interval(comparison.difference),
            ]
    judgements = judge(questions, primary, settings.confidence)
    rows = [[*cells[name], *judged(questions[name], judgements[name])] for name in questions]
    header = [*keys, "measure", "plain", "batchnorm", "difference", *JUDGED]
    lines = [
        "# Does Batch Normalization still the inputs of the last sigmoids?",
        "",
        f"Shift: how far a unit's median moves in {steps[1]} steps, in widths of the unit's distribution (85th minus "
        "15th percentile), over all units of the last hidden layer and all of training. With Batch Normalization it is "
        "seen through the running statistics, whose own sampling noise moves it too.",
        "",
        *markdown_table(header, rows),
        "",
        rule(primary, settings.margin),
        "",
    ]
    note = f"{setting(params, keys)}; {count_of(len(params.train.seeds), 'seed')} of each variant."
    figures = {
        "accuracy_over_steps": draw(
            [_accuracy(result, steps) for result in results],
            f"{note} Lines: medians; bands: from the least to the greatest seed.",
            columns=4,
            width=4.0,
            height=2.8,
            share="all",
        ),
        "percentiles": draw(
            [panel for result in results for panel in _percentiles(result, steps)],
            f"{setting(params, keys)}; seed {params.train.seeds[0]} alone, through running statistics. Lines: medians; "
            "bands: from the 15th to the 85th percentile, over 1000 validation images.",
            columns=4,
            width=4.0,
            height=2.4,
            share="row",
        ),
    }
    return Report(lines, figures, {"shift": (header, rows)})


def shift(outcome: Outcome) -> Floats:
    """Return the ratio [seeds] of the medians' travel to the distributions' width, each summed over units and time."""
    percentiles = outcome.probed["percentiles"]  # [seeds, measurements, units, 3]
    travel = np.abs(np.diff(percentiles[..., 1], axis=1)).sum(axis=(1, 2))
    width = (percentiles[:, 1:, :, 2] - percentiles[:, 1:, :, 0]).sum(axis=(1, 2))
    ratio: Floats = travel / np.maximum(width, 1e-12)
    return ratio


def _title(result: Result) -> str:
    return point_words(result.point.values)


def _accuracy(result: Result, steps: Sequence[int]) -> Panel:
    """Draw errors after each epoch, on logarithmic axes."""
    lines = []
    for variant in VARIANTS:
        outcome = result.outcomes[variant]
        errors = np.maximum(100 - 100 * outcome.validation_accuracy[:, 1:], 0.01)
        ends = np.linspace(0, steps[-1], errors.shape[1] + 1)[1:]
        bounds = errors.min(axis=0), errors.max(axis=0)
        lines.append(Line(VARIANT_NAMES[variant], ends, median(errors), *bounds, style=style_of(variant)))
    return Panel(_title(result), lines, "step", "test error (%)", log_x=True, log_y=True)


def _percentiles(result: Result, steps: Sequence[int]) -> list[Panel]:
    return [
        Panel(
            f"{_title(result)}\n{units}, {VARIANT_NAMES[variant]}",
            _levels(variant, result.outcomes[variant], first, steps),
            "step",
            "input of the sigmoid",
        )
        for first, units in ((True, "first unit"), (False, "all units"))
        for variant in VARIANTS
    ]


def _levels(variant: Variant, outcome: Outcome, first: bool, steps: Sequence[int]) -> list[Line]:
    """Return the line of the first seed's percentiles: of its first unit, or of the values of all units together."""
    names = [f"{'unit' if first else 'all'}_{level}" for level in LEVELS]
    low, middle, high = (outcome.probed[name][0] for name in names)
    x = np.array(steps, dtype=float)
    return [Line(f"15th, 50th and 85th percentile, {VARIANT_NAMES[variant]}", x, middle, low, high, style_of(variant))]
