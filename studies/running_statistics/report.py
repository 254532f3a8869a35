"""Accuracies by running, batch and recomputed statistics, and how far the running ones lag behind."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import compare, exponential, interval, of_survivors, summarise
from pipeline.analysis.tables import format_interval, format_mean, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, setting
from pipeline.params import Evaluate, Params
from pipeline.sweeps.panels import Panel, draw, mean_line
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result

KINDS = ("running", "batch", "recomputed")
STYLES = {  # of differences from recomputed statistics; no colour of a variant
    "running": {"color": "#000000", "linestyle": "-"},
    "batch": {"color": "#8C6D31", "linestyle": "--"},
}
LAGS = {
    "lag_mean": "distance of the means (deviations)",
    "lag_deviation": "|ln| of the ratio of the deviations",
}


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare the same networks evaluated by different statistics, at the end of every epoch and seed by seed."""
    settings = params.evaluate
    family = Family(results[0].point.params.train.seeds, ("running", "recomputed"))
    for result in results:
        rate, outcome = result.point.values["train.lr"], result.outcomes["batchnorm"]
        epochs = params.train.epochs
        for epoch in range(1, epochs + 1):
            at = int(np.searchsorted(steps, steps[-1] * epoch / epochs))
            seen = {kind: of_survivors(outcome.probed[kind][:, at], outcome.diverged_at) for kind in KINDS}
            comparison = compare(seen["running"], seen["recomputed"], settings.confidence)
            name = f"learning rate {rate}, epoch {epoch}"
            words = ("running ones are better", "recomputed ones are better")
            question = Question(comparison, *words, settings.margin)
            lag = summarise(outcome.probed["lag_mean"][:, at], settings.confidence)
            cells = [
                rate,
                str(epoch),
                *(format_mean(summarise(seen[kind], settings.confidence)) for kind in KINDS),
                format_interval(comparison.difference),
                format_mean(lag),
            ]
            family.ask("statistics", name, question, cells, seen["running"], seen["recomputed"])
    header = ["learning rate", "epoch", *KINDS, "running minus recomputed", "lag of the means"]
    tables = family.tables({"statistics": header}, primary, settings.confidence)
    panels = [_accuracies(result, settings, steps) for result in results]
    seeds = count_of(len(params.train.seeds), "seed")
    lines = [
        "# By which statistics is a network evaluated?",
        "",
        f"{VARIANT_NAMES['batchnorm']}, accuracy on the held-out images over {seeds}: by running statistics, by "
        "those of each batch of held-out images, and by those of training images, recomputed at the current weights.",
        "",
        *markdown_table(*tables["statistics"]),
        *closing(primary, settings.margin, "each network's accuracies by running and by recomputed statistics"),
    ]
    note = (
        f"{setting(params, results[0].point.values)}, Batch Normalization, {seeds}; "
        f"bands: Student's {100 * settings.confidence:g} % intervals."
    )
    figures = {
        "statistics": draw(panels, f"{note} Lines: means of differences, seed by seed.", columns=2, share="all"),
        "lags": draw(_lags(results, settings, steps), f"{note} Lines: geometric means.", columns=2),
    }
    return Report(lines, figures, tables)


def _accuracies(result: Result, settings: Evaluate, steps: Sequence[int]) -> Panel:
    outcome, lines = result.outcomes["batchnorm"], []
    for kind, style in STYLES.items():
        differences = outcome.probed[kind] - outcome.probed["recomputed"]
        kept = differences[outcome.diverged_at == 0]
        means = [interval(column, settings.confidence) for column in kept.T]
        lines.append(mean_line(f"{kind} minus recomputed statistics", steps, means, 100, style))
    title = f"learning rate {result.point.values['train.lr']}"
    return Panel(title, lines, "iteration", "difference (percentage points)", level=0, symlog=0.1)


def _lags(results: Sequence[Result], settings: Evaluate, steps: Sequence[int]) -> list[Panel]:
    shades = np.linspace(0.15, 0.85, len(results))
    panels = []
    for name, label in LAGS.items():
        lines = []
        for result, shade in zip(results, shades, strict=True):
            values = np.log(np.maximum(result.outcomes["batchnorm"].probed[name], 1e-12))  # no interval is below 0
            means = [exponential(interval(column, settings.confidence)) for column in values.T]
            style = {"color": str(0.9 - shade), "linestyle": "-", "linewidth": 1 + 1.5 * shade}
            line_label = f"learning rate {result.point.values['train.lr']}"
            lines.append(mean_line(line_label, steps, means, 1, style))
        panels.append(Panel("running against recomputed statistics", lines, "iteration", label, log_y=True))
    return panels
