"""Figures of distributions: every hidden tensor's, and the lab's own histogram."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text
from numpy.typing import NDArray

from pipeline.analysis.figures import (
    COLOURS,
    DASHES,
    SEED_STYLE,
    STYLE,
    TENSORS,
    VARIANT_NAMES,
    Floats,
    blank,
    footnote,
    layers,
    legend,
    shared_legend,
)
from pipeline.network.activations import Scale
from pipeline.params import Variant

Counts = NDArray[np.int64]


def saturated_zones(tensor: str, activation: str) -> list[tuple[float, float]]:
    """Return where values of a tensor saturate the activation function: within 1 % of its limits (ReLU: 0)."""
    reach = {"sigmoid": math.log(99), "tanh": math.log(99) / 2}
    if activation == "relu":
        return [] if tensor.endswith(".activation") else [(-math.inf, 0)]
    if tensor.endswith(".activation"):
        low = 0.0 if activation == "sigmoid" else -1.0
        return [(low, low + (1 - low) / 100), (1 - (1 - low) / 100, 1)]
    return [(-math.inf, -reach[activation]), (reach[activation], math.inf)]


def by_layer(
    counts: Mapping[Variant, Mapping[str, Counts]],
    scales: Mapping[str, Scale],
    zones: Mapping[str, Sequence[tuple[float, float]]],
    note: str,
) -> Figure:
    """Draw the distribution of every hidden tensor, a row per layer and a column per kind of tensor.

    Each seed is a faint line and their mean a strong one. Heights are densities: fractions of all values, divided by
    the width of the bin.

    Args:
        counts: Histograms [seeds, bins] by variant and tensor, such as `layer1.activation`.
        scales: The axis on which each tensor is binned.
        zones: Where each tensor's values saturate the activation function, which is shaded.
        note: The line under the figure.
    """
    return _by_layer(counts, scales, zones, note)[0]


def _by_layer(
    counts: Mapping[Variant, Mapping[str, Counts]],
    scales: Mapping[str, Scale],
    zones: Mapping[str, Sequence[tuple[float, float]]],
    note: str,
) -> tuple[Figure, dict[tuple[Variant, str], list[StepPatch]]]:
    """Return the figure of `by_layer`, and the histograms in it by variant and tensor."""
    patches = {}
    tensors = sorted({name for by_tensor in counts.values() for name in by_tensor})
    rows = layers(tensors)
    kinds = [kind for kind in TENSORS if any(name.endswith(f".{kind}") for name in tensors)]
    figure, axes = blank(len(rows), len(kinds), width=3.6 * len(kinds), height=2.5 * len(rows) + 0.9)
    for row, layer in enumerate(rows):
        for column, kind in enumerate(kinds):
            axis, name = axes[row, column], f"{layer}.{kind}"
            for variant, by_tensor in counts.items():
                if name in by_tensor:
                    densities = _densities(by_tensor[name], scales[name])
                    patches[variant, name] = _steps(axis, scales[name], densities, variant)
            _value_axis(axis, scales[name])
            for low, high in zones.get(name, ()):
                left, right = axis.get_xlim()
                axis.axvspan(max(low, left), min(high, right), color="0.93", zorder=0, linewidth=0)
            axis.set_title(f"hidden layer {layer.removeprefix('layer')}: {TENSORS[kind]}", fontsize=10)
            if row == len(rows) - 1:
                axis.set_xlabel(f"{TENSORS[kind]} (no unit)")
        axes[row, 0].set_ylabel("density (1 / unit of the value)")
    shared_legend(figure, counts)
    footnote(figure, f"{note} Faint: single seeds; strong: their mean. Grey: saturated, within 1 % of the limits.")
    return figure, patches


def frames_by_layer(
    counts: Mapping[Variant, Mapping[str, Counts]],
    scales: Mapping[str, Scale],
    zones: Mapping[str, Sequence[tuple[float, float]]],
    epochs: Iterable[int],
    note: str,
) -> Iterator[NDArray[np.uint8]]:
    """Draw the figure of `by_layer` after some epochs, from counts [seeds, epochs + 1, bins] by variant and tensor.

    Yields:
        Images [height, 1620, 3], or of a width in proportion for fewer kinds of tensors.
    """
    first = {v: {name: array[:, 0] for name, array in by_tensor.items()} for v, by_tensor in counts.items()}
    figure, patches = _by_layer(first, scales, zones, note)
    title = figure.text(0.01, 0.985, "", fontsize=11, va="top")
    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    spines = [spine for axis in figure.axes for spine in axis.spines.values()]
    moving = [*itertools.chain(*patches.values()), *spines, title]
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()  # type: ignore[no-untyped-call]
    still = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]
    for epoch in epochs:
        for (variant, name), steps in patches.items():
            _show(steps, _densities(counts[variant][name][:, epoch], scales[name]))
        title.set_text(f"after epoch {epoch}" if epoch else "before training")
        canvas.restore_region(still)  # type: ignore[no-untyped-call]
        for artist in moving:
            figure.draw_artist(artist)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def frames(
    variant: Variant, tensor: str, counts: Counts, scale: Scale, epochs: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    """Draw one tensor's distribution, counts [seeds, epochs + 1, bins], after some epochs.

    Yields:
        Images [768, 1024, 3], whose text can still be read when MLflow shows them a quarter as wide.
    """
    canvas, axis, title, still = _empty_frame(scale)
    densities = _densities(counts, scale)
    patches = _steps(axis, scale, densities[:, 0], variant)
    layer, kind = tensor.split(".")
    for epoch in epochs:
        _show(patches, densities[:, epoch])
        title.set_text(f"{variant}, layer {layer.removeprefix('layer')}, {TENSORS[kind]}, epoch {epoch}")
        canvas.restore_region(still)  # type: ignore[no-untyped-call]
        for artist in (*patches, *axis.spines.values(), title):
            axis.draw_artist(artist)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    for patch in patches:
        patch.remove()


@functools.cache
def _empty_frame(scale: Scale) -> tuple[FigureCanvasAgg, Axes, Text, Any]:
    """Draw all that frames have in common: ticks and their labels take ten times as long as a histogram.

    Returns:
        The canvas, its axes, an empty title, and the pixels. The spines, which are above the histogram, are not among
        these.
    """
    figure = Figure(figsize=(2.56, 1.92), dpi=400)
    canvas = FigureCanvasAgg(figure)
    axis = figure.add_axes((0.16, 0.14, 0.8, 0.72))
    _value_axis(axis, scale)
    axis.tick_params(labelsize=7)
    for spine in axis.spines.values():
        spine.set_animated(True)
    canvas.draw()  # type: ignore[no-untyped-call]
    still = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]
    return canvas, axis, figure.text(0.5, 0.91, "", fontsize=6.5, ha="center"), still


def lab_view(values: Mapping[Variant, Floats], layer: int, digit: int, note: str) -> Figure:
    """Draw the lab's own histogram: the pre-activations [seeds, units] of one layer for one test image."""
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
            label=f"{VARIANT_NAMES[variant]}: {array.shape[0]} seed(s) × {array.shape[1]} units",
        )
    axis.set(xlabel=f"pre-activation of hidden layer {layer}, test image {digit} (no unit)", ylabel="number of units")
    legend(figure, axis)
    footnote(figure, note)
    return figure


def lab_views(rows: Mapping[str, Sequence[tuple[str, Mapping[Variant, Floats], bool]]], note: str) -> Figure:
    """Draw the lab's histogram in several ways.

    Args:
        rows: Panels by the name of their row. A panel has a title, values [seeds, units] by variant, and whether the
            variants share their bins; where they do not, each has its own ten, as in the lab.
        note: The line under the figure.
    """
    count = max(len(panels) for panels in rows.values())
    figure, axes = blank(len(rows), count, width=4.2 * count, height=3.2 * len(rows) + 0.6)
    for (name, panels), line in zip(rows.items(), axes, strict=True):
        for (title, values, shared), axis in zip(panels, line, strict=True):
            finite = {variant: array[np.isfinite(array)] for variant, array in values.items()}
            edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins=40)
            for variant, array in finite.items():
                bins = edges if shared else np.histogram_bin_edges(array, bins=10)
                axis.hist(array, bins=list(bins), color=COLOURS[variant], alpha=0.55, label=VARIANT_NAMES[variant])
            axis.set_title(f"{name}:\n{title}", fontsize=9)
            axis.set(xlabel="second hidden layer (no unit)", ylabel="number of units")
    lows, highs = zip(*(axis.get_xlim() for axis in axes.flat), strict=True)
    for axis in axes.flat:
        axis.set_xlim(min(lows), max(highs))
    shared_legend(figure, values)
    footnote(figure, note)
    return figure


def _densities(counts: Counts, scale: Scale) -> Floats:
    """Return counts [..., bins] as fractions of all values of a seed, divided by the width of the bin."""
    densities: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1) / np.diff(scale.edges())
    return densities


def _steps(axis: Axes, scale: Scale, densities: Floats, variant: Variant) -> list[StepPatch]:
    """Draw histograms [seeds, bins], and their mean last. The limits of the axis, which `Axes.stairs` fits, stay."""
    edges, colour = scale.edges(), COLOURS[variant]
    mean: dict[str, Any] = {**STYLE, "linestyle": DASHES[variant], "label": VARIANT_NAMES[variant]}
    patches = [StepPatch(one, edges, fill=False, edgecolor=colour, **SEED_STYLE) for one in densities]
    patches.append(StepPatch(densities.mean(axis=0), edges, fill=False, edgecolor=colour, **mean))
    for patch in patches:
        axis.add_artist(patch)
    return patches


def _show(patches: Sequence[StepPatch], densities: Floats) -> None:
    """Let patches that `_steps` has made show other histograms [seeds, bins]."""
    for patch, heights in zip(patches, (*densities, densities.mean(axis=0)), strict=True):
        patch.set_data(heights)


def _value_axis(axis: Axes, scale: Scale) -> None:
    axis.set_yscale("log")
    axis.set_ylim(*((1e-6, 20) if scale.asinh else (1e-3, 200)))
    if scale.asinh:
        axis.set_xscale("asinh")
        axis.set_xlim(-1000, 1000)
        axis.set_xticks([-100, -10, 0, 10, 100], ["−100", "−10", "0", "10", "100"])
        axis.minorticks_off()
    else:
        axis.set_xlim(scale.low, scale.high)
