"""Values to figures. Colours are Okabe and Ito's, which colour-blind readers can tell apart."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

from pipeline.activations import Scale
from pipeline.params import Variant

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

COLOURS: dict[Variant, str] = {"plain": "#D55E00", "batchnorm": "#0072B2"}
LABELS: dict[Variant, str] = {"plain": "plain", "batchnorm": "Batch Normalization"}
DASHES: dict[Variant, str] = {"plain": "--", "batchnorm": "-"}
TENSORS = {
    "pre_activation": "pre-activation",
    "activation": "activation",
    "normalised": "normalised output",
}
STYLE: dict[str, Any] = {"linewidth": 1.8}
SEED_STYLE: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.35}


def png(figure: Figure, dpi: int = 200) -> bytes:
    """Render a figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    return content.getvalue()


def pixels(figure: Figure, dpi: int = 100) -> NDArray[np.uint8]:
    """Render a figure as an image [height, width, 3]."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def curves(values: Mapping[Variant, Floats], first: int, xlabel: str, ylabel: str, *, log: bool = False) -> Figure:
    """Draw one line per seed and their mean over steps; values [seeds, steps] by variant, from step `first`."""
    figure, axes = blank(1, 1, width=6.4, height=4.0)
    axis = axes[0, 0]
    for variant, lines in values.items():
        steps = np.arange(first, first + lines.shape[1])
        axis.plot(steps, lines.T, color=COLOURS[variant], **SEED_STYLE)
        axis.plot(
            steps,
            lines.mean(axis=0),
            DASHES[variant],
            color=COLOURS[variant],
            label=f"{LABELS[variant]}, mean of {len(lines)} seed{'s' * (len(lines) > 1)}",
            **STYLE,
        )
    if log:
        axis.set_yscale("log")
    if lines.shape[1] <= 20:
        axis.set_xticks(steps)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    _legend(figure, axis)
    return figure


def frames(variant: Variant, tensor: str, counts: Counts, scale: Scale) -> Iterator[NDArray[np.uint8]]:
    """Draw one tensor's distribution after every epoch, counts [seeds, epochs + 1, bins], as images 256 pixels wide.

    They are small because MLflow shows them so, and of one figure that is redrawn because that is four times faster.
    """
    figure = Figure(figsize=(2.56, 1.92))
    axis = figure.add_axes((0.16, 0.14, 0.8, 0.72))
    fractions = _fractions(counts)
    layer, kind = tensor.split(".")
    patches = _steps(axis, scale, fractions[:, 0], variant)
    _value_axis(axis, scale)
    axis.tick_params(labelsize=7)
    title = figure.text(0.5, 0.91, "", fontsize=6.5, ha="center")
    for epoch in range(counts.shape[1]):
        for patch, heights in zip(patches, (*fractions[:, epoch], fractions[:, epoch].mean(axis=0)), strict=True):
            patch.set_data(heights)
        title.set_text(f"{variant}, layer {layer.removeprefix('layer')}, {TENSORS[kind]}, epoch {epoch}")
        yield pixels(figure)


def histograms(
    counts: Mapping[Variant, Mapping[str, Counts]],
    scales: Mapping[str, Scale],
) -> Figure:
    """Draw the distribution of every hidden tensor, a row per layer and a column per kind of tensor.

    `counts` maps variant and tensor (`layer1.activation`) to histograms [seeds, bins]; each seed is a faint
    line and their mean a strong one. Heights are fractions of all values, per bin.
    """
    tensors = sorted({name for of in counts.values() for name in of})
    layers = sorted({name.split(".")[0] for name in tensors}, key=lambda layer: int(layer.removeprefix("layer")))
    kinds = [kind for kind in TENSORS if any(name.endswith(f".{kind}") for name in tensors)]
    figure, axes = blank(len(layers), len(kinds), width=3.6 * len(kinds), height=2.5 * len(layers) + 0.6)
    for row, layer in enumerate(layers):
        for column, kind in enumerate(kinds):
            axis, name = axes[row, column], f"{layer}.{kind}"
            for variant, of in counts.items():
                if name in of:
                    _steps(axis, scales[name], _fractions(of[name]), variant)
            _value_axis(axis, scales[name])
            axis.set_title(f"hidden layer {layer.removeprefix('layer')}: {TENSORS[kind]}", fontsize=10)
            if row == len(layers) - 1:
                axis.set_xlabel(f"{TENSORS[kind]} (no unit)")
        axes[row, 0].set_ylabel("fraction of values per bin")
    _shared_legend(figure, counts)
    return figure


def lab_view(values: Mapping[Variant, Floats], layer: int, digit: int) -> Figure:
    """Draw the lab's own histogram: a layer's pre-activations [seeds, units] of one test image, by variant."""
    figure, axes = blank(1, 1, width=6.4, height=4.0)
    axis = axes[0, 0]
    finite = {variant: array[np.isfinite(array)] for variant, array in values.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins=40)
    for variant, array in values.items():
        axis.hist(
            finite[variant],
            bins=list(edges),
            color=COLOURS[variant],
            alpha=0.55,
            edgecolor=COLOURS[variant],
            hatch="//" if variant == "plain" else None,
            label=f"{LABELS[variant]}: {array.shape[0]} seed(s) × {array.shape[1]} units",
        )
    axis.set(xlabel=f"pre-activation of hidden layer {layer}, test image {digit} (no unit)", ylabel="number of units")
    _legend(figure, axis)
    return figure


def lab_views(rows: Mapping[str, Sequence[tuple[str, Mapping[Variant, Floats], bool]]]) -> Figure:
    """Draw the lab's histogram in several ways, a row of panels for each name.

    A panel has a title, values [seeds, units] by variant, and whether the variants share their bins: the lab gives
    each its own ten.
    """
    count = max(len(panels) for panels in rows.values())
    figure, axes = blank(len(rows), count, width=4.2 * count, height=3.2 * len(rows) + 0.6)
    for (name, panels), line in zip(rows.items(), axes, strict=True):
        for (title, values, shared), axis in zip(panels, line, strict=True):
            finite = {variant: array[np.isfinite(array)] for variant, array in values.items()}
            edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins=40)
            for variant, array in finite.items():
                bins = edges if shared else np.histogram_bin_edges(array, bins=10)
                axis.hist(array, bins=list(bins), color=COLOURS[variant], alpha=0.55, label=LABELS[variant])
            axis.set_title(f"{name}:\n{title}", fontsize=9)
            axis.set(xlabel="second hidden layer (no unit)", ylabel="number of units")
    _shared_legend(figure, COLOURS)
    return figure


def paired(values: Mapping[Variant, Floats], seeds: Sequence[int], ylabel: str) -> Figure:
    """Draw one value per seed [seeds] of both variants, each pair joined."""
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
            label=f"{LABELS[variant]}, mean {mean:.2f}",
        )
    axis.set_xticks(range(len(seeds)), [str(seed) for seed in seeds])
    axis.set(xlabel="seed (a pair shares initial weights and batches)", ylabel=ylabel)
    _legend(figure, axis)
    return figure


def per_digit(values: Mapping[Variant, Floats], ylabel: str) -> Figure:
    """Draw a value of every seed and class [seeds, classes], side by side for the variants."""
    figure, axes = blank(1, 1, width=6.4, height=4.0)
    axis = axes[0, 0]
    for offset, marker, (variant, array) in zip((-0.15, 0.15), "so", values.items(), strict=True):
        places = np.arange(array.shape[1]) + offset
        axis.scatter(np.tile(places, len(array)), array, s=8, alpha=0.35, color=COLOURS[variant], linewidths=0)
        axis.scatter(
            places, array.mean(axis=0), marker=marker, color=COLOURS[variant], label=f"{LABELS[variant]}, mean of seeds"
        )
    axis.set_xticks(range(array.shape[1]))
    axis.set(xlabel="class (MNIST: digit)", ylabel=ylabel)
    _legend(figure, axis)
    return figure


def confusions(matrices: Mapping[Variant, Floats]) -> Figure:
    """Draw confusion matrices [classes, classes] (true, predicted) as per cent of each true class."""
    figure, axes = blank(1, len(matrices), width=5.2 * len(matrices), height=4.8)
    for axis, (variant, matrix) in zip(axes[0], matrices.items(), strict=True):
        percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for (true, predicted), value in np.ndenumerate(percent):
            if value >= 0.05:
                colour = "white" if value > 50 else "black"
                axis.text(predicted, true, f"{value:.1f}", ha="center", va="center", fontsize=7, color=colour)
        axis.set_xticks(range(len(matrix)))
        axis.set_yticks(range(len(matrix)))
        axis.set(title=LABELS[variant], xlabel="predicted class", ylabel="true class (rows add up to 100 %)")
        axis.grid(visible=False)
    return figure


def blank(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of so many inches with empty axes [rows, columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(color="0.92", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def _shared_legend(figure: Figure, variants: Mapping[Variant, Any]) -> None:
    axis = next(axis for axis in figure.axes if len(axis.get_legend_handles_labels()[0]) == len(variants))
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def _fractions(counts: Counts) -> Floats:
    fractions: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return fractions


def _steps(axis: Axes, scale: Scale, fractions: Floats, variant: Variant) -> list[StepPatch]:
    """Draw histograms [seeds, bins], and their mean last."""
    edges, colour = scale.edges(), COLOURS[variant]
    mean: dict[str, Any] = {**STYLE, "linestyle": DASHES[variant], "label": LABELS[variant]}
    patches = [axis.stairs(one, edges, color=colour, **SEED_STYLE) for one in fractions]
    return [*patches, axis.stairs(fractions.mean(axis=0), edges, color=colour, **mean)]


def _value_axis(axis: Axes, scale: Scale) -> None:
    axis.set_yscale("log")
    axis.set_ylim(1e-5, 1.5)
    if scale.asinh:
        axis.set_xscale("asinh")
        axis.set_xlim(-1000, 1000)
        axis.set_xticks([-100, -10, 0, 10, 100], ["−100", "−10", "0", "10", "100"])
        axis.minorticks_off()
    else:
        axis.set_xlim(scale.low, scale.high)
