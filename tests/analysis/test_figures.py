"""Figures draw the values that they are given."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.analysis import figures
from pipeline.params import ALL_VARIANTS, VARIANTS, Variant
from tests.analysis.drawing import BATCHNORM, PLAIN, Floats, legend, only, values


def drawn(axis: Axes, colour: str) -> list[Floats]:
    return [np.asarray(line.get_xydata()) for line in axis.lines if to_hex(str(line.get_color())) == colour]


def test_every_variant_has_a_name_and_one_of_okabe_and_itos_colours_and_its_lines_differ_without_it() -> None:
    assert (figures.COLOURS["plain"].lower(), figures.COLOURS["batchnorm"].lower()) == (PLAIN, BATCHNORM)
    palette = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(figures.COLOURS.values()) <= palette
    for table in (figures.COLOURS, figures.DASHES, figures.VARIANT_NAMES):
        assert tuple(table) == ALL_VARIANTS
        assert len(set(table.values())) == len(ALL_VARIANTS)


@pytest.mark.parametrize("first", [0, 1])
def test_curves_are_the_seeds_and_their_mean(first: int) -> None:
    given = values(3, 6)
    figure = figures.curves(given, first, "epoch", "accuracy (%)")
    axis = only(figure)
    assert len(axis.lines) == 2 * (3 + 1)
    for variant, colour in (("plain", PLAIN), ("batchnorm", BATCHNORM)):
        lines = drawn(axis, colour)
        array = given["plain" if variant == "plain" else "batchnorm"]
        for line in lines:
            np.testing.assert_array_equal(line[:, 0], range(first, first + 6))
        for line, expected in zip(lines, [*array, array.sum(0) / 3], strict=True):
            np.testing.assert_allclose(line[:, 1], expected, rtol=1e-12)
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("epoch", "accuracy (%)", "linear")
    assert legend(figure) == ["plain, mean of 3 seeds", "Batch Normalization, mean of 3 seeds"]
    np.testing.assert_array_equal(axis.get_xticks(), range(first, first + 6))


def test_curves_of_one_seed_are_that_seed() -> None:
    given = values(1, 4)
    figure = figures.curves(given, 1, "iteration", "loss (nats)", log=True)
    axis = only(figure)
    for colour, array in ((PLAIN, given["plain"]), (BATCHNORM, given["batchnorm"])):
        seed, mean = drawn(axis, colour)
        np.testing.assert_array_equal(seed, mean)
        np.testing.assert_array_equal(seed[:, 1], array[0])
    assert axis.get_yscale() == "log"
    assert legend(figure) == ["plain, mean of 1 seed", "Batch Normalization, mean of 1 seed"]


def test_many_steps_are_not_all_ticked() -> None:
    assert len(only(figures.curves(values(2, 150), 1, "iteration", "loss (nats)")).get_xticks()) < 20


def test_pairs_are_joined_over_their_seeds() -> None:
    given = values(3)
    figure = figures.paired(given, [4, 0, 9], "test accuracy (%)")
    axis = only(figure)
    joins, plain, batchnorm = axis.collections
    paths = joins.get_paths()
    for at, path in enumerate(paths):
        expected = [[at, given["plain"][at]], [at, given["batchnorm"][at]]]
        np.testing.assert_allclose(np.asarray(path.vertices), expected)
    assert len(paths) == 3
    for dots, array in ((plain, given["plain"]), (batchnorm, given["batchnorm"])):
        np.testing.assert_allclose(np.asarray(dots.get_offsets()), np.column_stack([range(3), array]))
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["4", "0", "9"]
    assert axis.get_ylabel() == "test accuracy (%)"
    means = [sum(array) / 3 for array in (given["plain"], given["batchnorm"])]
    assert legend(figure) == [f"plain, mean {means[0]:.2f}", f"Batch Normalization, mean {means[1]:.2f}"]


def test_digits_are_side_by_side_with_their_means() -> None:
    given = values(4, 10)
    figure = figures.per_digit(given, "test accuracy (%)")
    axis = only(figure)
    dots = [np.asarray(collection.get_offsets()) for collection in axis.collections]
    for (seeds, means), offset, array in zip(
        (dots[:2], dots[2:]), (-0.15, 0.15), (given["plain"], given["batchnorm"]), strict=True
    ):
        np.testing.assert_allclose(means, np.column_stack([np.arange(10) + offset, array.sum(0) / 4]))
        expected = [(digit + offset, array[seed, digit]) for seed in range(4) for digit in range(10)]
        np.testing.assert_allclose(seeds, expected)
    assert legend(figure) == ["plain, mean of seeds", "Batch Normalization, mean of seeds"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("class (MNIST: digit)", "test accuracy (%)")


def test_confusions_are_per_cent_of_the_true_class() -> None:
    random = np.random.default_rng(2)
    given: dict[Variant, Floats] = {variant: random.integers(1, 90, (10, 10)).astype(float) for variant in VARIANTS}
    given["plain"][3] = 0
    given["plain"][3, 5] = 4
    given["plain"][6] = 0
    figure = figures.confusions(given)
    assert [axis.get_title() for axis in figure.axes] == ["plain", "Batch Normalization"]
    for axis, matrix in zip(figure.axes, (given["plain"], given["batchnorm"]), strict=True):
        shown = np.asarray(axis.images[0].get_array())
        for true in range(10):
            total = sum(matrix[true])
            expected = [100 * count / total if total else 0 for count in matrix[true]]
            np.testing.assert_allclose(shown[true], expected)
        texts = {(round(x), round(y)): text.get_text() for text in axis.texts for x, y in [text.get_position()]}
        assert texts == {(p, t): f"{shown[t, p]:.1f}" for t in range(10) for p in range(10) if shown[t, p] >= 0.05}
        assert axis.get_xlabel() == "predicted class"
        assert axis.get_ylabel() == "true class (rows add up to 100 %)"


def test_a_png_is_what_matplotlib_saves() -> None:
    """It lays the figure out once, where `savefig` does so twice."""
    given = {variant: np.round(1000 * array) for variant, array in values(10, 10).items()}
    drawings: list[Callable[[], Figure]] = [
        lambda: figures.curves(values(3, 30), 1, "iteration", "loss", log=True),
        lambda: figures.confusions(given),
        lambda: figures.per_digit(values(3, 10), "accuracy (%)"),
    ]
    for draw in drawings:
        expected = io.BytesIO()
        draw().savefig(expected, format="png", dpi=60, metadata={"Software": None})
        assert figures.png(draw(), dpi=60) == expected.getvalue()


def test_a_figure_rendered_again_has_the_same_bytes() -> None:
    def render() -> bytes:
        return figures.png(figures.curves(values(2, 3), 0, "epoch", "accuracy (%)"), dpi=40)

    first = render()
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first == render()
    assert b"Software" not in first
    assert imread(io.BytesIO(first)).shape[:2] == (160, 256)


def test_other_values_give_another_image() -> None:
    one, other = (figures.curves(values(2, 3, low=low), 0, "epoch", "accuracy (%)") for low in (0.1, 0.5))
    assert figures.png(one, dpi=40) != figures.png(other, dpi=40)
