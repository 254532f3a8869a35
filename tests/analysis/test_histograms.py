"""Figures of distributions draw the values that they are given."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle, StepPatch
from numpy.typing import NDArray

from pipeline.analysis import histograms
from pipeline.analysis.figures import TENSORS
from pipeline.network.activations import BINS, SATURATED_INPUT, SATURATED_OUTPUT, Scale, scale
from pipeline.params import VARIANTS, Variant
from tests.analysis.drawing import BATCHNORM, PLAIN, Floats, legend, only, values

NOTE = "MNIST, three seeds."
BENT, FLAT = Scale(-10, 10, asinh=True), Scale(0, 1, asinh=False)


def counts(seeds: int = 3, layers: int = 2) -> dict[Variant, dict[str, NDArray[np.int64]]]:
    random = np.random.default_rng(1)
    kinds: Mapping[Variant, list[str]] = {
        "plain": ["pre_activation", "activation"],
        "batchnorm": ["pre_activation", "activation", "normalised"],
    }
    return {
        variant: {
            f"layer{layer}.{kind}": random.integers(0, 50, (seeds, 100))
            for layer in range(1, layers + 1)
            for kind in kinds[variant]
        }
        for variant in VARIANTS
    }


def scales(layers: int = 2) -> dict[str, Scale]:
    kinds = {"pre_activation": BENT, "activation": FLAT, "normalised": BENT}
    return {f"layer{layer}.{kind}": scale for layer in range(1, layers + 1) for kind, scale in kinds.items()}


def stairs(axis: Axes, colour: str) -> list[StepPatch]:
    return [patch for patch in axis.patches if isinstance(patch, StepPatch) and to_hex(patch.get_edgecolor()) == colour]


def steps(patch: StepPatch) -> tuple[Floats, Floats]:
    heights, edges, _ = patch.get_data()
    return heights, edges


def test_histograms_are_densities_on_their_edges() -> None:
    given = counts()
    figure = histograms.by_layer(given, scales(), {}, NOTE)
    assert len(figure.axes) == 6
    places = [(layer, kind) for layer in (1, 2) for kind in TENSORS]
    for axis, (layer, kind) in zip(figure.axes, places, strict=True):
        name = f"layer{layer}.{kind}"
        assert axis.get_title() == f"hidden layer {layer}: {TENSORS[kind]}"
        for variant, colour in (("plain", PLAIN), ("batchnorm", BATCHNORM)):
            patches = stairs(axis, colour)
            by_tensor = given["plain" if variant == "plain" else "batchnorm"]
            if name not in by_tensor:
                assert (variant, kind) == ("plain", "normalised")
                assert patches == []
                continue
            widths = np.diff(scales()[name].edges())
            densities = by_tensor[name] / by_tensor[name].sum(axis=1, keepdims=True) / widths
            for patch, expected in zip(patches, [*densities, densities.mean(axis=0)], strict=True):
                heights, edges = steps(patch)
                np.testing.assert_allclose(heights, expected, rtol=1e-12)
                np.testing.assert_array_equal(edges, scales()[name].edges())
                assert sum(heights * widths) == pytest.approx(1)
    assert sorted(legend(figure)) == ["Batch Normalization", "plain"]


def test_histograms_have_labels_with_units_and_the_axis_of_their_scale() -> None:
    figure = histograms.by_layer(counts(), scales(), {}, NOTE)
    below, left = figure.axes[3:], figure.axes[::3]
    assert [axis.get_xlabel() for axis in below] == [f"{name} (no unit)" for name in TENSORS.values()]
    assert {axis.get_ylabel() for axis in left} == {"density (1 / unit of the value)"}
    assert [axis.get_xscale() for axis in figure.axes[:3]] == ["asinh", "linear", "asinh"]
    assert figure.axes[1].get_xlim() == (0, 1)
    assert {axis.get_yscale() for axis in figure.axes} == {"log"}


def test_layers_are_in_the_order_of_their_numbers() -> None:
    figure = histograms.by_layer(counts(seeds=1, layers=11), scales(layers=11), {}, NOTE)
    titles = [axis.get_title() for axis in figure.axes[::3]]
    assert titles == [f"hidden layer {layer}: pre-activation" for layer in range(1, 12)]


def test_a_seed_without_values_is_flat() -> None:
    given = counts(seeds=2, layers=1)
    given["plain"]["layer1.activation"][0] = 0
    flat, *_ = stairs(histograms.by_layer(given, scales(), {}, NOTE).axes[1], PLAIN)
    assert set(steps(flat)[0]) == {0}


def test_a_normal_distribution_has_one_hump() -> None:
    axis = scale("layer1.pre_activation", "sigmoid")
    sample = np.random.default_rng(0).normal(0, 14.8, 1_000_000)
    counted, _ = np.histogram(sample, axis.edges())
    one: dict[Variant, dict[str, NDArray[np.int64]]] = {"plain": {"layer1.pre_activation": counted[None]}}
    figure = histograms.by_layer(one, {"layer1.pre_activation": axis}, {}, NOTE)
    heights, edges = steps(stairs(figure.axes[0], PLAIN)[-1])
    middle = heights[len(heights) // 2 - 1 : len(heights) // 2 + 1].mean()
    smooth = np.convolve(heights, np.ones(9) / 9, "same")
    assert smooth.max() == pytest.approx(middle, rel=0.15)
    assert middle == pytest.approx(1 / (14.8 * np.sqrt(2 * np.pi)), rel=0.2)
    assert edges[0] < -1000


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("tensor", ["layer1.pre_activation", "layer1.activation"])
def test_shaded_values_are_those_that_count_as_saturated(activation: str, tensor: str) -> None:
    if (activation, tensor) == ("relu", "layer1.activation"):
        assert histograms.saturated_zones(tensor, activation) == []  # a single value, 0
        return
    rules = SATURATED_OUTPUT if tensor.endswith(".activation") else SATURATED_INPUT
    ends = {"sigmoid": (0, 1), "tanh": (-1, 1)}
    low, high = ends[activation] if tensor.endswith(".activation") else (-10, 10)
    values = np.linspace(low, high, 1000)  # none on a limit
    expected = rules[activation](torch.from_numpy(values)).numpy()
    zones = histograms.saturated_zones(tensor, activation)
    np.testing.assert_array_equal(expected, [any(a <= value <= b for a, b in zones) for value in values])


def test_saturated_zones_are_shaded_within_the_axis() -> None:
    zones = {"layer1.pre_activation": [(-np.inf, -4.6), (4.6, np.inf)]}
    axis = histograms.by_layer(counts(layers=1), scales(layers=1), zones, NOTE).axes[0]
    shaded = [patch for patch in axis.patches if not isinstance(patch, StepPatch)]
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in shaded if isinstance(patch, Rectangle)]
    np.testing.assert_allclose(spans, [(-1000, -4.6), (4.6, 1000)])


def test_the_labs_view_counts_the_units() -> None:
    given = values(2, 30, low=-5)
    figure = histograms.lab_view(given, layer=1, digit=7, note=NOTE)
    axis = only(figure)
    everything = np.concatenate([given["plain"].ravel(), given["batchnorm"].ravel()])
    edges = np.linspace(everything.min(), everything.max(), 41)
    assert len(axis.containers) == 2
    for container, array in zip(axis.containers, (given["plain"], given["batchnorm"]), strict=True):
        expected, _ = np.histogram(array, bins=edges)
        np.testing.assert_array_equal([bar.get_height() for bar in container], expected)
        np.testing.assert_allclose([bar.get_x() for bar in container], edges[:-1], atol=1e-12)
    assert legend(figure) == ["plain: 2 seed(s) × 30 units", "Batch Normalization: 2 seed(s) × 30 units"]
    assert axis.get_ylabel() == "number of units"
    assert axis.get_xlabel() == "pre-activation of hidden layer 1, test image 7 (no unit)"


def test_the_labs_view_leaves_out_values_that_are_not_finite() -> None:
    given: dict[Variant, Floats] = {
        "plain": np.array([[np.nan, 1.0, np.inf], [2.0, -np.inf, 1.5]]),
        "batchnorm": np.array([[1.0, 3.0, 2.0], [np.nan, np.nan, np.nan]]),
    }
    figure = histograms.lab_view(given, layer=2, digit=0, note=NOTE)
    axis = only(figure)
    edges = np.linspace(1, 3, 41)
    for container, finite in zip(axis.containers, ([1.0, 2.0, 1.5], [1.0, 3.0, 2.0]), strict=True):
        expected, _ = np.histogram(finite, bins=edges)
        np.testing.assert_array_equal([bar.get_height() for bar in container], expected)
    assert legend(figure) == ["plain: 2 seed(s) × 3 units", "Batch Normalization: 2 seed(s) × 3 units"]


def test_the_labs_view_can_be_drawn_when_every_training_diverged() -> None:
    nothing = np.full((2, 3), np.nan)
    axis = only(histograms.lab_view({"plain": nothing, "batchnorm": nothing}, layer=2, digit=0, note=NOTE))
    assert [bar.get_height() for container in axis.containers for bar in container] == [0] * 80


def test_frames_show_the_epochs_in_one_size() -> None:
    counts = np.random.default_rng(0).integers(1, 50, (3, 4, BINS))
    counts[:, 2] = counts[:, 1]
    axis = scale("layer1.activation", "sigmoid")
    pictures = list(histograms.frames("plain", "layer1.activation", counts, axis, range(4)))
    assert [picture.shape for picture in pictures] == [(768, 1024, 3)] * 4
    plot = [picture[110:] for picture in pictures]  # below the title, which names the epoch
    assert np.array_equal(plot[1], plot[2])
    assert not np.array_equal(plot[0], plot[1])
    assert not np.array_equal(pictures[1], pictures[2])
    alone = next(histograms.frames("plain", "layer1.activation", counts, axis, [3]))
    assert np.array_equal(alone, pictures[3])


def test_frames_of_both_variants_show_the_epochs() -> None:
    random = np.random.default_rng(0)
    names = ("layer1.activation", "layer1.pre_activation")
    variants: tuple[Variant, ...] = ("plain", "batchnorm")
    counts = {v: {name: random.integers(1, 50, (3, 3, BINS)) for name in names} for v in variants}
    scales = {name: scale(name, "sigmoid") for name in names}
    pictures = list(histograms.frames_by_layer(counts, scales, {}, [0, 2], NOTE))
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].shape[1] > 1000
    only_last = {v: {name: array[:, 2:] for name, array in by.items()} for v, by in counts.items()}
    (last,) = histograms.frames_by_layer(only_last, scales, {}, [0], NOTE)
    assert np.array_equal(pictures[1][60:], last[60:]), "below the title, which names the epoch"
    assert not np.array_equal(pictures[0][60:], last[60:])


@pytest.fixture
def empty_frame(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cache of empty frames for one test."""
    fresh = functools.cache(histograms._empty_frame.__wrapped__)
    monkeypatch.setattr(histograms, "_empty_frame", fresh)
    return fresh


@pytest.mark.parametrize("tensor", ["layer1.activation", "layer1.pre_activation"])
def test_a_frame_is_what_matplotlib_draws(tensor: str, empty_frame: Any) -> None:
    counts, axis = np.random.default_rng(0).integers(0, 50, (3, 2, BINS)), scale(tensor, "sigmoid")
    list(histograms.frames("plain", tensor, counts[:, ::-1], axis, [0, 1]))  # which leaves nothing
    frame = next(histograms.frames("batchnorm", tensor, counts, axis, [1]))
    canvas, axes, *_ = empty_frame(axis)
    for spine in axes.spines.values():
        spine.set_animated(False)
    canvas.draw()
    assert np.array_equal(frame, np.asarray(canvas.buffer_rgba())[..., :3])


@pytest.mark.usefixtures("empty_frame")
def test_frames_share_what_is_slow_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Axis] = []
    draw = Axis.draw

    def note(axis: Axis, renderer: RendererBase) -> None:
        drawn.append(axis)
        draw(axis, renderer)

    monkeypatch.setattr(Axis, "draw", note)
    counts = np.random.default_rng(0).integers(0, 50, (3, 4, BINS))
    for tensor in ("layer1.pre_activation", "layer1.activation", "layer2.pre_activation", "layer2.activation"):
        assert len(list(histograms.frames("plain", tensor, counts, scale(tensor, "sigmoid"), range(4)))) == 4
    assert len(drawn) == 4  # the x and y axis of either scale
