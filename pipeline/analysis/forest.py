"""Forest plots: differences of accuracies, or ratios, with their intervals, a row each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.analysis.figures import blank, footnote, plain_log
from pipeline.analysis.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = ((1, 2, 5), (1,))  # of ticks, times powers of ten: the first choice that leaves room for their labels
MOST = 9  # ticks
ROW = 0.32  # inches


@dataclass(frozen=True)
class Effect:
    """A row of a forest plot.

    Attributes:
        name: What is compared.
        effect: Its difference, as a fraction, or its ratio, with the interval; NaN if there is none to draw.
        colour: The mark's and the line's.
        marker: The mark of the difference.
    """

    name: str
    effect: Interval
    colour: str = "0.2"
    marker: str = "o"


def forest(panels: Mapping[str, Sequence[Effect]], kind: str, margin: float, note: str) -> "Figure":
    """Draw differences in percentage points with their intervals; the band is what does not matter.

    The axis is linear within the margin and logarithmic beyond it, the same in all panels; the note says so.

    Args:
        panels: The rows of each panel, from the top, by its title.
        kind: What the rows are, as the label of the y axes.
        margin: The difference that does not matter, as a fraction.
        note: The beginning of the line under the figure.
    """
    linear = 100 * margin
    rows = max(map(len, panels.values()))
    figure, axes = blank(1, len(panels), width=6.8 * max(1, 0.8 * len(panels)), height=1.4 + ROW * rows)
    drawn = [number for effects in panels.values() for effect in effects for number in _finite(effect, 100)]
    low, high = (1.4 * limit for limit in (min([*drawn, -linear]), max([*drawn, linear])))
    for axis, (title, effects) in zip(axes[0], panels.items(), strict=True):
        axis.axvspan(-linear, linear, color="0.93", zorder=0)
        axis.axvline(0, color="0.6", linewidth=0.8)
        _rows(axis, effects, kind, 100)
        axis.set_xscale("symlog", linthresh=linear, linscale=0.5)
        ticks = _ticks(linear, low, high)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlim(low, high)
        axis.set_xlabel("difference (percentage points)")
        axis.set_title(title, fontsize=10)
    footnote(figure, f"{note} Band: ±{linear:g} points, within which the axis is linear; beyond, it is logarithmic.")
    return figure


def forest_of_ratios(effects: Sequence[Effect], kind: str, title: str, label: str, note: str) -> "Figure":
    """Draw ratios with their intervals on a logarithmic axis.

    Args:
        effects: The rows, from the top.
        kind: What the rows are, as the label of the y axis.
        title: The title.
        label: What the ratios are of, as the label of the x axis.
        note: The line under the figure.
    """
    figure, axes = blank(1, 1, width=6.8, height=1.4 + ROW * len(effects))
    (axis,) = axes.flat
    axis.axvline(1, color="0.6", linewidth=0.8)
    _rows(axis, effects, kind, 1)
    plain_log(axis.xaxis)
    axis.set_xlabel(label)
    axis.set_title(title, fontsize=10)
    footnote(figure, note)
    return figure


def _rows(axis: "Axes", effects: Sequence[Effect], kind: str, factor: float) -> None:
    """Draw the rows, with all numbers multiplied by a factor."""
    for at, effect in enumerate(effects):
        numbers = _finite(effect, factor)
        axis.plot(numbers, [at] * len(numbers), color=effect.colour)
        axis.plot(factor * effect.effect.value, at, color=effect.colour, marker=effect.marker, linestyle="")
    axis.set_yticks(range(len(effects)), [effect.name for effect in effects])
    axis.set(ylim=(len(effects) - 0.4, -0.6), ylabel=kind)


def _finite(effect: Effect, factor: float) -> list[float]:
    """Return an effect and the ends of its interval, multiplied by a factor, as far as they are known."""
    numbers = (effect.effect.low, effect.effect.value, effect.effect.high)
    return [factor * number for number in numbers if np.isfinite(number)]


def _ticks(linear: float, low: float, high: float) -> list[float]:
    """Return where ticks are between two ends: 0, the ends of the linear part, and round values beyond them."""
    ticks: list[float] = []
    for factors in STEPS:
        steps = {float(f"{factor}e{power}") for power in range(-4, 3) for factor in factors} | {linear}
        beyond = sorted(step for step in steps if step >= linear)
        ticks = [tick for tick in (*(-step for step in reversed(beyond)), 0.0, *beyond) if low <= tick <= high]
        if len(ticks) <= MOST:
            break
    return ticks
