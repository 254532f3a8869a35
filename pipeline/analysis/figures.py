"""Figures of curves, pairs, classes and confusions, in Okabe and Ito's colours, which suit colour-blind readers."""

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.analysis.statistics import Interval
from pipeline.params import Variant

Floats = NDArray[np.float64]

COLOURS: dict[Variant, str] = {
    "plain": "#D55E00",
    "batchnorm": "#0072B2",
    "layernorm": "#009E73",
    "groupnorm": "#CC79A7",
    "rmsnorm": "#E69F00",
    "weightnorm": "#56B4E9",
}
VARIANT_NAMES: dict[Variant, str] = {
    "plain": "plain",
    "batchnorm": "Batch Normalization",
    "layernorm": "Layer Normalization",
    "groupnorm": "Group Normalization",
    "rmsnorm": "RMSNorm",
    "weightnorm": "Weight Normalization",
}
DASHES: dict[Variant, Any] = {
    "plain": "--",
    "batchnorm": "-",
    "layernorm": "-.",
    "groupnorm": ":",
    "rmsnorm": (0, (5, 1, 1, 1, 1, 1)),
    "weightnorm": (0, (10, 2)),
}
TENSORS = {
    "pre_activation": "pre-activation",
    "activation": "activation",
    "normalised": "normalised output",
}
STYLE: dict[str, Any] = {"linewidth": 1.8}
SEED_STYLE: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.35}
FAILED: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 7, "markeredgewidth": 1.6, "clip_on": False}


def png(figure: Figure, dpi: int = 200) -> bytes:
    """Render a figure as PNG; equal figures have equal bytes."""
    content = io.BytesIO()
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.print_png(content, metadata={"Software": None})  # type: ignore[no-untyped-call]  # `savefig` draws twice
    return content.getvalue()


def svg(figure: Figure) -> bytes:
    """Render a figure as SVG; equal figures have equal bytes."""
    content = io.StringIO()
    figure.set_dpi(72)
    with mpl.rc_context({"svg.hashsalt": "batchnorm-mnist"}):
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return content.getvalue().encode()


def files(figure: Figure, name: str) -> dict[str, bytes]:
    """Render a figure as PNG and SVG, by the names of the files."""
    return {f"{name}.svg": svg(figure), f"{name}.png": png(figure)}


def curves(
    values: Mapping[Variant, Floats], first: int, xlabel: str, ylabel: str, note: str, *, log: bool = False
) -> Figure:
    """Draw values [seeds, steps] from step `first` on: a faint line per seed, and a strong one for their median.

    A training that diverged ends in a cross, and its last values are in no median.
    """
    figure, axes = blank(1, 1, width=6.4, height=4.3)
    axis = axes[0, 0]
    for variant, lines in values.items():
        steps = np.arange(first, first + lines.shape[1])
        axis.plot(steps, lines.T, color=COLOURS[variant], **SEED_STYLE)
        axis.plot(
            steps,
            median(lines),
            linestyle=DASHES[variant],
            color=COLOURS[variant],
            label=f"{VARIANT_NAMES[variant]}, median of {len(lines)} seed{'s' * (len(lines) > 1)}",
            **STYLE,
        )
        for line in lines[~np.isfinite(lines).all(axis=1)]:
            last = max(int(np.isfinite(line).argmin()) - 1, 0)
            axis.plot(steps[last], line[last], color=COLOURS[variant], **FAILED)
    if log:
        plain_log(axis.yaxis)
    if lines.shape[1] <= 20:
        axis.set_xticks(steps)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    legend(figure, axis)
    footnote(figure, f"{note} Faint: single seeds.")
    return figure


def paired(values: Mapping[Variant, Floats], seeds: Sequence[int], difference: Interval, note: str) -> Figure:
    """Draw the error of each seed [seeds] of both variants, and the differences of the accuracies.

    Args:
        values: Accuracies as fractions; NaN of a training that diverged, which is a cross at an error of 100 %.
        seeds: The seeds.
        difference: Mean difference of the second variant minus the first, as a fraction.
        note: The line under the figure.
    """
    figure, axes = blank(1, 2, width=8.4, height=4.3)
    errors, gains = axes[0]
    (first, control), (second, treatment) = values.items()
    order = np.argsort(np.nan_to_num(control, nan=-1), kind="stable")
    drawn = {first: control[order], second: treatment[order]}
    places = np.arange(len(seeds))
    ends = [errors_of(np.nan_to_num(array)) for array in drawn.values()]
    errors.vlines(places, *ends, color="0.75", zorder=1)
    for marker, (variant, array), end in zip("so", drawn.items(), ends, strict=True):
        kept = np.isfinite(array)
        errors.scatter(
            places[kept], end[kept], marker=marker, color=COLOURS[variant], zorder=2, label=VARIANT_NAMES[variant]
        )
        if not kept.all():  # an empty line would widen the margins
            errors.plot(places[~kept], end[~kept], color=COLOURS[variant], **FAILED)
    plain_log(errors.yaxis)
    errors.set(xlabel="seed", ylabel="test error (%)")
    gains.axhline(0, color="0.6", linewidth=0.8)
    if np.isfinite(difference.low):
        gains.axhspan(100 * difference.low, 100 * difference.high, color="0.85", zorder=0)
    gains.axhline(100 * difference.value, color="0.3", linewidth=1.2)
    gains.scatter(places, 100 * (drawn[second] - drawn[first]), color="0.1", s=18, zorder=2)
    gains.set(xlabel="seed, in the same order", ylabel="difference (percentage points)")
    for axis in (errors, gains):
        axis.set_xticks(places, [str(seeds[at]) for at in order])
        axis.set_xlim(-0.6, len(seeds) - 0.4)
    legend(figure, errors)
    footnote(figure, note)
    return figure


def per_digit(values: Mapping[Variant, Floats], note: str) -> Figure:
    """Draw errors of both variants [seeds, classes] side by side, given accuracies as fractions; 0 is drawn as 0.05 %.

    Trainings that diverged, NaN, are left out.
    """
    figure, axes = blank(1, 1, width=6.4, height=4.3)
    axis = axes[0, 0]
    for offset, marker, (variant, array) in zip((-0.15, 0.15), "so", values.items(), strict=True):
        places = np.arange(array.shape[1]) + offset
        errors = errors_of(array[np.isfinite(array).all(axis=1)])
        axis.scatter(np.tile(places, len(errors)), errors, s=8, alpha=0.35, color=COLOURS[variant], linewidths=0)
        label = f"{VARIANT_NAMES[variant]}, median of seeds"
        axis.scatter(places, median(errors), marker=marker, color=COLOURS[variant], label=label)
    plain_log(axis.yaxis)
    axis.set_xticks(range(array.shape[1]))
    axis.set(xlabel="class (MNIST: digit)", ylabel="test error (%)")
    legend(figure, axis)
    footnote(figure, f"{note} Faint: single seeds.")
    return figure


def errors_of(accuracies: Floats, least: float = 0.05) -> Floats:
    """Return the errors of accuracies in per cent, at least `least`, for a logarithmic axis; NaN stays."""
    errors: Floats = np.maximum(100 - 100 * accuracies, least)
    return errors


def median(values: Floats) -> Floats:
    """Return the median over seeds of values [seeds, ...]; those that are not finite are left out, NaN if all are."""
    finite = np.where(np.isfinite(values), values, np.nan)
    filled = np.isfinite(finite).any(axis=0)
    middle: Floats = np.full(values.shape[1:], np.nan)
    if len(finite):
        middle[filled] = np.nanmedian(finite[:, filled], axis=0)
    return middle


def confusions(matrices: Mapping[Variant, Floats], titles: Mapping[Variant, str], note: str) -> Figure:
    """Draw confusion matrices [true classes, predicted classes] of counts, as per cent of each true class."""
    figure, axes = blank(1, len(matrices), width=5.2 * len(matrices), height=5.1)
    for axis, (variant, matrix) in zip(axes[0], matrices.items(), strict=True):
        percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for (true, predicted), value in np.ndenumerate(percent):
            if value >= 0.05:
                colour = "white" if value > 50 else "black"
                style = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
                axis.text(predicted, true, f"{value:.1f}", **style, in_layout=False)
        axis.set_xticks(range(len(matrix)))
        axis.set_yticks(range(len(matrix)))
        axis.set(title=titles[variant], xlabel="predicted class", ylabel="true class (rows add up to 100 %)")
        axis.grid(visible=False)
    footnote(figure, note)
    return figure


def blank(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with empty axes [rows, columns]; its width and height are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(color="0.92", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plain_log(axis: Axis) -> None:
    """Make an axis logarithmic, with ticks such as 0.5, 1, 2 and 5 instead of powers of ten."""
    axis._set_axes_scale("log")  # type: ignore[attr-defined]
    low, high = axis.get_view_interval()
    near = high / max(low, 1e-300) < 300
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def footnote(figure: Figure, text: str) -> None:
    """Put a line under a figure, which says what its marks mean and what was trained."""
    width = round(18 * figure.get_figwidth())  # characters
    wrapped = textwrap.fill(text, width, break_on_hyphens=False)
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=7.5, color="0.3")


def legend(figure: Figure, axis: Axes) -> None:
    """Put the legend of an axis above the figure."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def shared_legend(figure: Figure, variants: Sized) -> None:
    """Put the legend of the first axis that shows all variants above the figure."""
    legend(figure, next(axis for axis in figure.axes if len(axis.get_legend_handles_labels()[0]) == len(variants)))


def evenly(last: int, most: int) -> list[int]:
    """Return the steps from 0 to `last` that are drawn: all or, of many, `most` with even gaps, the ends among them."""
    return sorted({round(at) for at in np.linspace(0, last, min(last + 1, most))})


def layers(tensors: Iterable[str]) -> list[str]:
    """Return the layers of hidden tensors such as `layer1.activation`, in the order of their numbers."""
    return sorted({name.split(".")[0] for name in tensors}, key=lambda layer: int(layer.removeprefix("layer")))
