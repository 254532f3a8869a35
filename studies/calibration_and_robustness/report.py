"""How well calibrated and how robust the networks are, Batch Normalization by three kinds of statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from pipeline.analysis.family import Family
from pipeline.analysis.figures import COLOURS, VARIANT_NAMES, errors_of
from pipeline.analysis.statistics import Interval, compare, interval, of_survivors
from pipeline.analysis.tables import format_interval, markdown_table
from pipeline.analysis.verdicts import Question, rule
from pipeline.analysis.wording import count_of, join_words, setting
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.panels import Line, Panel, draw
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, choose
from pipeline.training.history import Floats

KINDS = ("running", "batch", "recomputed")  # statistics


@dataclass(frozen=True)
class Measured:
    """A measurement: its words in outcomes, its label on an axis, and whether it is an accuracy, drawn as an error."""

    words: str
    label: str
    accuracy: bool = False


CALIBRATION = {
    "accuracy": Measured("accuracy", "error (%)", accuracy=True),
    "nll": Measured("negative log-likelihood", "nats"),
    "ece": Measured("expected calibration error", "share of images"),
    "temperature": Measured("best temperature", "temperature"),
    "scaled_nll": Measured("negative log-likelihood at the best temperature", "nats"),
    "scaled_ece": Measured("expected calibration error at the best temperature", "share of images"),
}
ROBUSTNESS = {
    "clean": Measured("accuracy on 2000 images", "as they\nare", accuracy=True),
    "noise": Measured("accuracy with noise", "noise", accuracy=True),
    "moved": Measured("accuracy on moved images", "moved", accuracy=True),
    "contrast": Measured("accuracy at half the contrast", "half the\ncontrast", accuracy=True),
    "fgsm": Measured("accuracy under FGSM", "FGSM", accuracy=True),
    "pgd": Measured("accuracy under PGD", "PGD", accuracy=True),
}
SERIES: list[tuple[str, Variant, str, str]] = [  # what figures show; plain networks are the same by all statistics
    (VARIANT_NAMES["plain"], "plain", "running", "s"),
    *(
        (f"{VARIANT_NAMES['batchnorm']}, {kind} statistics", "batchnorm", kind, marker)
        for kind, marker in zip(KINDS, "o^D", strict=True)
    ),
]


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare all measurements at each network's best rate, by each kind of statistics: one family."""
    settings, chosen = params.evaluate, choose(results)
    family = Family(chosen["batchnorm"].seeds or params.train.seeds, VARIANTS)
    measures = {"calibration": CALIBRATION, "robustness": ROBUSTNESS}
    for table, measured in measures.items():
        for key, measure in measured.items():
            for kind in KINDS:
                plain, batchnorm = (_last(chosen, variant, kind, key) for variant in VARIANTS)
                comparison = compare(batchnorm, plain, settings.confidence)
                means = (comparison.control.mean, comparison.treatment.mean, comparison.difference)
                row = [measure.words, kind, *map(format_interval, means)]
                question = Question(comparison, margin=settings.margin if measure.accuracy else None)
                family.ask(table, f"{measure.words}, {kind} statistics", question, row, plain, batchnorm)
    header = ["measured", "statistics", VARIANT_NAMES["plain"], VARIANT_NAMES["batchnorm"], "difference"]
    tables = family.tables(dict.fromkeys(measures, header), primary, settings.confidence)
    rates = [f"{VARIANT_NAMES[variant]} {chosen[variant].point.values['train.lr']}" for variant in VARIANTS]
    lines = [
        "# Is a network with Batch Normalization better calibrated, and is it as robust?",
        "",
        f"{how_chosen(results, 'The best learning rate of each network')}: {join_words(rates)}. Batch Normalization "
        "by running statistics, by those of each batch of the images that are evaluated, and by those of 10,000 "
        "training images at the final weights; plain networks are the same by all three.",
        "",
        "On all test images, before and after the logits are divided by the temperature that the held-out images "
        "choose:",
        "",
        *markdown_table(*tables["calibration"]),
        "",
        f"On the first {params.train.batch_size} test images, as they are, changed and attacked:",
        "",
        *markdown_table(*tables["robustness"]),
        "",
        rule(primary, settings.margin),
        "",
        "`pairs.csv` holds both values of each pair.",
        "",
    ]
    return Report(lines, _figures(chosen, params), tables)


def _last(chosen: Mapping[Variant, Result], variant: Variant, kind: str, key: str) -> Floats:
    """Return a measurement [seeds] at the end of training, of the seeds that confirm the chosen point."""
    outcome = chosen[variant].examined(variant)
    return of_survivors(outcome.probed[f"{kind}_{key}"][:, -1], outcome.diverged_at)


def _figures(chosen: Mapping[Variant, Result], params: Params) -> dict[str, Figure]:
    one = chosen["batchnorm"]
    seeds = count_of(len(one.seeds or params.train.seeds), "seed")
    confidence = params.evaluate.confidence
    note = (
        f"{setting(one.point.params, ('train.lr',))}; each network at its best learning rate. "
        f"Marks: means of {seeds}; bars: Student's {100 * confidence:g} % intervals."
    )
    calibration = []
    for key, measured in CALIBRATION.items():
        drawn = []
        for place, series in enumerate(SERIES):
            drawn += _marks(series, [place], [_mean(chosen, series, key, measured, confidence)])
        ticks = [VARIANT_NAMES["plain"], *KINDS]
        calibration.append(Panel(measured.words, drawn, "statistics", measured.label, ticks=ticks))
    robustness = []
    for at, series in enumerate(SERIES):
        means = [_mean(chosen, series, key, measured, confidence) for key, measured in ROBUSTNESS.items()]
        robustness += _marks(series, np.arange(len(means)) + 0.15 * (at - 1.5), means)
    labels = [measured.label for measured in ROBUSTNESS.values()]
    panel = Panel(
        "the first 2000 test images", robustness, "change of the images", "test error (%)", log_y=True, ticks=labels
    )
    attacks = "Attacks move each pixel by at most 0.1 and know the statistics; noise has a deviation of 0.3."
    return {
        "calibration": draw(calibration, f"{note} All test images.", height=2.8),
        "robustness": draw([panel], f"{note} {attacks} Moved: by 2 pixels to the right and downwards.", width=8.4),
    }


def _mean(
    chosen: Mapping[Variant, Result],
    series: tuple[str, Variant, str, str],
    key: str,
    measured: Measured,
    confidence: float,
) -> Interval:
    """Return the mean of a measurement, as figures show it."""
    _, variant, kind, _ = series
    values = _last(chosen, variant, kind, key)
    return interval(errors_of(values, least=0.01) if measured.accuracy else values, confidence)


def _marks(
    series: tuple[str, Variant, str, str], places: Sequence[float] | Floats, means: Sequence[Interval]
) -> list[Line]:
    """Return marks at means, with bars for their intervals."""
    label, variant, _, marker = series
    style = {"color": COLOURS[variant], "markersize": 5}
    marks = Line(label, places, [mean.value for mean in means], style={**style, "marker": marker, "linestyle": ""})
    bars = [
        Line(label, [place, place], [mean.low, mean.high], style=style)
        for place, mean in zip(places, means, strict=True)
    ]
    return [marks, *bars]
