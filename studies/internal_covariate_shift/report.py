"""How the input of the last sigmoids moves over 50,000 steps, and how fast the networks learn meanwhile."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.figures import LABELS
from pipeline.analysis.statistics import compare, verdict
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Line, Panel, draw, of
from pipeline.sweeps.report import Findings, Result, markdown, number, spread
from pipeline.training.history import Floats

LEVELS = (15, 50, 85)


def report(results: Sequence[Result], params: Params, every: int) -> Findings:
    """Compare how far the medians of the units travel between measurements, in widths of their distribution."""
    settings = params.evaluate
    keys = list(results[0].point.values)
    header = [*keys, "measure", "plain", "batchnorm", "difference", "verdict"]
    rows = []
    for result in results:
        for name, value in (("shift", shift), ("final test accuracy", lambda outcome: outcome.test_accuracy)):
            values = {variant: value(result.outcomes[variant]) for variant in VARIANTS}
            found = compare(values["batchnorm"], values["plain"], settings.confidence, settings.resamples)
            numbers = [number(found.plain_mean), number(found.batchnorm_mean), spread(found.difference)]
            rows.append([*result.point.values.values(), name, *numbers, verdict(found.difference, "larger", "smaller")])
    words = [
        "# Does Batch Normalization still the inputs of the last sigmoids?",
        "",
        f"Shift: how far a unit's median moves in {every} steps, in widths of the unit's distribution (85th minus 15th "
        f"percentile), over all units of the last hidden layer and all of training; {len(params.train.seeds)} pairs.",
        "",
        *markdown(header, rows),
        "",
    ]
    figures = {
        "accuracy_over_steps": draw([_accuracy(result, every) for result in results], columns=4, width=4.0, height=2.8),
        "percentiles": draw(
            [panel for result in results for panel in _percentiles(result, every)], columns=4, width=4.0, height=2.4
        ),
    }
    return Findings(words, figures, {"shift": (header, rows)})


def shift(outcome: Outcome) -> Floats:
    """Return the travel of the medians over the width of the distributions [seeds], each summed over units and time."""
    percentiles = outcome.watched["percentiles"]  # [seeds, measurements, units, 3]
    travel = np.abs(np.diff(percentiles[..., 1], axis=1)).sum(axis=(1, 2))
    width = (percentiles[:, 1:, :, 2] - percentiles[:, 1:, :, 0]).sum(axis=(1, 2))
    ratio: Floats = travel / np.maximum(width, 1e-12)
    return ratio


def _title(result: Result) -> str:
    return ", ".join(f"{key.split('.')[1]} {value}" for key, value in result.point.values.items())


def _accuracy(result: Result, every: int) -> Panel:
    """Draw every seed: they are few."""
    lines = []
    for variant in VARIANTS:
        outcome = result.outcomes[variant]
        accuracy = 100 * outcome.validation_accuracy
        steps = np.linspace(0, every * (outcome.watched["percentiles"].shape[1] - 1), accuracy.shape[1])
        lines += [Line(LABELS[variant], steps, one, style={**of(variant), "linewidth": 1.0}) for one in accuracy]
    return Panel(_title(result), lines, "step", "test accuracy (%)", limits=(0, 100))


def _percentiles(result: Result, every: int) -> list[Panel]:
    return [
        Panel(
            f"{_title(result)}\n{what}, {LABELS[variant]}",
            _levels(variant, result.outcomes[variant], first, every),
            "step",
            "input of the sigmoid",
        )
        for first, what in ((True, "first unit"), (False, "all units"))
        for variant in VARIANTS
    ]


def _levels(variant: Variant, outcome: Outcome, first: bool, every: int) -> list[Line]:
    """Return the percentiles of the first seed: of its first unit, or of all units' values together."""
    names = [f"{'unit' if first else 'all'}_{level}" for level in LEVELS]
    low, middle, high = (outcome.watched[name][0] for name in names)
    x = every * np.arange(len(middle), dtype=float)
    return [Line(f"15th, 50th and 85th percentile, {LABELS[variant]}", x, middle, low, high, of(variant))]
