"""How smooth the loss is along the gradient, and whether noise takes the gain away."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.figures import LABELS
from pipeline.analysis.statistics import compare, verdict
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Line, Panel, draw, of
from pipeline.sweeps.report import Findings, Result, markdown, number, spread
from pipeline.training.history import Floats

MEASURES = {
    "range of the loss": "loss along the gradient (nats)",
    "change of the gradient": "‖change of the gradient‖",
    "effective smoothness": "greatest ‖change of gradient‖ / ‖step‖",
}
SKIPPED = 1  # measurements: at the untrained weights, the variants' own scales are compared, not their training


def report(results: Sequence[Result], params: Params, every: int) -> Findings:
    """Compare geometric means over training, seed by seed, and accuracies with and without noise."""
    settings = params.evaluate
    header = ["learning rate", "noise", "measure", "plain", "batchnorm", "batchnorm / plain", "verdict"]
    rows = []
    for result in results:
        for name in MEASURES:
            values = {variant: _typical(result.outcomes[variant], name) for variant in VARIANTS}
            found = compare(values["batchnorm"], values["plain"], settings.confidence, settings.resamples)
            ends = (found.difference.value, found.difference.low, found.difference.high)
            ratio = [float(np.exp(value)) for value in ends]
            rows.append(
                [
                    *_where(result),
                    name,
                    number(float(np.exp(found.plain_mean))),
                    number(float(np.exp(found.batchnorm_mean))),
                    f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]",
                    verdict(found.difference, "larger", "smaller"),
                ]
            )
    noise_header, noise_rows = _noise(results, params)
    words = [
        "# Is the loss smoother with Batch Normalization?",
        "",
        "Along the gradient of a fixed batch, over step lengths from 1/2 to 4 learning rates; geometric means over "
        f"training, {len(params.train.seeds)} pairs. The ratio is below 1 where Batch Normalization is smoother.",
        "",
        *markdown(header, rows),
        "",
        "The control, noise where Batch Normalization is (or would be): test accuracies after the last epoch.",
        "",
        *markdown(noise_header, noise_rows),
        "",
    ]
    panels = [panel for result in results for panel in _panels(result, every)]
    return Findings(
        words, {"landscape": draw(panels)}, {"landscape": (header, rows), "noise": (noise_header, noise_rows)}
    )


def _noise(results: Sequence[Result], params: Params) -> tuple[list[str], list[list[str]]]:
    """Compare noisy Batch Normalization with the plain network that has no noise, at each learning rate."""
    settings = params.evaluate
    header = ["learning rate", "compared", "first", "second", "first minus second", "verdict"]
    by_place = {_where(result): result for result in results}
    rows = []
    for rate in dict.fromkeys(rate for rate, _ in by_place):
        quiet, noisy = by_place[rate, "false"].outcomes, by_place[rate, "true"].outcomes
        for name, one, other in (
            ("batchnorm with noise, plain without", noisy["batchnorm"], quiet["plain"]),
            ("batchnorm with noise, batchnorm without", noisy["batchnorm"], quiet["batchnorm"]),
            ("plain with noise, plain without", noisy["plain"], quiet["plain"]),
        ):
            found = compare(one.test_accuracy, other.test_accuracy, settings.confidence, settings.resamples)
            numbers = [number(found.batchnorm_mean), number(found.plain_mean), spread(found.difference)]
            rows.append([rate, name, *numbers, verdict(found.difference, "higher", "lower")])
    return header, rows


def _where(result: Result) -> tuple[str, str]:
    return result.point.values["train.lr"], result.point.values["model.noise"].lower()


def _typical(outcome: Outcome, name: str) -> Floats:
    """The logarithm of a measure's geometric mean over training [seeds]."""
    watched = outcome.watched
    values = {
        "range of the loss": watched["loss_high"] - watched["loss_low"],
        "change of the gradient": watched["gradient_high"],
        "effective smoothness": watched["smoothness"],
    }[name]
    typical: Floats = np.log(np.maximum(values[:, SKIPPED:], 1e-12)).mean(axis=1)
    return typical


def _panels(result: Result, every: int) -> list[Panel]:
    rate, noise = _where(result)
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
    """Return the range over step lengths, ends averaged over seeds; for one value, the seeds' own range."""
    low, high = (outcome.watched[name] for name in span)
    x = every * np.arange(low.shape[1], dtype=float)
    if span[0] == span[1]:
        return Line(LABELS[variant], x, _mean(low), low.min(axis=0), low.max(axis=0), of(variant))
    middle = np.sqrt(_mean(low) * _mean(high))
    return Line(LABELS[variant], x, middle, _mean(low), _mean(high), {**of(variant), "linewidth": 0.8})


def _mean(values: Floats) -> Floats:
    mean: Floats = np.maximum(values, 1e-12).mean(axis=0)
    return mean
