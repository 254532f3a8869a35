"""How much the scale of the initial weights matters, with and without Batch Normalization."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import COLOURS, FAILED, VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED, compare, learned, summarise
from pipeline.analysis.tables import format_failed, format_interval, format_mean, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, setting
from pipeline.data.dataset import PIXELS
from pipeline.params import VARIANTS, Evaluate, Params, Variant
from pipeline.sweeps.lines import finals_of
from pipeline.sweeps.panels import FAILED_LABEL, MARKED, Line, Panel, draw, error, final_lines, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, groups
from pipeline.training.history import Floats

KEY = "model.initial_deviation"
DEFAULT = "null"  # its value for PyTorch's own initialisation
DEFAULT_WORDS = "PyTorch's initialisation"
OF_VARIANT = ("rate", "accuracy", "failed")
HEADS = {
    "overall": ["measured", *(VARIANT_NAMES[variant] for variant in VARIANTS), "difference"],
    "deviations": [
        "initial deviation",
        *(f"{VARIANT_NAMES[variant]}: {column}" for variant in VARIANTS for column in OF_VARIANT),
        "difference",
    ],
}


@dataclass(frozen=True)
class Measured:
    """What is compared over all settings: plain and normalised values [seeds], and the words of the verdict."""

    name: str
    values: tuple[Floats, Floats]
    more: str
    less: str
    margin: float | None = None


@dataclass(frozen=True)
class Tuned:
    """One variant with one initialisation, every seed at the learning rate that is best for the others.

    Attributes:
        rates: The rate of each seed, as text.
        accuracy: The held-out accuracy [seeds]; NaN of trainings that diverged.
    """

    rates: Sequence[str]
    accuracy: Floats


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare how many settings learn, and what each initialisation reaches at its best learning rate: one family."""
    settings = params.evaluate
    family = Family(params.train.seeds, ("plain", "batchnorm"))
    tuned = {
        text: {variant: tune(at_deviation, variant) for variant in VARIANTS}
        for text, at_deviation in _by_initialisation(results).items()
    }
    for measured in (_learning(results), _spread(tuned, settings)):
        plain, batchnorm = measured.values
        comparison = compare(batchnorm, plain, settings.confidence)
        cells = [format_mean(comparison.control), format_mean(comparison.treatment)]
        cells = [measured.name, *cells, format_interval(comparison.difference)]
        question = Question(comparison, measured.more, measured.less, measured.margin)
        family.ask("overall", measured.name, question, cells, plain, batchnorm)
    for text, own in tuned.items():
        _ask_tuned(family, text, own, settings)
    tables = family.tables(HEADS, primary, settings.confidence)
    others = count_of(len(params.train.seeds) - 1, "other seed")
    lines = [
        "# Does Batch Normalization make initialisation matter less?",
        "",
        f"Of the {len(results)} settings, an initialisation and a learning rate each, the share that learns: whose "
        f"training has a held-out accuracy of {LEARNED:g} or more in the end, seed by seed. Below it, the greatest "
        "minus the least accuracy over the initial deviations, each at its best learning rate.",
        "",
        *markdown_table(*tables["overall"]),
        "",
        "Held-out accuracy of each initialisation at its best learning rate. The rate of a seed is the one that is "
        f"best on average for the {others}; where seeds have different rates, their numbers are in parentheses.",
        "",
        *markdown_table(*tables["deviations"]),
        *closing(primary, settings.margin),
    ]
    return Report(lines, {"initialisation": _figure(results, params)}, tables)


def _learning(results: Sequence[Result]) -> Measured:
    plain, batchnorm = (np.array([learned(one.final(variant)) for one in results]).mean(axis=0) for variant in VARIANTS)
    return Measured("settings that learn", (plain, batchnorm), "more settings learn", "fewer settings learn")


def _spread(tuned: Mapping[str, Mapping[Variant, Tuned]], settings: Evaluate) -> Measured:
    given = [own for text, own in tuned.items() if text != DEFAULT]
    plain, batchnorm = (np.ptp([own[variant].accuracy for own in given], axis=0) for variant in VARIANTS)
    words = ("the deviation matters more", "the deviation matters less")
    return Measured("spread over deviations", (plain, batchnorm), *words, settings.margin)


def _ask_tuned(family: Family, text: str, own: Mapping[Variant, Tuned], settings: Evaluate) -> None:
    """Ask how the variants differ with one initialisation."""
    plain, batchnorm = (own[variant].accuracy for variant in VARIANTS)
    comparison = compare(batchnorm, plain, settings.confidence)
    cells = [DEFAULT_WORDS if text == DEFAULT else text]
    for variant in VARIANTS:
        accuracy = own[variant].accuracy
        mean = format_mean(summarise(accuracy, settings.confidence))
        cells += [_rates(own[variant]), mean, format_failed(accuracy, settings.confidence)]
    cells.append(format_interval(comparison.difference))
    name = DEFAULT_WORDS if text == DEFAULT else f"initial deviation {text}"
    family.ask("deviations", name, Question(comparison, margin=settings.margin), cells, plain, batchnorm)


def _by_initialisation(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.point.values[KEY], []).append(result)
    return found


def tune(results: Sequence[Result], variant: Variant) -> Tuned:
    """Give every seed the point with the greatest mean accuracy of all other seeds.

    So no accuracy has a part in the choice of its own point. In the choice, a training that diverged counts as 0.
    """
    accuracy = np.array([result.final(variant) for result in results])  # [points, seeds]
    counted = np.nan_to_num(accuracy)
    chosen = (counted.sum(axis=1, keepdims=True) - counted).argmax(axis=0)
    rates = [results[at].point.values["train.lr"] for at in chosen]
    return Tuned(rates, accuracy[chosen, np.arange(accuracy.shape[1])])


def _rates(tuned: Tuned) -> str:
    counts = Counter(tuned.rates)
    return ", ".join(rate if len(counts) == 1 else f"{rate} ({count})" for rate, count in counts.items())


def _split(group: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Return the points with a deviation, in ascending order, and those with PyTorch's initialisation."""
    own = [result for result in group if result.point.values[KEY] == DEFAULT]
    given = [result for result in group if result.point.values[KEY] != DEFAULT]
    return sorted(given, key=_deviation), own


def _deviation(result: Result) -> float:
    return float(result.point.values[KEY])


def _span(params: Params) -> list[float]:
    """Return the deviations of PyTorch's first and last weights: those of U(-1/√inputs, 1/√inputs)."""
    return [1 / math.sqrt(3 * inputs) for inputs in (PIXELS, params.model.hidden[-1])]


def _figure(results: Sequence[Result], params: Params) -> Figure:
    seeds = count_of(len(params.train.seeds), "seed")
    note = (
        f"{setting(params, results[0].point.values)}; {seeds} of each variant. Errors: medians; bands: quartiles. "
        f"{DEFAULT_WORDS} is uniform, and its mark spans the deviations from the first to the last layer. Learning: a "
        f"held-out accuracy of {LEARNED:g} or more in the end."
    )
    by_rate = groups(results)
    panels = [draw_one(rate, group, params) for draw_one in (_errors, _shares) for (rate,), group in by_rate.items()]
    return draw(panels, note, columns=len(by_rate), height=2.9, share="row")


def _errors(rate: str, group: Sequence[Result], params: Params) -> Panel:
    given, own = _split(group)
    lines = []
    for variant in VARIANTS:
        finals = [finals_of(result, variant, params.evaluate, chosen=False) for result in given]
        lines += final_lines(VARIANT_NAMES[variant], [*map(_deviation, given)], finals, style_of(variant))
    for variant in VARIANTS:
        medians = [error(result.summary(variant, params.evaluate).median) for result in own]
        lines += _own(variant, medians, params)
    for variant in VARIANTS:
        lines += _failed(variant, own, params)
    return Panel(_title(rate), lines, "initial deviation", "held-out error (%)", log_x=True, log_y=True)


def _shares(rate: str, group: Sequence[Result], params: Params) -> Panel:
    given, own = _split(group)
    lines = []
    for variant in VARIANTS:
        x, shares = [*map(_deviation, given)], [_share(result, variant) for result in given]
        lines.append(Line(VARIANT_NAMES[variant], x, shares, style=style_of(variant) | MARKED))
        lines += _own(variant, [_share(result, variant) for result in own], params)
    return Panel(_title(rate), lines, "initial deviation", "trainings that learn (%)", log_x=True, limits=(-5, 105))


def _own(variant: Variant, heights: Sequence[float], params: Params) -> list[Line]:
    """Mark what PyTorch's initialisation reaches, over the deviations that it has."""
    style = {"color": COLOURS[variant], "linestyle": "-", "linewidth": 1, "marker": "D", "markersize": 5}
    label = f"{VARIANT_NAMES[variant]}, {DEFAULT_WORDS}"
    hollow = style | {"markerfacecolor": "white", "zorder": 3}
    return [Line(label, _span(params), [height, height], style=hollow) for height in heights]


def _failed(variant: Variant, own: Sequence[Result], params: Params) -> list[Line]:
    """Mark where trainings from PyTorch's initialisation failed: the median or, if all diverged, an error of 100 %."""
    failed = [result for result in own if result.failures(variant, params.evaluate).count]
    middles = [error(result.summary(variant, params.evaluate).median) for result in failed]
    heights = [100.0 if math.isnan(middle) else middle for middle in middles]
    style = {"color": COLOURS[variant], **FAILED}
    return [Line(FAILED_LABEL, [_span(params)[0]], [height], style=style) for height in heights]


def _share(result: Result, variant: Variant) -> float:
    return 100 * float(learned(result.final(variant)).mean())


def _title(rate: str) -> str:
    return f"learning rate {rate}"
