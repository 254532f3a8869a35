"""Figures of several panels with lines and bands, for sweeps and studies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.figures import COLOURS, DASHES, STYLE, VARIANT_NAMES, Floats, blank
from pipeline.analysis.statistics import Interval
from pipeline.params import Variant

MARKED = {"marker": "o", "markersize": 3.5}
MOST = 60  # panels in a figure
TALLEST = 50.0  # inches, which are 10,000 pixels
GREEN = "#009E73"  # Okabe and Ito's third colour, beside those of the variants


@dataclass(frozen=True)
class Line:
    """A line y over x, with a band from `low` to `high` if both are given. The legend lists each label once."""

    label: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats
    low: Sequence[float] | Floats | None = None
    high: Sequence[float] | Floats | None = None
    style: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """Lines on a pair of axes. `ticks` name the places 0, 1, … on the x axis; `limits` bound the y axis."""

    title: str
    lines: Sequence[Line]
    xlabel: str
    ylabel: str
    log_x: bool = False
    log_y: bool = False
    limits: tuple[float, float] | None = None
    ticks: Sequence[str] | None = None


def style_of(variant: Variant) -> dict[str, Any]:
    """Return the colour and dashes of a variant's lines."""
    return {"color": COLOURS[variant], "linestyle": DASHES[variant]}


def mean_line(
    label: str, x: Sequence[float] | Floats, means: Sequence[Interval], factor: float, style: Mapping[str, Any]
) -> Line:
    """Return a line through means with a band of their intervals, all multiplied by `factor`."""
    value, low, high = ([factor * getattr(mean, end) for mean in means] for end in ("value", "low", "high"))
    return Line(label, x, value, low, high, dict(style))


def draw(panels: Sequence[Panel], columns: int = 3, width: float = 4.2, height: float = 3.4) -> Figure:
    """Draw panels row by row under one legend; `width` and `height` are those of a panel, in inches.

    Of more than `MOST` panels the first are drawn, and the legend's title says so. There are more columns where the
    figure would be higher than `TALLEST`.
    """
    shown = panels[:MOST]
    columns = min(max(columns, math.ceil(len(shown) / (TALLEST // height))), len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = blank(rows, columns, width=max(6.4, width * columns), height=0.6 + height * rows)
    labels: dict[str, Any] = {}
    for axis in grid.flat[len(shown) :]:
        axis.remove()
    for axis, panel in zip(grid.flat, shown, strict=False):
        for line in panel.lines:
            labels.setdefault(line.label, _line(axis, line))
        axis.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
        axis.set_title(panel.title, fontsize=10)
        if panel.log_x:
            axis.set_xscale("log")
        if panel.log_y:
            axis.set_yscale("log")
        if panel.limits:
            axis.set_ylim(*panel.limits)
        if panel.ticks:
            axis.set_xticks(range(len(panel.ticks)), panel.ticks)
    title = f"the first {len(shown)} of {len(panels)} panels" if len(shown) < len(panels) else None
    figure.legend(
        labels.values(), labels.keys(), loc="outside upper center", ncols=len(labels), frameon=False, title=title
    )
    return figure


def _line(axis: Axes, line: Line) -> Any:
    (handle,) = axis.plot(line.x, line.y, **{**STYLE, **line.style})
    if line.low is not None and line.high is not None:
        axis.fill_between(np.asarray(line.x), line.low, line.high, color=handle.get_color(), alpha=0.2, linewidth=0)
    return handle


def sweep(points: Sequence[Mapping[str, str]], lines: Mapping[Variant, Sequence[Interval]], ylabel: str) -> Figure:
    """Draw accuracies in per cent over a grid's first key, in one panel for each choice of the other keys.

    Args:
        points: The values of every point of the grid, by key.
        lines: Each variant's mean accuracy at every point, as a fraction.
        ylabel: The label of the y axes.
    """
    key, *others = points[0]
    choices = list(dict.fromkeys(tuple(point[other] for other in others) for point in points))
    panels = []
    for choice in choices:
        chosen = [at for at, point in enumerate(points) if tuple(point[other] for other in others) == choice]
        x, log, ticks = axis_of([points[at][key] for at in chosen])
        drawn = [
            mean_line(VARIANT_NAMES[variant], x, [means[at] for at in chosen], 100, {**style_of(variant), **MARKED})
            for variant, means in lines.items()
        ]
        title = ", ".join(f"{other} = {value}" for other, value in zip(others, choice, strict=True))
        panels.append(Panel(title, drawn, key, ylabel, log_x=log, limits=(0, 100), ticks=ticks))
    return draw(panels)


def axis_of(texts: Sequence[str]) -> tuple[list[float], bool, Sequence[str] | None]:
    """Place a key's values on an axis.

    Returns:
        The places; whether the axis is logarithmic, which it is if the values are positive and span more than a factor
        of ten; and names for the places 0, 1, … if the values are not numbers.
    """
    try:
        places = [float(text) for text in texts]
    except ValueError:
        return [float(at) for at in range(len(texts))], False, texts
    return places, min(places) > 0 and max(places) / min(places) > 10, None
