"""How far the inputs of the last sigmoid layer move over 50,000 steps, and how fast the networks learn meanwhile."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pipeline.analysis.crossings import first_step
from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES, errors_of, median
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import format_interval, format_mean, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, key_words, setting, value_words
from pipeline.params import Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Line, Panel, draw, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

KINDS = ("running", "recomputed")  # statistics
SPACING = 500  # steps between the measurements that jitter compares
START = 1000  # the step from which drift is measured
READ_AT = (100, 300, 1000, 3000, 50_000)  # steps after which accuracies are compared
TARGETS = (0.9, 0.95)  # accuracies whose first steps are compared
SEEN: list[tuple[Variant, str, str]] = [  # the lines of figures; plain networks are the same by both statistics
    ("plain", "running", VARIANT_NAMES["plain"]),
    ("batchnorm", "running", f"{VARIANT_NAMES['batchnorm']}, running statistics"),
    ("batchnorm", "recomputed", f"{VARIANT_NAMES['batchnorm']}, recomputed statistics"),
]


@dataclass(frozen=True)
class Measured:
    """What is compared: its values [seeds] by a kind of statistics and an outcome, and the words of its verdicts."""

    name: str
    values: Callable[[str, Outcome], Floats]
    more: str
    less: str
    margin: float | None = None
    digits: int = 4


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare movement and learning with and without Batch Normalization, by both kinds of statistics: one family."""
    settings = params.evaluate
    measures = {"shift": _movements(steps), "learning": _learning(steps, settings.margin)}
    family = Family(results[0].point.params.train.seeds, ("plain", "batchnorm"))
    for table, result in itertools.product(measures, results):
        for measured, kind in itertools.product(measures[table], KINDS):
            of_kind = partial(measured.values, kind)
            plain, batchnorm = result.kept("plain", of_kind), result.kept("batchnorm", of_kind)
            comparison = compare(batchnorm, plain, settings.confidence)
            cells = [
                *map(value_words, result.point.values.values()),
                measured.name,
                kind,
                format_mean(comparison.control, measured.digits),
                format_mean(comparison.treatment, measured.digits),
                format_interval(comparison.difference, measured.digits),
            ]
            question = Question(comparison, measured.more, measured.less, measured.margin)
            name = f"{_title(result)}: {measured.name}, {kind} statistics"
            family.ask(table, name, question, cells, plain, batchnorm)
    header = [*map(key_words, results[0].point.values), "measured", "statistics"]
    header += [VARIANT_NAMES["plain"], VARIANT_NAMES["batchnorm"], "difference"]
    tables = family.tables(dict.fromkeys(measures, header), primary, settings.confidence)
    lines = [
        "# Does Batch Normalization stabilise the inputs of the last sigmoid layer?",
        "",
        f"*Jitter* is how far a unit's median moves in {SPACING} steps, summed over all units of the last hidden layer "
        f"and all of training; *drift* is how far it has moved from step {START} to the end. Both are in widths of the "
        "unit's distribution, 85th minus 15th percentile, over the same units and steps. With Batch Normalization both "
        "are measured through running statistics, whose own sampling noise moves them too, and through statistics "
        "recomputed from the same training images at each measurement. For plain networks the two are the same.",
        "",
        *markdown_table(*tables["shift"]),
        "",
        "How fast the networks learn: accuracies on the same 2000 validation images, and the first measured step with "
        "an accuracy; pairs in which a network never gets there are left out.",
        "",
        *markdown_table(*tables["learning"]),
        *closing(primary, settings.margin),
    ]
    return Report(lines, _figures(results, params, steps), tables)


def _movements(steps: Sequence[int]) -> list[Measured]:
    words = ("moves more", "moves less")
    return [
        Measured("jitter", lambda kind, outcome: jitter(outcome.probed[kind], steps), *words),
        Measured("drift", lambda kind, outcome: drift(outcome.probed[kind], steps)[:, -1], *words),
    ]


def _learning(steps: Sequence[int], margin: float) -> list[Measured]:
    def accuracy(step: int, kind: str, outcome: Outcome) -> Floats:
        return outcome.probed[f"{kind}_accuracy"][:, steps.index(step)]

    def first(target: float, kind: str, outcome: Outcome) -> Floats:
        return first_step(outcome.probed[f"{kind}_accuracy"], steps, target)

    return [
        *(
            Measured(f"accuracy after {step} steps", partial(accuracy, step), "higher", "lower", margin)
            for step in READ_AT
            if step in steps
        ),
        *(
            Measured(f"first step with an accuracy of {target}", partial(first, target), "later", "sooner", digits=0)
            for target in TARGETS
        ),
    ]


def jitter(percentiles: Floats, steps: Sequence[int]) -> Floats:
    """Return the ratio [seeds] of the medians' travel to the widths, each summed over units and all of training.

    Args:
        percentiles: The 15th, 50th and 85th percentile [seeds, measurements, units, 3].
        steps: The steps of the measurements.
    """
    spaced = percentiles[:, _spaced(steps)]
    return _moved(spaced[:, :-1], spaced[:, 1:], (1, 2))


def drift(percentiles: Floats, steps: Sequence[int]) -> Floats:
    """Return how far the medians have moved from step 1000 to each later measurement [seeds, later measurements].

    The distances and the widths, at the later measurement, are summed over units; the arguments are those of `jitter`.
    """
    start = steps.index(START)
    return _moved(percentiles[:, start : start + 1], percentiles[:, start + 1 :], 2)


def _spaced(steps: Sequence[int]) -> list[int]:
    return [at for at, step in enumerate(steps) if step % SPACING == 0]


def _moved(before: Floats, after: Floats, axes: int | tuple[int, int]) -> Floats:
    travel = np.abs(after[..., 1] - before[..., 1]).sum(axis=axes)
    width = (after[..., 2] - after[..., 0]).sum(axis=axes)
    ratio: Floats = travel / np.maximum(width, 1e-12)
    return ratio


def _title(result: Result) -> str:
    """Return the words for a point, such as `SGD, learning rate 0.1, initial deviation 0.1`."""
    words = {key: value_words(text) for key, text in result.point.values.items()}
    return ", ".join(text if key == "train.optimizer" else f"{key_words(key)} {text}" for key, text in words.items())


def _figures(results: Sequence[Result], params: Params, steps: Sequence[int]) -> dict[str, Figure]:
    keys = list(results[0].point.values)
    note = (
        f"{setting(params, keys)}; {count_of(len(params.train.seeds), 'seed')} of each variant. "
        "Lines: medians; bands: from the least to the greatest seed."
    )
    return {
        "accuracy_over_steps": draw(
            [_errors(result, steps) for result in results],
            f"{note} Error on 2000 validation images.",
            width=4.3,
            height=3.0,
            share="all",
        ),
        "movement": draw(
            [panel for result in results for panel in _movement(result, steps)],
            f"{note} Jitter: how far the medians move in {SPACING} steps; drift: from step {START}.",
            columns=2,
            width=4.6,
            height=2.7,
            share="column",
        ),
        "percentiles": draw(
            [panel for result in results for panel in _percentiles(result, steps)],
            f"{setting(params, keys)}; the first unit of seed {params.train.seeds[0]}. Lines: medians; bands: from the "
            "15th to the 85th percentile, over 1000 validation images.",
            width=4.3,
            height=2.6,
            share="row",
        ),
    }


def _lines(result: Result, x: Sequence[float], values: Callable[[Outcome, str], Floats]) -> list[Line]:
    """Return the lines of values [seeds, steps] of both variants, by both statistics where these differ."""
    lines = []
    for variant, kind, label in SEEN:
        outcome = result.outcomes[variant]
        kept = values(outcome, kind)[outcome.diverged_at == 0]
        low, high = (kept.min(axis=0), kept.max(axis=0)) if len(kept) else (None, None)
        lines.append(Line(label, x, median(kept), low, high, _style(variant, kind)))
    return lines


def _style(variant: Variant, kind: str) -> dict[str, object]:
    return style_of(variant) | ({"linestyle": ":"} if variant == "batchnorm" and kind == "running" else {})


def _errors(result: Result, steps: Sequence[int]) -> Panel:
    def errors(outcome: Outcome, kind: str) -> Floats:
        return errors_of(outcome.probed[f"{kind}_accuracy"][:, 1:])

    lines = _lines(result, steps[1:], errors)
    return Panel(_title(result), lines, "step", "error (%)", log_x=True, log_y=True)


def _movement(result: Result, steps: Sequence[int]) -> list[Panel]:
    spaced = _spaced(steps)

    def jitters(outcome: Outcome, kind: str) -> Floats:
        seen = outcome.probed[kind][:, spaced]
        return _moved(seen[:, :-1], seen[:, 1:], 2)

    def drifts(outcome: Outcome, kind: str) -> Floats:
        return drift(outcome.probed[kind], steps)

    later = steps[steps.index(START) + 1 :]
    views = {"jitter": ([steps[at] for at in spaced[1:]], jitters), "drift": (later, drifts)}
    return [
        Panel(
            f"{_title(result)}\n{name}", _lines(result, x, values), "step", f"{name} (widths)", log_x=True, log_y=True
        )
        for name, (x, values) in views.items()
    ]


def _percentiles(result: Result, steps: Sequence[int]) -> list[Panel]:
    panels = []
    for variant, kind, label in SEEN:
        probed = result.outcomes[variant].probed
        low, middle, high = (probed[f"{kind}_{level}"][0] for level in (15, 50, 85))
        line = Line(label, steps, middle, low, high, _style(variant, kind))
        panels.append(Panel(f"{_title(result)}\n{label}", [line], "step", "input of the sigmoid"))
    return panels
