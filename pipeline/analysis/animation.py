"""The animation of what the activation functions of one layer receive, epoch by epoch."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from pipeline.analysis.figures import COLOURS, DASHES, VARIANT_NAMES, Floats, blank, evenly, footnote
from pipeline.network.activations import BINS, Scale
from pipeline.params import Variant

FRAMES = 12  # of a long training: more would take longer to draw than all other figures
DPI = 150  # 1200 pixels wide: sharp at the 800 of a README, also where a pixel is two
FRAME_TIME, LAST_TIME = 1000, 3000  # milliseconds
GREYS_AND_COLOURS = 64
RARE = 5e-4  # bins with a smaller share of the values in every frame are beyond the axis
TICKS = (0, 1, 3, 10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Received:
    """What the activation functions of one layer receive in all networks of a variant.

    Attributes:
        counts: Histograms [seeds, epochs + 1, bins].
        saturated: Fractions of the values that saturate the activation function [seeds, epochs + 1].
        accuracy: The networks' validation accuracies, fractions [seeds, epochs + 1].
    """

    counts: NDArray[np.int64]
    saturated: Floats
    accuracy: Floats


def animate(
    received: Mapping[Variant, Received],
    scale: Scale,
    zones: Sequence[tuple[float, float]],
    words: tuple[str, str, str],
) -> bytes:
    """Draw both variants' distributions over all seeds, one frame per epoch, as a GIF; equal ones have equal bytes.

    Heights are densities on the axis that is drawn, asinh(value), so that equal areas hold equally many values.

    Args:
        received: The distributions, by variant.
        scale: The axis on which they are binned.
        zones: Where values saturate the activation function, which is shaded.
        words: The title, the label of the axis, and the line under the figure.
    """
    densities = {variant: _densities(one.counts, scale) for variant, one in received.items()}
    epochs = next(iter(densities.values())).shape[0] - 1
    figure, patches, labels, clock = _still(densities, scale, zones, words)
    canvas, frames = FigureCanvasAgg(figure), []
    for epoch in evenly(epochs, FRAMES):
        clock.set_text(f"epoch {epoch} of {epochs}" if epoch else "before training")
        for variant, heights in densities.items():
            patches[variant].set_data(heights[epoch])
            labels[variant].set_text(f"{VARIANT_NAMES[variant]}: {_state(received[variant], epoch)}")
        canvas.draw()  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")  # nothing may move after the first frame
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))  # type: ignore[no-untyped-call]
    palette = frames[-1].quantize(GREYS_AND_COLOURS, Image.Quantize.MAXCOVERAGE)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [FRAME_TIME] * len(others) + [LAST_TIME]
    content = io.BytesIO()
    first.save(content, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=False)
    return content.getvalue()


def _still(
    densities: Mapping[Variant, Floats],
    scale: Scale,
    zones: Sequence[tuple[float, float]],
    words: tuple[str, str, str],
) -> tuple[Figure, dict[Variant, StepPatch], dict[Variant, Text], Text]:
    """Draw what the frames have in common; return the figure and what changes: histograms, their labels, the epoch."""
    title, label, note = words
    figure, axes = blank(1, 1, width=8, height=4.5)
    figure.set_dpi(DPI)
    axis, edges = axes[0, 0], scale.edges()
    seen = np.flatnonzero(
        np.max([heights.max(axis=0) for heights in densities.values()], axis=0) * _width(scale) > RARE
    )
    reach = float(np.abs(edges[[seen.min(), seen.max() + 1]]).max()) if len(seen) else float(edges[-1])
    axis.set_xscale("asinh" if scale.asinh else "linear")
    axis.set_xlim(-reach if scale.asinh else scale.low, reach)
    if scale.asinh:
        ticks = sorted({sign * tick for tick in TICKS if tick <= reach for sign in (-1, 1)})
        axis.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
        axis.minorticks_off()
    axis.set_ylim(0, 1.3 * max(heights.max() for heights in densities.values()))
    left, right = axis.get_xlim()
    for low, high in zones:
        axis.axvspan(max(low, left), min(high, right), color="0.93", zorder=0, linewidth=0)
    patches = {}
    for variant, heights in densities.items():
        colour = COLOURS[variant]
        style = {"edgecolor": colour, "facecolor": (colour, 0.3), "linestyle": DASHES[variant], "linewidth": 2}
        patches[variant] = StepPatch(heights[0], edges, **style)
        axis.add_artist(patches[variant])
    legend = axis.legend(patches.values(), patches, loc="upper right", fontsize=11, frameon=False)
    labels = dict(zip(patches, legend.get_texts(), strict=True))
    axis.set_title(title, loc="left", fontsize=14)
    clock = axis.text(0.015, 0.955, "", transform=axis.transAxes, va="top", fontsize=13, weight="bold")
    axis.tick_params(labelsize=11)
    axis.set_xlabel(label, fontsize=11)
    axis.set_ylabel("density on this axis", fontsize=11)
    footnote(figure, note)
    return figure, patches, labels, clock


def _densities(counts: NDArray[np.int64], scale: Scale) -> Floats:
    """Return counts [seeds, epochs + 1, bins] as densities over all seeds [epochs + 1, bins], in bins of one width."""
    pooled = counts.sum(axis=0)
    densities: Floats = pooled / np.maximum(pooled.sum(axis=-1, keepdims=True), 1) / _width(scale)
    return densities


def _width(scale: Scale) -> float:
    return (scale.high - scale.low) / BINS


def _state(received: Received, epoch: int) -> str:
    """Say which part of the values is saturated and how accurate the networks are, both in the mean over seeds.

    Trainings that diverged, whose values are not a number, are left out.
    """
    kept = np.isfinite(received.saturated[:, epoch])
    if not kept.any():
        return "diverged"
    saturated, accuracy = (100 * values[kept, epoch].mean() for values in (received.saturated, received.accuracy))
    return f"{saturated:.1f} % saturated, accuracy {accuracy:.1f} %"
