"""The report of a sweep: its table and answer; its figure."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from pipeline.analysis import figures
from pipeline.analysis.statistics import Interval
from pipeline.errors import UserError
from pipeline.params import VARIANTS, Evaluate, Params, Variant
from pipeline.sweeps import panels
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.output import write_results
from pipeline.sweeps.report import Result, answer, best, compare_best, table
from tests.samples import PARAMS

SETTINGS = {"hidden": "5", "seeds": "0,1", "epochs": "1", "batch_size": "8", "device": "cpu", "threads": "1"}
SPANS = {"train.lr": ["0.01", "0.1"], "model.hidden": ["[4]", "[5, 3]"]}

Make = Callable[..., Params]


def test_what_is_written_is_the_table_the_answer_and_a_picture(params: Make, tmp_path: Path) -> None:
    swept = results([0.5, 0.7], [0.6, 0.8], keys={"model.hidden": ["[5, 4]", "[6]"]})
    settings = params(holdout="10")
    write_results(swept, settings, tmp_path / "results")
    header, rows = table(swept, settings.evaluate)
    text = (tmp_path / "results" / "table.csv").read_text(encoding="utf-8")
    assert list(csv.reader(io.StringIO(text))) == [header, *rows]
    written = (tmp_path / "results" / "answer.md").read_text(encoding="utf-8")
    assert written == answer(swept, settings.evaluate, 10)
    assert (tmp_path / "results" / "accuracy.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_a_sweep_without_results_is_one_line(params: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the sweep has no results$"):
        write_results([], params(), tmp_path / "results")
    assert not (tmp_path / "results").exists()


# The table and the words


def made_outcome(
    validation: Sequence[float], test: Sequence[float], diverged_at: Sequence[float] | None = None
) -> Outcome:
    """An outcome with these final accuracies; those before training are 1, so that a test fails if they are used."""
    final = np.array(validation, float)
    curve = np.stack([np.ones_like(final), final], axis=1)
    at = np.array(diverged_at or [0] * len(final), float)
    return Outcome(np.zeros((len(final), 1)), curve, curve, final, np.array(test, float), at)


def results(
    plain: Sequence[float],
    batchnorm: Sequence[float],
    keys: Mapping[str, Sequence[str]] | None = None,
    plain_test: Sequence[float] | None = None,
    batchnorm_test: Sequence[float] | None = None,
    spread: float = 0.1,
) -> list[Result]:
    """Results of a grid with one key and two seeds: the first has the given accuracy, the second `spread` more."""
    ((key, texts),) = (keys or {"train.lr": [str(at + 1) for at in range(len(plain))]}).items()
    made: list[Result] = []
    accuracies: dict[Variant, tuple[Sequence[float], Sequence[float]]] = {
        "plain": (plain, plain_test or plain),
        "batchnorm": (batchnorm, batchnorm_test or batchnorm),
    }
    for at, point in enumerate(list_points(PARAMS, {"seeds": "0,1"}, {key: texts})):
        pairs = {v: [[values[at], values[at] + spread] for values in accuracies[v]] for v in VARIANTS}
        made.append(Result(point, {v: made_outcome(*pairs[v]) for v in VARIANTS}))
    return made


@pytest.fixture
def settings(params: Make) -> Evaluate:
    return params().evaluate


def test_the_table_is_means_intervals_and_differences(settings: Evaluate) -> None:
    plain, batchnorm = np.array([[0.5, 0.6, 0.7], [0.1, 0.2, 0.1]]), np.array([[0.9, 0.8, 0.9], [0.1, 0.3, 0.5]])
    points = list_points(PARAMS, {}, {"lr": ["0.01", "1"]})
    swept = [
        Result(point, {"plain": made_outcome(p, p), "batchnorm": made_outcome(b, b)})
        for point, p, b in zip(points, plain, batchnorm, strict=True)
    ]
    header, rows = table(swept, settings)
    columns = dict(zip(header, np.array(rows).T, strict=True))
    assert header == [
        "train.lr",
        *("plain_accuracy", "plain_low", "plain_high", "plain_diverged"),
        *("batchnorm_accuracy", "batchnorm_low", "batchnorm_high", "batchnorm_diverged"),
        *("difference", "difference_low", "difference_high", "pairs"),
    ]
    assert list(columns["train.lr"]) == ["0.01", "1"]
    for name, values in (("plain", plain), ("batchnorm", batchnorm)):
        assert list(columns[f"{name}_accuracy"]) == [f"{mean:.4f}" for mean in values.mean(1)]
        # A resample of three values is three times the least with probability 1/27, more than the 2.5 % cut off.
        assert list(columns[f"{name}_low"]) == [f"{low:.4f}" for low in values.min(1)]
        assert list(columns[f"{name}_high"]) == [f"{high:.4f}" for high in values.max(1)]
        assert list(columns[f"{name}_diverged"]) == ["0", "0"]
    differences = batchnorm - plain
    assert list(columns["difference"]) == [f"{mean:.4f}" for mean in differences.mean(1)]
    assert list(columns["difference_low"]) == [f"{low:.4f}" for low in differences.min(1)]
    assert list(columns["difference_high"]) == [f"{high:.4f}" for high in differences.max(1)]
    assert list(columns["pairs"]) == ["3", "3"]


def test_the_interval_is_of_the_confidence_that_is_asked_for(params: Make) -> None:
    # Of two values, half of the resamples have the mean: an interval of 40 % is that alone.
    (swept,) = results([0.2], [0.6])
    wide, narrow = (swept.mean("plain", params(confidence=text).evaluate) for text in ("0.95", "0.4"))
    assert (wide.low, wide.value, wide.high) == pytest.approx((0.2, 0.25, 0.3))
    assert (narrow.low, narrow.high) == pytest.approx((0.25, 0.25))
    assert swept.difference(params().evaluate).difference.value == pytest.approx(0.4)


def test_a_row_of_several_keys_has_them_first(settings: Evaluate) -> None:
    points = list_points(PARAMS, {}, SPANS)
    both = {variant: made_outcome([0.5, 0.5], [0.5, 0.5]) for variant in VARIANTS}
    header, rows = table([Result(point, both) for point in points], settings)
    assert header[:2] == ["train.lr", "model.hidden"]
    assert [row[:2] for row in rows] == [["0.01", "[4]"], ["0.01", "[5, 3]"], ["0.1", "[4]"], ["0.1", "[5, 3]"]]


def test_divergences_are_counted(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {}, {"lr": ["1"]})
    three = [0.5, 0.6, 0.7]
    made = {"plain": made_outcome(three, three, [0, 3, 1]), "batchnorm": made_outcome(three, three)}
    header, (row,) = table([Result(point, {v: made[v] for v in VARIANTS})], settings)
    assert (row[header.index("plain_diverged")], row[header.index("batchnorm_diverged")]) == ("2", "0")


def test_a_single_seed_has_no_interval(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {}, {"lr": ["1"]})
    swept = [Result(point, {"plain": made_outcome([0.5], [0.4]), "batchnorm": made_outcome([0.75], [0.6])})]
    header, (row,) = table(swept, settings)
    cells = dict(zip(header, row, strict=True))
    assert (cells["plain_accuracy"], cells["plain_low"], cells["plain_high"]) == ("0.5000", "", "")
    assert (cells["difference"], cells["difference_low"], cells["pairs"]) == ("0.2500", "", "1")
    words = answer(swept, settings, holdout=10)
    assert "- plain: train.lr = 1; test accuracy 0.4000.\n" in words
    assert "nan" not in words


def test_the_best_is_chosen_on_validation_not_on_test(settings: Evaluate) -> None:
    swept = results([0.5, 0.7, 0.6], [0.8, 0.6, 0.7], plain_test=[0.9, 0.1, 0.5], batchnorm_test=[0.3, 0.9, 0.4])
    assert best(swept, "plain") is swept[1]
    assert best(swept, "batchnorm") is swept[0]
    chosen: dict[Variant, Result] = {variant: best(swept, variant) for variant in VARIANTS}
    compared = compare_best(chosen, settings)
    assert compared.difference.value == pytest.approx(0.3 - 0.1)
    assert (compared.control_mean, compared.treatment_mean) == pytest.approx((0.15, 0.35))


def test_of_equals_the_first_is_best() -> None:
    swept = results([0.5, 0.7, 0.7, 0.6], [0.8, 0.8, 0.1, 0.8])
    assert best(swept, "plain") is swept[1]
    assert best(swept, "batchnorm") is swept[0]


def test_the_answer_in_words(settings: Evaluate) -> None:
    swept = results([0.5, 0.7], [0.8, 0.6], plain_test=[0.9, 0.1], batchnorm_test=[0.3, 0.9])
    lines = answer(swept, settings, holdout=10_000).split("\n")
    assert lines[0] == (
        "Accuracy on 10000 held-out training images after the last epoch, means over seeds with 95 % bootstrap "
        "intervals; differences are Batch Normalization minus plain, pair by pair."
    )
    header, rows = table(swept, settings)
    assert [line.strip("| ").split(" | ") for line in (lines[2], *lines[4:6])] == [header, *rows]
    assert lines[3] == "|" + " --- |" * len(header)
    assert lines[7:] == [
        "The best point of each variant was chosen on the held-out images, then evaluated once on the test images:",
        "",
        "- plain: train.lr = 2; test accuracy 0.1500 [0.1000, 0.2000].",
        "- Batch Normalization: train.lr = 1; test accuracy 0.3500 [0.3000, 0.4000].",
        "",
        "Difference at the two best points, over 2 pairs: 0.2000 [0.2000, 0.2000].",
        "",
    ]


def test_no_difference_is_shown_when_the_interval_includes_zero(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {}, {"lr": ["1"]})

    def words(batchnorm: list[float]) -> str:
        both = {"plain": made_outcome([0.5, 0.5], [0.5, 0.5]), "batchnorm": made_outcome([0.5, 0.5], batchnorm)}
        return answer([Result(point, {v: both[v] for v in VARIANTS})], settings, holdout=10)

    assert words([0.4, 0.7]).endswith("2 pairs: 0.0500 [-0.1000, 0.2000]. No difference is shown.\n")
    assert words([0.5, 0.7]).endswith("2 pairs: 0.1000 [0.0000, 0.2000]. No difference is shown.\n")
    assert words([0.6, 0.7]).endswith("2 pairs: 0.1500 [0.1000, 0.2000].\n")
    assert words([0.3, 0.4]).endswith("2 pairs: -0.1500 [-0.2000, -0.1000].\n")


def test_without_held_out_images_no_best_is_chosen(settings: Evaluate) -> None:
    words = answer(results([0.5, 0.7], [0.8, 0.6]), settings, holdout=0)
    assert words.startswith("Accuracy on the test images after the last epoch, ")
    assert words.endswith(
        "No best point is chosen: the accuracies are the test images', and choosing needs held-out training images "
        "(data.holdout above 0).\n"
    )
    assert "chosen on" not in words
    assert "test accuracy" not in words


# The figure

COLOURS: dict[Variant, str] = {"plain": "#d55e00", "batchnorm": "#0072b2"}


def lines(count: int) -> dict[Variant, list[Interval]]:
    random = np.random.default_rng(0)
    return {v: [Interval(m, m - 0.05, m + 0.1) for m in random.uniform(0.2, 0.8, count)] for v in VARIANTS}


def drawn(axis: Axes, variant: Variant) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    (line,) = (line for line in axis.lines if to_hex(str(line.get_color())) == COLOURS[variant])
    return np.asarray(line.get_xydata(), float)


def test_lines_and_bands_are_the_values_in_per_cent() -> None:
    means = lines(3)
    points = [{"train.lr": text} for text in ("0.1", "0.2", "0.4")]
    figure = panels.sweep(points, means, "held-out accuracy (%)")
    (axis,) = figure.axes
    for variant, band in zip(VARIANTS, axis.collections, strict=True):
        expected = [[x, 100 * interval.value] for x, interval in zip((0.1, 0.2, 0.4), means[variant], strict=True)]
        np.testing.assert_allclose(drawn(axis, variant), expected)
        corners = np.asarray(band.get_paths()[0].vertices)
        for x, interval in zip((0.1, 0.2, 0.4), means[variant], strict=True):
            heights = corners[np.isclose(corners[:, 0], x), 1]
            assert (heights.min(), heights.max()) == pytest.approx((100 * interval.low, 100 * interval.high))
        assert to_hex(np.asarray(band.get_facecolor())[0][:3]) == COLOURS[variant]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("train.lr", "held-out accuracy (%)", "")
    assert axis.get_ylim() == (0, 100)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plain", "Batch Normalization"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["0.001", "0.1"], "log"),
        (["60", "2000"], "log"),
        (["1", "11"], "log"),
        (["1", "10"], "linear"),
        (["1", "9.9"], "linear"),
        (["0", "0.5", "0.9"], "linear"),
        (["0", "1000"], "linear"),
        (["5"], "linear"),
    ],
)
def test_the_axis_is_logarithmic_where_values_span_more_than_ten(texts: list[str], expected: str) -> None:
    figure = panels.sweep([{"k": text} for text in texts], lines(len(texts)), "accuracy (%)")
    (axis,) = figure.axes
    assert axis.get_xscale() == expected
    np.testing.assert_allclose(drawn(axis, "plain")[:, 0], [float(text) for text in texts])


@pytest.mark.parametrize("texts", [["sigmoid", "tanh", "relu"], ["[100]", "[100, 100]"], ["1", "auto"]])
def test_words_are_categories_in_their_order(texts: list[str]) -> None:
    (axis,) = panels.sweep([{"k": text} for text in texts], lines(len(texts)), "accuracy (%)").axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == texts
    np.testing.assert_array_equal(axis.get_xticks(), range(len(texts)))
    np.testing.assert_array_equal(drawn(axis, "batchnorm")[:, 0], range(len(texts)))
    assert axis.get_xscale() == "linear"


def test_other_keys_have_a_panel_for_each_of_their_choices() -> None:
    points = [
        {"train.lr": lr, "model.activation": activation, "train.epochs": epochs}
        for lr in ("0.1", "0.2", "0.3")
        for activation in ("relu", "tanh")
        for epochs in ("1", "2")
    ]
    means = lines(len(points))
    figure = panels.sweep(points, means, "accuracy (%)")
    assert [axis.get_title() for axis in figure.axes] == [
        f"model.activation = {activation}, train.epochs = {epochs}"
        for activation in ("relu", "tanh")
        for epochs in "12"
    ]
    for at, axis in enumerate(figure.axes):
        for variant in VARIANTS:
            expected = [100 * interval.value for interval in means[variant][at::4]]
            np.testing.assert_allclose(drawn(axis, variant), np.column_stack([[0.1, 0.2, 0.3], expected]))
    assert len(figure.legends) == 1


@pytest.mark.parametrize(
    ("count", "grid", "title"),
    [
        (1, (1, 1), ""),
        (42, (14, 3), ""),
        (43, (11, 4), ""),
        (60, (12, 5), ""),
        (61, (12, 5), "the first 60 of 61 panels"),
        (225, (12, 5), "the first 60 of 225 panels"),
    ],
)
def test_many_panels_stay_a_picture_that_opens(count: int, grid: tuple[int, int], title: str) -> None:
    figure = panels.draw([panels.Panel(str(at), [panels.Line("a", [0, 1], [at, 0])], "x", "y") for at in range(count)])
    assert [axis.get_title() for axis in figure.axes] == [str(at) for at in range(min(count, 60))]
    rows, columns = grid
    assert figure.get_size_inches().tolist() == pytest.approx([max(6.4, 4.2 * columns), 0.6 + 3.4 * rows])
    assert figure.get_size_inches()[1] * 200 < 10_000
    assert figure.legends[0].get_title().get_text() == title


def test_points_without_intervals_are_drawn() -> None:
    alone: dict[Variant, list[Interval]] = {v: [Interval(0.5, np.nan, np.nan)] * 2 for v in VARIANTS}
    figure = panels.sweep([{"lr": "1"}, {"lr": "2"}], alone, "accuracy (%)")
    np.testing.assert_array_equal(drawn(figure.axes[0], "plain"), [[1, 50], [2, 50]])
    assert figures.png(figure, dpi=40).startswith(b"\x89PNG")
