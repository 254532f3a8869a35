"""Figures of curves, pairs, classes and confusions, in Okabe and Ito's colours, which suit colour-blind readers."""

import io
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

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


def png(figure: Figure, dpi: int = 200) -> bytes:
    """Render a figure as PNG; equal figures have equal bytes."""
    content = io.BytesIO()
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.print_png(content, metadata={"Software": None})  # type: ignore[no-untyped-call]  # `savefig` draws twice
    return content.getvalue()


def curves(values: Mapping[Variant, Floats], first: int, xlabel: str, ylabel: str, *, log: bool = False) -> Figure:
    """Draw values [seeds, steps] from step `first` on: a faint line per seed, and a strong one for their mean."""
    figure, axes = blank(1, 1, width=6.4, height=4.0)
    axis = axes[0, 0]
    for variant, lines in values.items():
        steps = np.arange(first, first + lines.shape[1])
        axis.plot(steps, lines.T, color=COLOURS[variant], **SEED_STYLE)
        axis.plot(
            steps,
            lines.mean(axis=0),
            linestyle=DASHES[variant],
            color=COLOURS[variant],
            label=f"{VARIANT_NAMES[variant]}, mean of {len(lines)} seed{'s' * (len(lines) > 1)}",
            **STYLE,
        )
    if log:
        axis.set_yscale("log")
    if lines.shape[1] <= 20:
        axis.set_xticks(steps)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    legend(figure, axis)
    return figure


def paired(values: Mapping[Variant, Floats], seeds: Sequence[int], ylabel: str) -> Figure:
    """Draw one value per seed [seeds] of both variants, and join each pair."""
    figure, axes = blank(1, 1, width=6.4, height=4.0)
    axis = axes[0, 0]
    axis.vlines(range(len(seeds)), *values.values(), color="0.75", zorder=1)
    for marker, variant in zip("so", values, strict=True):
        mean = float(np.mean(values[variant]))
        axis.scatter(
            range(len(seeds)),
            values[variant],
            marker=marker,
            color=COLOURS[variant],
            zorder=2,
            label=f"{VARIANT_NAMES[variant]}, mean {mean:.2f}",
        )
    axis.set_xticks(range(len(seeds)), [str(seed) for seed in seeds])
    axis.set(xlabel="seed (a pair shares initial weights and batches)", ylabel=ylabel)
    legend(figure, axis)
    return figure


def per_digit(values: Mapping[Variant, Floats], ylabel: str) -> Figure:
    """Draw values [seeds, classes] of both variants side by side."""
    figure, axes = blank(1, 1, width=6.4, height=4.0)
    axis = axes[0, 0]
    for offset, marker, (variant, array) in zip((-0.15, 0.15), "so", values.items(), strict=True):
        places = np.arange(array.shape[1]) + offset
        axis.scatter(np.tile(places, len(array)), array, s=8, alpha=0.35, color=COLOURS[variant], linewidths=0)
        axis.scatter(
            places,
            array.mean(axis=0),
            marker=marker,
            color=COLOURS[variant],
            label=f"{VARIANT_NAMES[variant]}, mean of seeds",
        )
    axis.set_xticks(range(array.shape[1]))
    axis.set(xlabel="class (MNIST: digit)", ylabel=ylabel)
    legend(figure, axis)
    return figure


def confusions(matrices: Mapping[Variant, Floats]) -> Figure:
    """Draw confusion matrices [true classes, predicted classes] of counts, as per cent of each true class."""
    figure, axes = blank(1, len(matrices), width=5.2 * len(matrices), height=4.8)
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
        axis.set(title=VARIANT_NAMES[variant], xlabel="predicted class", ylabel="true class (rows add up to 100 %)")
        axis.grid(visible=False)
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


def legend(figure: Figure, axis: Axes) -> None:
    """Put the legend of an axis above the figure."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def shared_legend(figure: Figure, variants: Sized) -> None:
    """Put the legend of the first axis that shows all variants above the figure."""
    axis = next(axis for axis in figure.axes if len(axis.get_legend_handles_labels()[0]) == len(variants))
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def layers(tensors: Iterable[str]) -> list[str]:
    """Return the layers of hidden tensors such as `layer1.activation`, in the order of their numbers."""
    return sorted({name.split(".")[0] for name in tensors}, key=lambda layer: int(layer.removeprefix("layer")))
