"""How many steps each network needs to reach an accuracy, at the learning rate that reaches it soonest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.crossings import first_step
from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES, errors_of, median
from pipeline.analysis.statistics import compare, exponential, interval, proportion
from pipeline.analysis.tables import format_interval, format_number, format_proportion, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, join_words, seed_words, setting, value_words
from pipeline.params import VARIANTS, Evaluate, Params, Variant
from pipeline.sweeps.panels import Line, Panel, draw, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, groups
from pipeline.training.history import Floats

TARGETS = (0.9, 0.95, 0.96, 0.97)
# What a ratio is, by whether some plain networks never reach the target, and whether some normalised ones do not.
BOUNDS = {
    (False, False): "measured",
    (True, False): "at least this",
    (False, True): "at most this",
    (True, True): "not bounded",
}
OF_VARIANT = ("rate", "reached", "median steps", "mean steps")
HEAD = [
    *("optimizer", "accuracy"),
    *(f"{VARIANT_NAMES[variant]}: {column}" for variant in VARIANTS for column in OF_VARIANT),
    *("plain / Batch Normalization", "the ratio is"),
]


@dataclass(frozen=True)
class Race:
    """Both variants on their way to a target.

    Attributes:
        optimizer: The optimizer, in words.
        target: The accuracy.
        chosen: Each variant's point.
        rates: Its learning rate as text, with a mark where it is not an ordinary choice.
        first: The first step [seeds] at which each variant has the accuracy; NaN if never.
    """

    optimizer: str
    target: float
    chosen: Mapping[Variant, Result]
    rates: Mapping[Variant, str]
    first: Mapping[Variant, Floats]


def choose(group: Sequence[Result], variant: Variant) -> Sequence[Result]:
    """Return the point at which a variant reaches each target soonest."""
    return [soonest(group, variant, target) for target in TARGETS]


def soonest(group: Sequence[Result], variant: Variant, target: float) -> Result:
    """Return the point with the least mean of the first measurement at the target, of equals the first.

    The last measurement stands for a training that does not get there. Measurements are evenly spaced, so their
    numbers order points as steps would.
    """

    def mean(result: Result) -> float:
        accuracy = result.outcomes[variant].probed["accuracy"]
        last = accuracy.shape[1] - 1
        return float(restricted(first_step(accuracy, range(last + 1), target), last).mean())

    return min(group, key=mean)


def restricted(first: Floats, last: int) -> Floats:
    """Return steps [seeds] with `last` in the place of NaN."""
    return np.nan_to_num(first, nan=float(last))


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare the first steps at which fresh seeds have an accuracy on the held-out images: one family."""
    settings, last = params.evaluate, steps[-1]
    fresh = next(result.seeds for result in results if result.confirmed)
    family = Family(fresh, ("plain", "batchnorm"))
    races = [
        _race(value_words(optimizer), group, steps, target)
        for (optimizer,), group in groups(results).items()
        for target in TARGETS
    ]
    for race in races:
        _ask(family, race, last, settings)
    tables = family.tables({"steps": HEAD}, primary, settings.confidence)
    choosing = seed_words(results[0].point.params.train.seeds)
    lines = [
        "# How many steps does Batch Normalization save?",
        "",
        f"Steps until the accuracy on the held-out images, measured every {steps[1]} steps, first is the target or "
        f"more. Each network has the learning rate with the least mean of these steps over {choosing}, for each "
        f"optimizer and target; the steps are those of fresh {seed_words(fresh)}. (edge) is the least or the greatest "
        "rate tried; with (none), no rate has got there, and the first one stands for all. A training that does not "
        f"get there in {last} steps counts as {last} in means and ratios, and as more in medians. Ratios are geometric "
        "means over pairs, above 1 where Batch Normalization is sooner, with Student's "
        f"{100 * settings.confidence:g} % intervals of their logarithms. Where plain networks do not get there, the "
        "true ratio is at least this; where networks with Batch Normalization do not, at most this; where both do not, "
        "it is not bounded.",
        "",
        *markdown_table(*tables["steps"]),
        *closing(primary, None, "both steps of each pair"),
    ]
    note = (
        f"{setting(params, results[0].point.values)}; {count_of(len(fresh), 'fresh seed')} of each variant, at the "
        "learning rates that were chosen with other seeds for each accuracy: plain's, then Batch Normalization's. "
    )
    shares = f"Lines: trainings that have had the accuracy on the held-out images, measured every {steps[1]} steps."
    errors = "Lines: medians; bands: quartiles; trainings that diverged are left out. Grey: the accuracy sought."
    figures = {
        "reached": draw([_shares(race, steps) for race in races], note + shares, len(TARGETS), 3.4, 2.7, "all"),
        "errors": draw([_errors(race, steps) for race in races], note + errors, len(TARGETS), 3.4, 2.7, "all"),
    }
    return Report(lines, figures, tables)


def _race(optimizer: str, group: Sequence[Result], steps: Sequence[int], target: float) -> Race:
    chosen = {variant: soonest(group, variant, target) for variant in VARIANTS}
    rates = {variant: _rate(group, result, variant, target) for variant, result in chosen.items()}
    first = {
        variant: first_step(result.examined(variant).probed["accuracy"], steps, target)
        for variant, result in chosen.items()
    }
    return Race(optimizer, target, chosen, rates, first)


def _rate(group: Sequence[Result], result: Result, variant: Variant, target: float) -> str:
    """Return a chosen rate, with a mark where no rate gets there, or where it is at the edge of the grid."""
    none = not (result.outcomes[variant].probed["accuracy"] >= target).any()
    edge = result is group[0] or result is group[-1]
    return f"{result.point.values['train.lr']}{' (none)' if none else ' (edge)' if edge else ''}"


def _ask(family: Family, race: Race, last: int, settings: Evaluate) -> None:
    plain, batchnorm = (restricted(race.first[variant], last) for variant in VARIANTS)
    comparison = compare(np.log(plain), np.log(batchnorm), settings.confidence)
    cells = [race.optimizer, f"{race.target:g}"]
    for variant in VARIANTS:
        cells += [race.rates[variant], *_cells(race.first[variant], last, settings)]
    never = [bool(np.isnan(race.first[variant]).any()) for variant in VARIANTS]
    cells += [format_interval(exponential(comparison.difference), 2), BOUNDS[never[0], never[1]]]
    name = f"{race.optimizer}: steps to {race.target:g}"
    family.ask("steps", name, Question(comparison, "sooner", "later"), cells, plain, batchnorm)


def _cells(first: Floats, last: int, settings: Evaluate) -> list[str]:
    """Return one variant's cells: how many trainings have the accuracy, and the median and mean of their steps."""
    count = int(np.isfinite(first).sum())
    middle = float(np.median(np.nan_to_num(first, nan=np.inf)))
    return [
        format_proportion(proportion(count, len(first), settings.confidence)),
        format_number(middle, 0, missing=f"> {last}"),
        format_interval(interval(restricted(first, last), settings.confidence), 1),
    ]


def _title(race: Race) -> str:
    rates = [f"{race.chosen[variant].point.params.train.lr:.3g}" for variant in VARIANTS]
    return f"{race.optimizer} to {100 * race.target:g} %\nrates {join_words(rates)}"


def _shares(race: Race, steps: Sequence[int]) -> Panel:
    """Draw the share of trainings that have had the accuracy: an empirical distribution, which rises in steps."""
    lines = []
    for variant, first in race.first.items():
        shares = 100 * (first[:, None] <= np.array(steps[1:])).mean(axis=0)
        lines.append(
            Line(VARIANT_NAMES[variant], steps[1:], shares, style=style_of(variant) | {"drawstyle": "steps-post"})
        )
    return Panel(_title(race), lines, "step", "trainings there (%)", log_x=True)


def _errors(race: Race, steps: Sequence[int]) -> Panel:
    lines = []
    for variant, result in race.chosen.items():
        outcome = result.examined(variant)
        kept = errors_of(outcome.probed["accuracy"][outcome.diverged_at == 0, 1:])
        low, high = np.quantile(kept, [0.25, 0.75], axis=0) if len(kept) else (None, None)
        lines.append(Line(VARIANT_NAMES[variant], steps[1:], median(kept), low, high, style_of(variant)))
    sought = 100 * (1 - race.target)
    return Panel(_title(race), lines, "step", "held-out error (%)", log_x=True, log_y=True, level=sought)
