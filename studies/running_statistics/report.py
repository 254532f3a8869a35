"""Evaluation by running, batch and recomputed statistics, and how far the running ones lag."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.figures import LABELS
from pipeline.analysis.statistics import Interval, compare, interval, verdict
from pipeline.params import Evaluate, Params
from pipeline.sweeps.panels import GREEN, Panel, draw, mean_line
from pipeline.sweeps.report import Findings, Result, markdown, number, spread

KINDS = {
    "running": {"color": "#0072B2", "linestyle": "-"},
    "batch": {"color": "#D55E00", "linestyle": "--"},
    "recomputed": {"color": GREEN, "linestyle": "-."},
}
LAGS = {
    "lag_mean": "distance of the means (deviations)",
    "lag_deviation": "|ln| of the ratio of the deviations",
}


def report(results: Sequence[Result], params: Params, every: int) -> Findings:
    """Compare the accuracies of the same networks at the end of every epoch, seed by seed."""
    settings = params.evaluate
    header = ["learning rate", "epoch", *KINDS, "running minus recomputed", "lag of the means", "verdict"]
    rows = []
    for result in results:
        watched = result.outcomes["batchnorm"].watched
        count = watched["running"].shape[1]
        epochs = params.train.epochs
        for epoch in range(1, epochs + 1):
            at = round(epoch * (count - 1) / epochs)
            values = {kind: watched[kind][:, at] for kind in KINDS}
            found = compare(values["running"], values["recomputed"], settings.confidence, settings.resamples)
            means = [number(float(values[kind].mean())) for kind in KINDS]
            judged = verdict(found.difference, "running ones are better", "recomputed ones are better")
            lag = number(float(watched["lag_mean"][:, at].mean()))
            rows.append([result.point.values["train.lr"], str(epoch), *means, spread(found.difference), lag, judged])
    panels = [_accuracies(result, settings, every) for result in results]
    words = [
        "# By which statistics is a network evaluated?",
        "",
        f"{LABELS['batchnorm']}, accuracy on the held-out images over {len(params.train.seeds)} seeds.",
        "",
        *markdown(header, rows),
        "",
    ]
    figures = {"statistics": draw(panels, columns=2), "lags": draw(_lags(results, settings, every), columns=2)}
    return Findings(words, figures, {"statistics": (header, rows)})


def _accuracies(result: Result, settings: Evaluate, every: int) -> Panel:
    watched = result.outcomes["batchnorm"].watched
    lines = []
    for kind, style in KINDS.items():
        means = [interval(column, settings.confidence, settings.resamples) for column in watched[kind].T]
        lines.append(mean_line(f"{kind} statistics", _steps(means, every), means, 100, style))
    title = f"learning rate {result.point.values['train.lr']}"
    return Panel(title, lines, "iteration", "held-out accuracy (%)", limits=(0, 100))


def _lags(results: Sequence[Result], settings: Evaluate, every: int) -> list[Panel]:
    shades = np.linspace(0.15, 0.85, len(results))
    panels = []
    for name, label in LAGS.items():
        lines = []
        for result, shade in zip(results, shades, strict=True):
            values = result.outcomes["batchnorm"].watched[name]
            means = [interval(column, settings.confidence, settings.resamples) for column in values.T]
            style = {"color": str(0.9 - shade), "linestyle": "-", "linewidth": 1 + 1.5 * shade}
            label_of_line = f"learning rate {result.point.values['train.lr']}"
            lines.append(mean_line(label_of_line, _steps(means, every), means, 1, style))
        panels.append(Panel("running against recomputed statistics", lines, "iteration", label, log_y=True))
    return panels


def _steps(means: Sequence[Interval], every: int) -> list[float]:
    return [float(at * every) for at in range(len(means))]
