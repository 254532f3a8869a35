"""Figures of several panels with lines and bands, for sweeps and studies."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.analysis.figures import (
    COLOURS,
    DASHES,
    FAILED,
    STYLE,
    VARIANT_NAMES,
    Floats,
    blank,
    errors_of,
    footnote,
    plain_log,
)
from pipeline.analysis.statistics import Interval, Summary
from pipeline.analysis.wording import key_words, value_words
from pipeline.params import Variant

MARKED = {"marker": "o", "markersize": 3.5}
MOST = 60  # panels in a figure
TALLEST = 50.0  # inches, which are 10,000 pixels
FAILED_LABEL = "some or all trainings failed"
CHOSEN_LABEL = "chosen on the held-out images"
MARKS = (FAILED_LABEL, CHOSEN_LABEL)


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
    """Lines on a pair of axes. `ticks` name the places 0, 1, … on the x axis; `limits` bound the y axis.

    `level` is a horizontal line for comparison. `symlog` is the reach of the linear part of a y axis that is
    logarithmic on both sides of 0.
    """

    title: str
    lines: Sequence[Line]
    xlabel: str
    ylabel: str
    log_x: bool = False
    log_y: bool = False
    limits: tuple[float, float] | None = None
    ticks: Sequence[str] | None = None
    level: float | None = None
    symlog: float | None = None


@dataclass(frozen=True)
class Finals:
    """One variant's accuracies at a point, as a figure shows them.

    Attributes:
        accuracy: Median and quartiles, as fractions; NaN if all trainings diverged.
        failed: Whether some trainings failed.
        chosen: Whether the point is the best one, among those of its panel.
    """

    accuracy: Summary
    failed: bool = False
    chosen: bool = False


def style_of(variant: Variant) -> dict[str, Any]:
    """Return the colour and dashes of a variant's lines."""
    return {"color": COLOURS[variant], "linestyle": DASHES[variant]}


def mean_line(
    label: str, x: Sequence[float] | Floats, means: Sequence[Interval], factor: float, style: Mapping[str, Any]
) -> Line:
    """Return a line through means with a band of their intervals, all multiplied by `factor`."""
    value, low, high = ([factor * getattr(mean, end) for mean in means] for end in ("value", "low", "high"))
    return Line(label, x, value, low, high, dict(style))


def draw(
    panels: Sequence[Panel],
    note: str,
    columns: int = 3,
    width: float = 4.2,
    height: float = 3.4,
    share: Literal["row", "column", "all"] | None = None,
) -> Figure:
    """Draw panels row by row under one legend and above a line that says what they show.

    Marks come last, on the axes and in the legend. Of more than `MOST` panels the first are drawn, and the legend's
    title says so. There are more columns where the figure would be higher than `TALLEST`.

    Args:
        panels: The panels.
        note: The line under the figure.
        columns: How many panels a row has.
        width: A panel's, in inches.
        height: A panel's, in inches.
        share: Which panels have the same limits of the y axis.
    """
    shown = panels[:MOST]
    columns = min(max(columns, math.ceil(len(shown) / (TALLEST // height))), len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = blank(rows, columns, width=max(6.4, width * columns), height=0.9 + height * rows)
    labels: dict[str, tuple[Line, Any]] = {}
    for axis in grid.flat[len(shown) :]:
        axis.remove()
    for axis, panel in zip(grid.flat, shown, strict=False):
        if panel.level is not None:
            axis.axhline(panel.level, color="0.6", linewidth=0.8)
        for line in sorted(panel.lines, key=_is_mark):
            labels.setdefault(line.label, (line, _line(axis, line)))
        _axes(axis, panel, round(11 * width))
    if share:
        groups: dict[int, list[Axes]] = {}
        for at, axis in enumerate(grid.flat[: len(shown)]):
            groups.setdefault({"row": at // columns, "column": at % columns, "all": 0}[share], []).append(axis)
        for axes in groups.values():
            lows, highs = zip(*(axis.get_ylim() for axis in axes), strict=True)
            for axis in axes:
                axis.set_ylim(min(lows), max(highs))
                if axis.get_yscale() == "log":
                    plain_log(axis.yaxis)  # ticks for these limits
    title = f"the first {len(shown)} of {len(panels)} panels" if len(shown) < len(panels) else None
    across = max(1, round(figure.get_figwidth() / 2.2))
    named = sorted(labels.values(), key=lambda pair: _is_mark(pair[0]))
    figure.legend(
        [handle for _, handle in named],
        [line.label for line, _ in named],
        loc="outside upper center",
        ncols=min(len(named), across),
        frameon=False,
        title=title,
        fontsize=9,
    )
    footnote(figure, note)
    return figure


def _axes(axis: Axes, panel: Panel, characters: int) -> None:
    axis.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axis.set_title("\n".join(textwrap.fill(line, characters) for line in panel.title.split("\n")), fontsize=10)
    if panel.log_x:
        plain_log(axis.xaxis)
    if panel.log_y:
        plain_log(axis.yaxis)
    if panel.symlog:
        axis.set_yscale("symlog", linthresh=panel.symlog)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if panel.limits:
        axis.set_ylim(*panel.limits)
    if panel.ticks:
        axis.set_xticks(range(len(panel.ticks)), panel.ticks)


def _is_mark(line: Line) -> bool:
    return line.label in MARKS


def _line(axis: Axes, line: Line) -> Any:
    (handle,) = axis.plot(line.x, line.y, **{**STYLE, **line.style})
    if line.low is not None and line.high is not None:
        axis.fill_between(np.asarray(line.x), line.low, line.high, color=handle.get_color(), alpha=0.2, linewidth=0)
    return handle


def sweep(
    points: Sequence[Mapping[str, str]], finals: Mapping[Variant, Sequence[Finals]], ylabel: str, note: str
) -> Figure:
    """Draw errors in per cent over a grid's first key, in one panel for each choice of the other keys.

    Lines are medians and bands quartiles. A cross marks points at which some trainings failed, at the median or, if all
    diverged, at an error of 100 %; a ring marks the chosen point.

    Args:
        points: The values of every point of the grid, by key.
        finals: Each variant's accuracies at every point.
        ylabel: The label of the y axes, which are logarithmic.
        note: The line under the figure.
    """
    key, *others = points[0]
    choices = list(dict.fromkeys(tuple(point[other] for other in others) for point in points))
    panels = []
    for choice in choices:
        chosen = [at for at, point in enumerate(points) if tuple(point[other] for other in others) == choice]
        x, log, ticks = axis_of([points[at][key] for at in chosen])
        x, chosen = map(list, zip(*sorted(zip(x, chosen, strict=True)), strict=True))  # a line does not turn back
        drawn = [
            line
            for variant, all_ in finals.items()
            for line in final_lines(VARIANT_NAMES[variant], x, [all_[at] for at in chosen], style_of(variant))
        ]
        title = ", ".join(
            f"{key_words(other)} {value_words(value)}" for other, value in zip(others, choice, strict=True)
        )
        named = ticks and [value_words(tick) for tick in ticks]
        panels.append(Panel(title, drawn, key_words(key), ylabel, log_x=log, log_y=True, ticks=named))
    return draw(panels, note, share="all")


def final_lines(label: str, x: Sequence[float], finals: Sequence[Finals], style: Mapping[str, Any]) -> list[Line]:
    """Return a line of errors in per cent over points, medians with a band between the quartiles, and its marks."""
    summaries = [final.accuracy for final in finals]
    middle = [error(summary.median) for summary in summaries]
    low, high = ([error(getattr(summary, f"{end}_quartile")) for summary in summaries] for end in ("upper", "lower"))
    colour = style["color"]
    lines = [Line(label, x, middle, low, high, {**MARKED, **style})]
    failed = [at for at, final in enumerate(finals) if final.failed]
    if failed:
        heights = [100.0 if np.isnan(middle[at]) else middle[at] for at in failed]
        lines.append(Line(FAILED_LABEL, [x[at] for at in failed], heights, style={"color": colour, **FAILED}))
    chosen = [at for at, final in enumerate(finals) if final.chosen]
    if chosen:
        ring = {"color": colour, "linestyle": "", "marker": "o", "markersize": 10, "markerfacecolor": "none"}
        lines.append(Line(CHOSEN_LABEL, [x[at] for at in chosen], [middle[at] for at in chosen], style=ring))
    return lines


def error(accuracy: float) -> float:
    """Return the error in per cent of an accuracy, at least 0.01 for a logarithmic axis."""
    return float(errors_of(np.array(accuracy), least=0.01))


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
