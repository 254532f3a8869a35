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
from pipeline.analysis.statistics import Interval
from pipeline.params import ALL_VARIANTS, VARIANTS, Variant
from tests.analysis.drawing import BATCHNORM, PLAIN, Floats, legend, only, values

NOTE = "MNIST, three seeds."
TITLES: dict[Variant, str] = {"plain": "plain, seed 1", "batchnorm": "Batch Normalization, seed 2"}


def note(figure: Figure) -> str:
    (text,) = (text for text in figure.texts if text.get_fontsize() == 7.5)
    return text.get_text().replace("\n", " ")


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
def test_curves_are_the_seeds_and_their_median(first: int) -> None:
    given = values(3, 6)
    figure = figures.curves(given, first, "epoch", "accuracy (%)", NOTE)
    axis = only(figure)
    assert len(axis.lines) == 2 * (3 + 1)
    for variant, colour in (("plain", PLAIN), ("batchnorm", BATCHNORM)):
        lines = drawn(axis, colour)
        array = given["plain" if variant == "plain" else "batchnorm"]
        for line in lines:
            np.testing.assert_array_equal(line[:, 0], range(first, first + 6))
        for line, expected in zip(lines, [*array, np.sort(array, axis=0)[1]], strict=True):
            np.testing.assert_allclose(line[:, 1], expected, rtol=1e-12)
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("epoch", "accuracy (%)", "linear")
    assert legend(figure) == ["plain, median of 3 seeds", "Batch Normalization, median of 3 seeds"]
    np.testing.assert_array_equal(axis.get_xticks(), range(first, first + 6))
    assert note(figure) == f"{NOTE} Faint: single seeds."


def test_a_curve_that_diverges_ends_in_a_cross_and_is_in_no_median() -> None:
    given = values(3, 6)
    given["plain"][1, 4:] = np.nan
    axis = only(figures.curves(given, 1, "iteration", "loss (nats)", NOTE, log=True))
    *seeds, middle, cross = drawn(axis, PLAIN)
    assert len(seeds) == 3
    np.testing.assert_allclose(cross, [[4, given["plain"][1, 3]]])
    np.testing.assert_allclose(middle[4:, 1], given["plain"][[0, 2], 4:].mean(axis=0))
    assert np.isnan(figures.median(np.full((2, 3), np.inf))).all()


def test_curves_of_one_seed_are_that_seed() -> None:
    given = values(1, 4)
    figure = figures.curves(given, 1, "iteration", "loss (nats)", NOTE, log=True)
    axis = only(figure)
    for colour, array in ((PLAIN, given["plain"]), (BATCHNORM, given["batchnorm"])):
        seed, mean = drawn(axis, colour)
        np.testing.assert_array_equal(seed, mean)
        np.testing.assert_array_equal(seed[:, 1], array[0])
    assert axis.get_yscale() == "log"
    assert legend(figure) == ["plain, median of 1 seed", "Batch Normalization, median of 1 seed"]


def test_many_steps_are_not_all_ticked() -> None:
    assert len(only(figures.curves(values(2, 150), 1, "iteration", "loss (nats)", NOTE)).get_xticks()) < 20


def test_pairs_are_sorted_joined_and_their_differences_have_an_interval() -> None:
    given: dict[Variant, Floats] = {"plain": np.array([0.3, 0.9, 0.1]), "batchnorm": np.array([0.8, 0.95, 0.9])}
    figure = figures.paired(given, [4, 0, 9], Interval(0.45, -0.1, 1.0), NOTE)
    errors, gains = figure.axes
    joins, plain, batchnorm = errors.collections
    expected = {"plain": [90, 70, 10], "batchnorm": [10, 20, 5]}  # of seeds 9, 4 and 0
    for at, path in enumerate(joins.get_paths()):
        ends = [[at, expected["plain"][at]], [at, expected["batchnorm"][at]]]
        np.testing.assert_allclose(np.asarray(path.vertices), ends)
    for dots, array in ((plain, expected["plain"]), (batchnorm, expected["batchnorm"])):
        np.testing.assert_allclose(np.asarray(dots.get_offsets()), np.column_stack([range(3), array]))
    for axis in (errors, gains):
        assert [tick.get_text() for tick in axis.get_xticklabels()] == ["9", "4", "0"]
    (dots,) = gains.collections
    np.testing.assert_allclose(np.asarray(dots.get_offsets())[:, 1], [80, 50, 5])
    (band,) = gains.patches
    assert band.get_extents().height > 0
    assert errors.get_yscale() == "log"
    assert legend(figure) == ["plain", "Batch Normalization"]
    assert note(figure) == NOTE


def test_a_training_that_diverged_is_a_cross_without_a_difference() -> None:
    given: dict[Variant, Floats] = {"plain": np.array([0.3, np.nan]), "batchnorm": np.array([0.8, 0.9])}
    figure = figures.paired(given, [0, 1], Interval(0.5, np.nan, np.nan), NOTE)
    errors, gains = figure.axes
    crosses = [line for line in errors.lines if line.get_marker() == "x" and len(np.asarray(line.get_xdata()))]
    assert [np.asarray(line.get_xydata()).tolist() for line in crosses] == [[[0, 100]]]
    offsets = np.ma.getdata(gains.collections[0].get_offsets())
    assert np.isnan(np.asarray(offsets, float)[0, 1]) or np.ma.is_masked(gains.collections[0].get_offsets())
    assert len(gains.patches) == 0
    assert figures.png(figure, dpi=30).startswith(b"\x89PNG")


def test_digits_are_side_by_side_with_their_medians() -> None:
    given = values(4, 10)
    given["plain"][3] = np.nan  # diverged
    given["batchnorm"][0, 0] = 1
    figure = figures.per_digit(given, NOTE)
    axis = only(figure)
    dots = [np.asarray(collection.get_offsets()) for collection in axis.collections]
    for (seeds, medians), offset, array in zip(
        (dots[:2], dots[2:]), (-0.15, 0.15), (given["plain"][:3], given["batchnorm"]), strict=True
    ):
        errors = np.maximum(100 - 100 * array, 0.05)
        np.testing.assert_allclose(medians, np.column_stack([np.arange(10) + offset, np.median(errors, axis=0)]))
        expected = [(digit + offset, errors[seed, digit]) for seed in range(len(array)) for digit in range(10)]
        np.testing.assert_allclose(seeds, expected)
    assert legend(figure) == ["plain, median of seeds", "Batch Normalization, median of seeds"]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == (
        "class (MNIST: digit)",
        "test error (%)",
        "log",
    )


@pytest.mark.parametrize(("low", "high", "labels"), [(5, 90, {"5", "10", "20", "50"}), (0.01, 90, {"0.1", "1", "10"})])
def test_a_logarithmic_axis_has_numbers_and_not_powers(low: float, high: float, labels: set[str]) -> None:
    figure = figures.curves({"plain": np.array([[low, high]])}, 1, "epoch", "error (%)", NOTE, log=True)
    figures.png(figure, dpi=30)
    shown = {tick.get_text() for tick in only(figure).get_yticklabels(which="both")}
    assert labels <= shown
    assert not any("10^" in text for text in shown)


def test_confusions_are_per_cent_of_the_true_class() -> None:
    random = np.random.default_rng(2)
    given: dict[Variant, Floats] = {variant: random.integers(1, 90, (10, 10)).astype(float) for variant in VARIANTS}
    given["plain"][3] = 0
    given["plain"][3, 5] = 4
    given["plain"][6] = 0
    figure = figures.confusions(given, TITLES, NOTE)
    assert [axis.get_title() for axis in figure.axes] == list(TITLES.values())
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
        lambda: figures.curves(values(3, 30), 1, "iteration", "loss", NOTE, log=True),
        lambda: figures.confusions(given, TITLES, NOTE),
        lambda: figures.per_digit(values(3, 10), NOTE),
    ]
    for draw in drawings:
        expected = io.BytesIO()
        draw().savefig(expected, format="png", dpi=60, metadata={"Software": None})
        assert figures.png(draw(), dpi=60) == expected.getvalue()


def test_a_figure_rendered_again_has_the_same_bytes() -> None:
    def render() -> bytes:
        return figures.png(figures.curves(values(2, 3), 0, "epoch", "accuracy (%)", NOTE), dpi=40)

    first = render()
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first == render()
    assert b"Software" not in first
    assert imread(io.BytesIO(first)).shape[:2] == (172, 256)


def test_an_svg_rendered_again_has_the_same_bytes_and_no_date() -> None:
    first, again = (figures.files(figures.curves(values(2, 3), 0, "a", "b", NOTE), "x") for _ in range(2))
    assert set(first) == {"x.png", "x.svg"}
    assert first == again
    assert b"<svg" in first["x.svg"]
    assert b"dc:date" not in first["x.svg"]


def test_other_values_give_another_image() -> None:
    one, other = (figures.curves(values(2, 3, low=low), 0, "epoch", "accuracy (%)", NOTE) for low in (0.1, 0.5))
    assert figures.png(one, dpi=40) != figures.png(other, dpi=40)
