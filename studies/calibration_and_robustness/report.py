"""How well calibrated and how robust the networks are, Batch Normalization by three kinds of statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import COLOURS, VARIANT_NAMES, errors_of
from pipeline.analysis.statistics import Interval, compare, interval
from pipeline.analysis.tables import format_interval, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, join_words, setting
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.panels import Line, Panel, draw
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, best
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


@dataclass(frozen=True)
class Series:
    """What figures show: the networks of a variant by a kind of statistics, which makes no difference to plain ones."""

    label: str
    variant: Variant
    kind: str
    marker: str


SERIES = [
    Series(VARIANT_NAMES["plain"], "plain", "running", "s"),
    *(
        Series(f"{VARIANT_NAMES['batchnorm']}, {kind}", "batchnorm", kind, marker)
        for kind, marker in zip(KINDS, "o^D", strict=True)
    ),
]


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare all measurements at each network's best rate, by each kind of statistics: one family."""
    settings = params.evaluate
    chosen = {variant: best(results, variant) for variant in VARIANTS}
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
        *closing(primary, settings.margin),
    ]
    return Report(lines, _figures(chosen, params), tables)


def _last(chosen: Mapping[Variant, Result], variant: Variant, kind: str, key: str) -> Floats:
    """Return a measurement [seeds] at the end of training, of the seeds that confirm the chosen point."""
    return chosen[variant].probed(variant, f"{kind}_{key}")


def _figures(chosen: Mapping[Variant, Result], params: Params) -> dict[str, Figure]:
    one = chosen["batchnorm"]
    seeds = count_of(len(one.seeds or params.train.seeds), "seed")
    confidence = params.evaluate.confidence

    def mean(series: Series, key: str, measured: Measured) -> Interval:
        values = _last(chosen, series.variant, series.kind, key)
        return interval(errors_of(values, least=0.01) if measured.accuracy else values, confidence)

    def gain(series: Series, key: str) -> Interval:
        plain, own = (_last(chosen, variant, series.kind, key) for variant in ("plain", series.variant))
        return interval(100 * (own - plain), confidence)

    calibration = []
    for key, measured in CALIBRATION.items():
        marks = [
            line
            for place, series in enumerate(SERIES)
            for line in _marks(series, [place], [mean(series, key, measured)])
        ]
        ticks = [VARIANT_NAMES["plain"], *KINDS]
        calibration.append(Panel(measured.words, marks, "statistics", measured.label, ticks=ticks))
    errors, gains = [], []
    for at, series in enumerate(SERIES):
        places = [place + 0.15 * (at - 1.5) for place in range(len(ROBUSTNESS))]
        errors += _marks(series, places, [mean(series, *item) for item in ROBUSTNESS.items()])
        if series.variant != "plain":
            gains += _marks(series, places, [gain(series, key) for key in ROBUSTNESS])
    labels = [measured.label for measured in ROBUSTNESS.values()]
    changes = "change of the images"
    robustness = [
        Panel("errors", errors, changes, "test error (%)", log_y=True, ticks=labels),
        Panel("accuracy minus the plain network's", gains, changes, "percentage points", ticks=labels, level=0),
    ]
    note = (
        f"{setting(one.point.params, ('train.lr',))}; each network at its best learning rate, Batch Normalization by "
        f"three kinds of statistics. Marks: means of {seeds}; bars: Student's {100 * confidence:g} % intervals."
    )
    views = (
        f"The first {params.train.batch_size} test images. Noise: of deviation 0.3. Moved: by 2 pixels to the right "
        "and downwards. FGSM and PGD: attacks that move each pixel by at most 0.1 and know the statistics."
    )
    return {
        "calibration": draw(calibration, f"{note} All test images.", height=2.8),
        "robustness": draw(robustness, f"{note} {views}", columns=2, width=6),
    }


def _marks(series: Series, places: Sequence[float], means: Sequence[Interval]) -> list[Line]:
    """Return marks at means, with bars for their intervals."""
    style = {"color": COLOURS[series.variant], "markersize": 5}
    own = {**style, "marker": series.marker, "linestyle": ""}
    bars = [
        Line(series.label, [place, place], [mean.low, mean.high], style=style)
        for place, mean in zip(places, means, strict=True)
    ]
    return [Line(series.label, places, [mean.value for mean in means], style=own), *bars]
