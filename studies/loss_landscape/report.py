"""How smooth the loss is along the gradient, and whether noise cancels the gain of Batch Normalization."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import Interval, compare, verdict
from pipeline.analysis.tables import format_interval, format_number, markdown_table
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Line, Panel, draw, style_of
from pipeline.sweeps.report import Report, Result
from pipeline.training.history import Floats

MEASURES = {
    "range of the loss": "loss along the gradient (nats)",
    "change of the gradient": "‖change of the gradient‖",
    "effective smoothness": "greatest ‖change of gradient‖ / ‖step‖",
}
SKIPPED = 1  # measurements: the one at the untrained weights shows the variants' scales, not their training


def report(results: Sequence[Result], params: Params, every: int) -> Report:
    """Compare geometric means over training, seed by seed, and accuracies with and without noise."""
    header, rows = _smoothness(results, params)
    noise_header, noise_rows = _noise(results, params)
    lines = [
        "# Is the loss smoother with Batch Normalization?",
        "",
        "Along the gradient of a fixed batch, over step lengths from 1/2 to 4 learning rates; geometric means over "
        f"training, {len(params.train.seeds)} pairs. The ratio is below 1 where Batch Normalization is smoother.",
        "",
        *markdown_table(header, rows),
        "",
        "The control, noise where Batch Normalization is (or would be): test accuracies after the last epoch.",
        "",
        *markdown_table(noise_header, noise_rows),
        "",
    ]
    panels = [panel for result in results for panel in _panels(result, every)]
    return Report(
        lines, {"landscape": draw(panels)}, {"landscape": (header, rows), "noise": (noise_header, noise_rows)}
    )


def _smoothness(results: Sequence[Result], params: Params) -> tuple[list[str], list[list[str]]]:
    """Compare the variants by the ratio of their geometric means: the exponential of a difference of logarithms."""
    settings = params.evaluate
    header = ["learning rate", "noise", "measure", "plain", "batchnorm", "batchnorm / plain", "verdict"]
    rows = []
    for result in results:
        for name in MEASURES:
            batchnorm, plain = (_log_mean(result.outcomes[variant], name) for variant in ("batchnorm", "plain"))
            comparison = compare(batchnorm, plain, settings.confidence, settings.resamples)
            cells = [
                format_number(np.exp(comparison.control_mean)),
                format_number(np.exp(comparison.treatment_mean)),
                format_interval(_exponential(comparison.difference), digits=3),
                verdict(comparison.difference, "larger", "smaller"),
            ]
            rows.append([*_place(result), name, *cells])
    return header, rows


def _exponential(interval: Interval) -> Interval:
    return Interval(np.exp(interval.value), np.exp(interval.low), np.exp(interval.high))


def _noise(results: Sequence[Result], params: Params) -> tuple[list[str], list[list[str]]]:
    """Compare test accuracies with and without noise, at each learning rate."""
    settings = params.evaluate
    header = ["learning rate", "compared", "first", "second", "first minus second", "verdict"]
    outcomes = {_place(result): result.outcomes for result in results}
    rows = []
    for rate in dict.fromkeys(rate for rate, _ in outcomes):
        quiet, noisy = outcomes[rate, "false"], outcomes[rate, "true"]
        for name, treatment, control in (
            ("batchnorm with noise, plain without", noisy["batchnorm"], quiet["plain"]),
            ("batchnorm with noise, batchnorm without", noisy["batchnorm"], quiet["batchnorm"]),
            ("plain with noise, plain without", noisy["plain"], quiet["plain"]),
        ):
            comparison = compare(
                treatment.test_accuracy, control.test_accuracy, settings.confidence, settings.resamples
            )
            cells = [
                format_number(comparison.treatment_mean),
                format_number(comparison.control_mean),
                format_interval(comparison.difference),
                verdict(comparison.difference, "higher", "lower"),
            ]
            rows.append([rate, name, *cells])
    return header, rows


def _place(result: Result) -> tuple[str, str]:
    return result.point.values["train.lr"], result.point.values["model.noise"].lower()


def _log_mean(outcome: Outcome, name: str) -> Floats:
    """Return the logarithm [seeds] of a measure's geometric mean over training."""
    probed = outcome.probed
    values = {
        "range of the loss": probed["loss_high"] - probed["loss_low"],
        "change of the gradient": probed["gradient_high"],
        "effective smoothness": probed["smoothness"],
    }[name]
    logarithm: Floats = np.log(np.maximum(values[:, SKIPPED:], 1e-12)).mean(axis=1)
    return logarithm


def _panels(result: Result, every: int) -> list[Panel]:
    rate, noise = _place(result)
    title = f"learning rate {rate}{', noise' if noise == 'true' else ''}"
    spans = (("loss_low", "loss_high"), ("gradient_low", "gradient_high"), ("smoothness", "smoothness"))
    return [
        Panel(
            f"{title}: {name}",
            [_band(variant, result.outcomes[variant], span, every) for variant in VARIANTS],
            "iteration",
            label,
            log_y=True,
        )
        for (name, label), span in zip(MEASURES.items(), spans, strict=True)
    ]


def _band(variant: Variant, outcome: Outcome, span: tuple[str, str], every: int) -> Line:
    """Return a band from the least to the greatest step's mean over seeds; of a single value, the range over seeds."""
    low, high = (outcome.probed[name] for name in span)
    x = every * np.arange(low.shape[1], dtype=float)
    if span[0] == span[1]:
        return Line(VARIANT_NAMES[variant], x, _mean(low), low.min(axis=0), low.max(axis=0), style_of(variant))
    middle = np.sqrt(_mean(low) * _mean(high))
    return Line(VARIANT_NAMES[variant], x, middle, _mean(low), _mean(high), {**style_of(variant), "linewidth": 0.8})


def _mean(values: Floats) -> Floats:
    mean: Floats = np.maximum(values, 1e-12).mean(axis=0)
    return mean
