"""The report of a sweep: its table and answer; its figure."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from scipy import stats

from pipeline.analysis import figures
from pipeline.analysis.statistics import Interval, Summary, for_new_images
from pipeline.analysis.tables import format_interval, latex_table
from pipeline.analysis.verdicts import rule
from pipeline.errors import UserError
from pipeline.files import to_csv
from pipeline.params import VARIANTS, Evaluate, Params, Variant
from pipeline.sweeps import panels
from pipeline.sweeps.best import best_table, place_of
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.judge import judge_best
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.output import write_results
from pipeline.sweeps.report import answer, compact_table, seeds_table, table
from pipeline.sweeps.result import Result, best, compare_best
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
    verdicts, pairs = judge_best(swept, settings.evaluate, None)
    assert written == answer(swept, settings.evaluate, 10, verdicts)
    with (tmp_path / "results" / "pairs.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [pairs[0], *pairs[1]]
    assert (tmp_path / "results" / "accuracy.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    header, rows = compact_table(swept, settings.evaluate)
    assert (tmp_path / "results" / "table.tex").read_text(encoding="utf-8") == latex_table(header, rows)
    assert len(list((tmp_path / "results").iterdir())) == 7


def test_the_compact_table_has_medians_and_failures(params: Make) -> None:
    header, rows = compact_table(results([0.5], [0.92], spread=0.02), params().evaluate)
    assert header == ["lr", "plain", "failed", "Batch Normalization", "failed", "difference"]
    assert rows == [["1", "0.5100", "2/2", "0.9300", "0/2", "+0.4200 [+0.4200, +0.4200]"]]


def test_a_sweep_without_results_is_one_line(params: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the sweep has no results$"):
        write_results([], params(), tmp_path / "results")
    assert not (tmp_path / "results").exists()


# The table and the words


def made_outcome(
    validation: Sequence[float] | NDArray[np.float64],
    test: Sequence[float] | NDArray[np.float64],
    diverged_at: Sequence[float] | None = None,
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


def test_the_table_is_means_intervals_quartiles_and_differences(settings: Evaluate) -> None:
    plain, batchnorm = np.array([[0.5, 0.6, 0.7], [0.1, 0.2, 0.1]]), np.array([[0.9, 0.8, 0.9], [0.1, 0.3, 0.5]])
    points = list_points(PARAMS, {}, {"lr": ["0.01", "1"]})
    swept = [
        Result(point, {"plain": made_outcome(p, p), "batchnorm": made_outcome(b, b)})
        for point, p, b in zip(points, plain, batchnorm, strict=True)
    ]
    header, rows = table(swept, settings)
    columns = dict(zip(header, np.array(rows).T, strict=True))
    names = ("n", "failed", "diverged", "accuracy", "low", "high", "median", "lower_quartile", "upper_quartile")
    assert header == [
        "train.lr",
        *(f"plain_{name}" for name in names),
        *(f"batchnorm_{name}" for name in names),
        *("difference", "difference_low", "difference_high", "pairs", "p_sign_flip"),
    ]
    assert list(columns["train.lr"]) == ["0.01", "1"]

    def check(name: str, values: NDArray[np.float64], mean: str) -> None:
        half = stats.t.ppf(0.975, 2) * values.std(axis=1, ddof=1) / np.sqrt(3)
        expected = (values.mean(axis=1), values.mean(axis=1) - half, values.mean(axis=1) + half)
        for column, numbers in zip((mean, "low", "high"), expected, strict=True):
            assert list(columns[f"{name}_{column}".strip("_")]) == [f"{number:.4f}" for number in numbers]

    for name, values in (("plain", plain), ("batchnorm", batchnorm)):
        check(name, values, "accuracy")
        assert list(columns[f"{name}_n"]) == ["3", "3"]
        assert list(columns[f"{name}_diverged"]) == ["0", "0"]
        for column, share in (("lower_quartile", 0.25), ("median", 0.5), ("upper_quartile", 0.75)):
            expected = np.quantile(values, share, axis=1)
            assert list(columns[f"{name}_{column}"]) == [f"{number:.4f}" for number in expected]
    assert list(columns["plain_failed"]) == ["3", "3"]
    assert list(columns["batchnorm_failed"]) == ["1", "3"]
    check("difference", batchnorm - plain, "")
    assert list(columns["pairs"]) == ["3", "3"]
    assert list(columns["p_sign_flip"]) == ["0.25", "0.5"]


def test_the_interval_is_of_the_confidence_that_is_asked_for(params: Make) -> None:
    (swept,) = results([0.2], [0.6])  # and 0.3: Student's t with one degree of freedom
    for confidence, quantile in (("0.95", 12.706205), ("0.5", 1.0)):
        mean = swept.summary("plain", params(confidence=confidence).evaluate).mean
        assert (mean.value, mean.high - mean.value) == pytest.approx((0.25, quantile * 0.05))
    assert swept.differences(params().evaluate)["batchnorm"].difference.value == pytest.approx(0.4)


def test_a_row_of_several_keys_has_them_first(settings: Evaluate) -> None:
    points = list_points(PARAMS, {}, SPANS)
    both = {variant: made_outcome([0.5, 0.5], [0.5, 0.5]) for variant in VARIANTS}
    header, rows = table([Result(point, both) for point in points], settings)
    assert header[:2] == ["train.lr", "model.hidden"]
    assert [row[:2] for row in rows] == [["0.01", "[4]"], ["0.01", "[5, 3]"], ["0.1", "[4]"], ["0.1", "[5, 3]"]]


def test_trainings_that_diverged_are_counted_and_have_no_accuracy(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {}, {"lr": ["1"]})
    three = [0.95, 0.96, 0.97]
    made = {"plain": made_outcome(three, three, [0, 3, 1]), "batchnorm": made_outcome(three, three)}
    swept = [Result(point, {v: made[v] for v in VARIANTS})]
    header, (row,) = table(swept, settings)
    cells = dict(zip(header, row, strict=True))
    assert (cells["plain_diverged"], cells["plain_failed"], cells["plain_n"]) == ("2", "2", "3")
    assert (cells["batchnorm_diverged"], cells["batchnorm_failed"]) == ("0", "0")
    assert (cells["plain_accuracy"], cells["plain_low"], cells["plain_median"]) == ("0.9500", "", "0.9500")
    assert (cells["difference"], cells["pairs"]) == ("0.0000", "1")
    assert "2/3 [0.09, 0.99], 2 diverged" in answer(swept, settings, holdout=0)


def test_where_all_diverged_there_is_no_difference_and_no_verdict(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {"seeds": "0,1"}, {"lr": ["1"]})
    made = {"plain": made_outcome([0.5, 0.5], [0.5, 0.5]), "batchnorm": made_outcome([0.1, 0.1], [0.1, 0.1], [1, 2])}
    swept = [Result(point, {v: made[v] for v in VARIANTS})]
    words = answer(swept, settings, 10, judge_best(swept, settings, None)[0])
    assert "Difference at the two best points, over 0 pairs.\n" in words
    assert "| best points | – | no verdict: no pair to compare |" in words
    assert "nan" not in words


def test_a_point_that_diverges_is_not_chosen() -> None:
    points = list_points(PARAMS, {"seeds": "0,1"}, {"lr": ["1", "2"]})
    made = [made_outcome([0.99, 0.1], [0, 0], [0, 1]), made_outcome([0.8, 0.8], [0, 0])]
    swept = [Result(point, dict.fromkeys(VARIANTS, outcome)) for point, outcome in zip(points, made, strict=True)]
    assert best(swept, "plain") is swept[1]


def test_intervals_and_verdicts_follow_from_the_values_of_each_seed(settings: Evaluate) -> None:
    random = np.random.default_rng(4)
    points = list_points(PARAMS, {}, {"lr": ["0.1", "1"], "train.optimizer": ["adam", "sgd"]})
    swept = [
        Result(
            point,
            {
                v: made_outcome(random.normal(0.92, 0.02, 10), random.normal(0.92, 0.02, 10), [0] * 9 + [at])
                for at, v in enumerate(VARIANTS)
            },
        )
        for point in points
    ]
    header, rows = seeds_table(swept)
    frame = list(csv.DictReader(io.StringIO(to_csv(header, rows))))
    assert len(frame) == 4 * 2 * 10
    words = answer(swept, settings, holdout=10)

    def values(place: tuple[str, str], variant: Variant, column: str) -> NDArray[np.float64]:
        own = [r for r in frame if (r["train.lr"], r["train.optimizer"], r["variant"]) == (*place, variant)]
        assert [int(row["seed"]) for row in own] == list(range(10))
        assert [row["diverged_at"] for row in own] == [""] * 9 + ["1" * (variant == "batchnorm")]
        return np.array([float(row[column] or "nan") for row in own])

    def shown(differences: NDArray[np.float64]) -> str:
        kept = differences[np.isfinite(differences)]
        bounds = stats.ttest_1samp(kept, 0).confidence_interval(0.95)
        return f"{kept.mean():.4f} [{bounds.low:.4f}, {bounds.high:.4f}] | {len(kept)} |"

    chosen: dict[tuple[str, Variant], tuple[str, str]] = {}
    for place in ((lr, optimizer) for lr in ("0.1", "1") for optimizer in ("adam", "sgd")):
        plain, batchnorm = (values(place, variant, "validation_accuracy") for variant in VARIANTS)
        (row,) = (line for line in words.split("\n") if line.startswith(f"| {place[0]} | {place[1]} |"))
        assert row.endswith(f"| {shown(batchnorm - plain)}")
        assert f" {int((plain < 0.9).sum())}/10 [" in row
        for variant, accuracy in zip(VARIANTS, (plain, batchnorm), strict=True):
            before = chosen.setdefault((place[1], variant), place)
            held = np.nan_to_num(values(before, variant, "validation_accuracy")).mean()
            if np.nan_to_num(accuracy).mean() > held:
                chosen[place[1], variant] = place
    for optimizer in ("adam", "sgd"):
        plain, batchnorm = (values(chosen[optimizer, v], v, "test_accuracy") for v in VARIANTS)
        (row,) = (line for line in words.split("\n") if line.startswith(f"| {optimizer} | ") and " [" in line)
        assert shown(batchnorm - plain) in row


def test_a_single_seed_has_no_interval(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {"seeds": "0"}, {"lr": ["1"]})
    swept = [Result(point, {"plain": made_outcome([0.5], [0.4]), "batchnorm": made_outcome([0.75], [0.6])})]
    header, (row,) = table(swept, settings)
    cells = dict(zip(header, row, strict=True))
    assert (cells["plain_accuracy"], cells["plain_low"], cells["plain_high"]) == ("0.5000", "", "")
    assert (cells["difference"], cells["difference_low"], cells["pairs"]) == ("0.2500", "", "1")
    words = answer(swept, settings, 10, judge_best(swept, settings, None)[0])
    assert "- plain: train.lr = 1; test accuracy 0.4000, median 0.4000 (0.4000 to 0.4000), failed 1/1 [" in words
    assert "Difference at the two best points, over 1 pair: 0.2000.\n" in words
    assert "| best points | – | too few pairs to tell |" in words
    assert "nan" not in words


def test_the_best_is_chosen_on_validation_not_on_test(settings: Evaluate) -> None:
    swept = results([0.5, 0.7, 0.6], [0.8, 0.6, 0.7], plain_test=[0.9, 0.1, 0.5], batchnorm_test=[0.3, 0.9, 0.4])
    assert best(swept, "plain") is swept[1]
    assert best(swept, "batchnorm") is swept[0]
    chosen: dict[Variant, Result] = {variant: best(swept, variant) for variant in VARIANTS}
    compared = compare_best(chosen, settings)["batchnorm"]
    assert compared.difference.value == pytest.approx(0.3 - 0.1)
    assert (compared.control.mean.value, compared.treatment.mean.value) == pytest.approx((0.15, 0.35))


def test_of_equals_the_first_is_best() -> None:
    swept = results([0.5, 0.7, 0.7, 0.6], [0.8, 0.8, 0.1, 0.8])
    assert best(swept, "plain") is swept[1]
    assert best(swept, "batchnorm") is swept[0]


def test_the_answer_in_words(settings: Evaluate) -> None:
    swept = results([0.5, 0.7], [0.8, 0.6], plain_test=[0.9, 0.1], batchnorm_test=[0.3, 0.91])
    lines = answer(swept, settings, 10_000, judge_best(swept, settings, None)[0]).split("\n")
    assert lines[0] == (
        "Accuracy on 10000 held-out training images after the last epoch, over seeds: medians with quartiles, means "
        "with Student's 95 % intervals, and how many trainings failed (below 0.9, or diverged; those that diverged "
        "have no accuracy). Differences are means of Batch Normalization minus plain, pair by pair; each interval is "
        "that of a single comparison."
    )
    assert lines[2].strip("| ").split(" | ") == [
        "train.lr",
        *(f"{v}: {c}" for v in ("plain", "Batch Normalization") for c in ("failed", "median (quartiles)", "mean")),
        *("difference", "pairs"),
    ]
    assert lines[3] == "|" + " --- |" * 9
    assert lines[4] == (
        "| 1 | 2/2 [0.16, 1.00] | 0.5500 (0.5250 to 0.5750) | 0.5500 [-0.0853, 1.1853] | 1/2 [0.01, 0.99] | "
        "0.8500 (0.8250 to 0.8750) | 0.8500 [0.2147, 1.4853] | 0.3000 [0.3000, 0.3000] | 2 |"
    )
    assert lines[7:] == [
        "The best point of each variant was chosen on the held-out images, then evaluated once on the test images, of "
        "the same trainings:",
        "",
        "- plain: train.lr = 2; test accuracy 0.1500 [-0.4853, 0.7853], median 0.1500 (0.1250 to 0.1750), failed 2/2 "
        "[0.16, 1.00].",
        "- Batch Normalization: train.lr = 1; test accuracy 0.3500 [-0.2853, 0.9853], median 0.3500 (0.3250 to "
        "0.3750), failed 2/2 [0.16, 1.00].",
        "",
        "Difference at the two best points, over 2 pairs: 0.2000 [0.2000, 0.2000], p 0.5 (exact sign-flip test).",
        "",
        "Where both networks learn (0 pairs): none.",
        "",
        "Where in the grid the best points are (beside a cliff: most trainings fail at a neighbouring value, with a "
        "median at least 0.1 lower):",
        "",
        "- plain: train.lr = 2 is at the edge of the grid and beside a cliff (2/2 failed at 1).",
        "- Batch Normalization: train.lr = 1 is at the edge of the grid and beside a cliff (2/2 failed at 2).",
        "",
        "| compared | corrected p | verdict on Batch Normalization |",
        "| --- | --- | --- |",
        "| best points | < 0.0001 | higher |",
        "",
        rule(None, 0.002),
        "",
    ]
    assert "verdict" not in answer(swept, settings, 10_000)


def test_the_verdict_is_that_of_the_rule(settings: Evaluate) -> None:
    (point,) = list_points(PARAMS, {"seeds": "0,1,2"}, {"lr": ["1"]})

    def words(batchnorm: list[float]) -> str:
        both = {"plain": made_outcome([0.5] * 3, [0.5] * 3), "batchnorm": made_outcome([0.5] * 3, batchnorm)}
        lines, _ = judge_best([Result(point, {v: both[v] for v in VARIANTS})], settings, None)
        (row,) = (line for line in lines if line.startswith("| best points |"))
        return row.split(" | ")[2].removesuffix(" |")

    assert words([0.4, 0.7, 0.5]) == "no difference is shown"
    assert words([0.5, 0.5, 0.5]) == "equivalent within 0.002"
    assert words([0.6, 0.61, 0.62]) == "higher"
    assert words([0.3, 0.31, 0.32]) == "lower"


def test_the_comparison_of_a_group_that_has_both_best_points_is_judged_once(settings: Evaluate) -> None:
    points = list_points(PARAMS, {"seeds": "0,1,2"}, {"lr": ["1"], "optimizer": ["adam", "sgd"]})
    pairs = [([0.9, 0.91, 0.92], [0.95, 0.97, 0.96]), ([0.5, 0.51, 0.5], [0.6, 0.62, 0.65])]
    swept = [
        Result(point, {v: made_outcome(values, values) for v, values in zip(VARIANTS, pair, strict=True)})
        for point, pair in zip(points, pairs, strict=True)
    ]
    for primary in ("best points", "adam"):
        lines, (_, trained) = judge_best(swept, settings, primary)
        words = "\n".join(lines)
        p = stats.ttest_1samp([0.1, 0.11, 0.15], 0).pvalue  # the only other one: Holm's factor is 1
        assert f"| sgd | {p:.2g} | higher |" in words
        assert words.count("| best points, adam | ") == 1
        assert lines[-1] == rule(primary, 0.002)
        assert trained[0] == ["best points", "0", "0.9", "0.95"]
        assert [row[0] for row in trained] == ["best points"] * 3 + ["sgd"] * 3
    with pytest.raises(UserError, match=r"^primary = 'x': no such outcome; choose from 'best points', 'sgd'$"):
        judge_best(swept, settings, "x")


def test_a_variant_is_named_once_in_all_that_a_comparison_is_called(settings: Evaluate) -> None:
    points = list_points(PARAMS, {"seeds": "0,1"}, {"lr": ["1"], "hidden": ["[4]", "[5, 3]"]})
    variants: tuple[Variant, ...] = ("plain", "batchnorm", "layernorm")
    swept = [
        Result(point, {variant: made_outcome([value] * 2, [value, value + 0.1]) for variant in variants})
        for point, value in zip(points, (0.6, 0.5), strict=True)
    ]
    lines, _ = judge_best(swept, settings, "[4], Layer Normalization")
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines if "Normalization |" in line]
    assert names == [
        "best points, [4], Batch Normalization",
        "best points, [4], Layer Normalization",
        "[5, 3], Batch Normalization",
        "[5, 3], Layer Normalization",
    ]


def test_different_images_are_not_compared(settings: Evaluate) -> None:
    points = list_points(PARAMS, {"seeds": "0,1"}, {"lr": ["1"], "data.directory": ["a", "b"]})
    one, other = (made_outcome([value] * 2, [value] * 2) for value in (0.6, 0.5))
    swept = [
        Result(points[0], {"plain": one, "batchnorm": other}),
        Result(points[1], {"plain": other, "batchnorm": one}),
    ]
    assert compare_best({"plain": swept[0], "batchnorm": swept[1]}, settings) == {}
    assert "No difference at the two best points: their images differ." in answer(swept, settings, 10)
    _, (_, pairs) = judge_best(swept, settings, None)
    assert [name for name, *_ in pairs] == ["a", "a", "b", "b"]


def test_right_and_wrong_answers_give_an_interval_for_new_digits(settings: Evaluate) -> None:
    (swept,) = results([0.5], [0.6])
    assert "new digits" not in answer([swept], settings, 10)
    correct: dict[Variant, NDArray[np.bool_]] = {
        "plain": np.array([[1, 0, 0, 0], [0, 0, 1, 1]], bool),
        "batchnorm": np.array([[1, 1, 1, 0], [1, 0, 1, 1]], bool),
    }
    anew = for_new_images(correct["batchnorm"], correct["plain"], 0.95)
    told = Result(swept.point, {v: replace(swept.outcomes[v], correct=correct[v]) for v in VARIANTS})
    sentence = f"For new digits, seeds and test images both drawn anew, the difference is {format_interval(anew)}.\n"
    assert sentence in answer([told], settings, 10)


def test_without_held_out_images_no_best_is_chosen(settings: Evaluate) -> None:
    words = answer(results([0.5, 0.7], [0.8, 0.6]), settings, holdout=0)
    assert words.startswith("Accuracy on the test images after the last epoch, ")
    assert words.endswith(
        "No best point is chosen: the accuracies are the test images', and choosing needs held-out training images "
        "(data.holdout above 0).\n"
    )
    assert "chosen on" not in words
    assert "test accuracy" not in words


# Where the best points are, and which seeds are tested


def test_a_point_is_at_the_edge_where_its_value_is_the_first_or_the_last() -> None:
    swept = results([0.95, 0.96, 0.97], [0.96, 0.97, 0.96], keys={"train.lr": ["10", "1", "100"]}, spread=0)
    assert place_of(swept, swept[2], "plain") == ["at the edge of the grid"]
    assert place_of(swept, swept[1], "batchnorm") == ["at the edge of the grid"]  # of the values in order
    assert place_of(swept, swept[0], "plain") == []
    assert place_of(swept[:1], swept[0], "plain") == []
    words = results([0.95, 0.96], [0.96, 0.95], keys={"model.activation": ["tanh", "relu"]}, spread=0)
    assert place_of(words, words[0], "plain") == []


@pytest.mark.parametrize(
    ("near", "diverged_at", "failed"),
    [
        ([0.5, 0.5, 0.95], [0, 0, 0], "2/3"),
        ([0.95, 0.95, 0.95], [1, 1, 0], "2/3"),
        ([0.5, 0.95, 0.95], [0, 0, 0], None),  # most learn
        ([0.89, 0.89, 0.89], [0, 0, 0], None),  # a slope
    ],
)
def test_a_point_is_beside_a_cliff_where_most_fail_at_a_neighbour(
    near: list[float], diverged_at: list[float], failed: str | None
) -> None:
    points = list_points(PARAMS, {"seeds": "0,1,2"}, {"lr": ["0.1", "0.2", "0.3", "0.4"]})
    good, bad = made_outcome([0.96] * 3, [0.96] * 3), made_outcome([0.1] * 3, [0.1] * 3)
    at = {"0.1": good, "0.2": good, "0.3": made_outcome(near, near, diverged_at), "0.4": bad}
    swept = [Result(point, dict.fromkeys(VARIANTS, at[point.values["train.lr"]])) for point in points]
    expected = [f"beside a cliff ({failed} failed at 0.3)"] if failed else []
    assert place_of(swept, swept[1], "plain") == expected


def test_what_is_confirmed_is_what_is_tested(settings: Evaluate) -> None:
    swept = results([0.5, 0.7], [0.8, 0.6], plain_test=[0.9, 0.1], batchnorm_test=[0.3, 0.91])
    fresh: dict[Variant, list[float]] = {"plain": [0.92, 0.91, 0.95], "batchnorm": [0.94, 0.95, 0.98]}
    chosen_for: tuple[Variant, Variant] = ("batchnorm", "plain")
    again = [
        replace(result, confirmed={variant: made_outcome([0.5] * 3, fresh[variant], [0, 0, 1])}, seeds=(7, 8, 9))
        for result, variant in zip(swept, chosen_for, strict=True)
    ]
    chosen: dict[Variant, Result] = {variant: best(again, variant) for variant in VARIANTS}
    np.testing.assert_array_equal(chosen["plain"].tested("plain"), [0.92, 0.91, np.nan])
    compared = compare_best(chosen, settings)["batchnorm"]
    assert compared.pairs == 2
    assert compared.difference.value == pytest.approx(0.03)
    words = answer(again, settings, holdout=10)
    assert "with seeds 0, 1, and confirmed with fresh seeds 7 to 9, the only ones tested:\n" in words
    assert "- plain: train.lr = 2; test accuracy 0.9150 [" in words
    assert "failed 1/3 [0.01, 0.91], 1 diverged.\n" in words
    assert "Difference at the two best points, over 2 pairs: 0.0300 [" in words
    header, rows = seeds_table(again)
    frame = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["test_accuracy"] for row in frame if row["role"] == "choose"] == [""] * 8
    assert [row["test_accuracy"] for row in frame if row["role"] == "confirm"] == [
        "0.94",
        "0.95",
        "",
        "0.92",
        "0.91",
        "",
    ]
    header, (row,) = best_table(again, settings)
    cells = dict(zip(header, row, strict=True))
    assert (cells["plain_train.lr"], cells["batchnorm_train.lr"]) == ("2", "1")
    assert (cells["plain_n"], cells["plain_failed"], cells["plain_diverged"]) == ("3", "1", "1")
    assert (cells["batchnorm_accuracy"], cells["difference"], cells["pairs"]) == ("0.9450", "0.0300", "2")
    assert "role" not in seeds_table(swept)[0]


def test_points_that_were_added_are_named(settings: Evaluate) -> None:
    swept = results([0.5, 0.7, 0.6], [0.8, 0.6, 0.7])
    again = [replace(result, added=at == 1) for at, result in enumerate(swept)]
    assert "\nAdded around the best points: train.lr = 2.\n" in answer(again, settings, holdout=10)
    header, rows = table(again, settings)
    assert [row[header.index("added")] for row in rows] == ["no", "yes", "no"]
    assert "Added" not in answer(swept, settings, holdout=10)


# The figure

COLOURS: dict[Variant, str] = {"plain": "#d55e00", "batchnorm": "#0072b2"}


NOTE = "MNIST, three seeds."


def finals(count: int) -> dict[Variant, list[panels.Finals]]:
    random = np.random.default_rng(0)
    return {v: [made_finals(middle) for middle in random.uniform(0.2, 0.8, count)] for v in VARIANTS}


def made_finals(median: float, *, failed: bool = False, chosen: bool = False) -> panels.Finals:
    mean = Interval(0.5, 0.4, 0.6)
    return panels.Finals(Summary(3, mean, median - 0.05, median, median + 0.1), failed, chosen)


def percent(accuracy: float) -> float:
    return 100 - 100 * accuracy


def drawn(axis: Axes, variant: Variant) -> NDArray[np.float64]:
    line, *_ = (line for line in axis.lines if to_hex(str(line.get_color())) == COLOURS[variant])
    return np.asarray(line.get_xydata(), float)


def test_lines_are_median_errors_and_bands_quartiles() -> None:
    given = finals(3)
    points = [{"train.lr": text} for text in ("0.1", "0.2", "0.4")]
    figure = panels.sweep(points, given, "held-out error (%)", NOTE)
    (axis,) = figure.axes
    for variant, band in zip(VARIANTS, axis.collections, strict=True):
        summaries = [one.accuracy for one in given[variant]]
        expected = [[x, percent(summary.median)] for x, summary in zip((0.1, 0.2, 0.4), summaries, strict=True)]
        np.testing.assert_allclose(drawn(axis, variant), expected)
        corners = np.asarray(band.get_paths()[0].vertices)
        for x, summary in zip((0.1, 0.2, 0.4), summaries, strict=True):
            heights = corners[np.isclose(corners[:, 0], x), 1]
            ends = percent(summary.upper_quartile), percent(summary.lower_quartile)
            assert (heights.min(), heights.max()) == pytest.approx(ends)
        assert to_hex(np.asarray(band.get_facecolor())[0][:3]) == COLOURS[variant]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("learning rate", "held-out error (%)", "")
    assert axis.get_yscale() == "log"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plain", "Batch Normalization"]
    assert figure.get_supxlabel() == NOTE


def test_a_line_goes_on_to_the_next_greater_value() -> None:
    points = [{"train.lr": text} for text in ("0.4", "0.1", "0.2")]
    given = finals(3)
    (axis,) = panels.sweep(points, given, "error (%)", NOTE).axes
    medians = [percent(one.accuracy.median) for one in given["plain"]]
    np.testing.assert_allclose(drawn(axis, "plain"), [[0.1, medians[1]], [0.2, medians[2]], [0.4, medians[0]]])


def test_failures_and_chosen_points_are_marked() -> None:
    diverged = panels.Finals(Summary(0, Interval(np.nan, np.nan, np.nan), np.nan, np.nan, np.nan), failed=True)
    given: dict[Variant, list[panels.Finals]] = {
        "plain": [made_finals(0.5, failed=True), diverged],
        "batchnorm": [made_finals(0.9, chosen=True), made_finals(0.8)],
    }
    figure = panels.sweep([{"train.lr": "1"}, {"train.lr": "2"}], given, "error (%)", NOTE)
    (axis,) = figure.axes
    marks = {str(line.get_marker()): line for line in axis.lines if str(line.get_linestyle()) == "None"}
    np.testing.assert_allclose(np.asarray(marks["x"].get_xydata()), [[1, 50], [2, 100]])
    np.testing.assert_allclose(np.asarray(marks["o"].get_xydata()), [[1, 10]])
    assert to_hex(str(marks["x"].get_color())) == COLOURS["plain"]
    (legend,) = figure.legends
    assert {panels.FAILED_LABEL, panels.CHOSEN_LABEL} < {text.get_text() for text in legend.get_texts()}
    assert figures.png(figure, dpi=40).startswith(b"\x89PNG")


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
    figure = panels.sweep([{"k": text} for text in texts], finals(len(texts)), "error (%)", NOTE)
    (axis,) = figure.axes
    assert axis.get_xscale() == expected
    np.testing.assert_allclose(drawn(axis, "plain")[:, 0], [float(text) for text in texts])


@pytest.mark.parametrize("texts", [["sigmoid", "tanh", "relu"], ["[100]", "[100, 100]"], ["1", "auto"]])
def test_words_are_categories_in_their_order(texts: list[str]) -> None:
    (axis,) = panels.sweep([{"k": text} for text in texts], finals(len(texts)), "error (%)", NOTE).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == [text.replace("relu", "ReLU") for text in texts]
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
    given = finals(len(points))
    figure = panels.sweep(points, given, "error (%)", NOTE)
    assert [axis.get_title() for axis in figure.axes] == [
        f"activation {activation}, epochs {epochs}" for activation in ("ReLU", "tanh") for epochs in "12"
    ]
    for at, axis in enumerate(figure.axes):
        for variant in VARIANTS:
            expected = [percent(one.accuracy.median) for one in given[variant][at::4]]
            np.testing.assert_allclose(drawn(axis, variant), np.column_stack([[0.1, 0.2, 0.3], expected]))
    assert len(figure.legends) == 1
    assert len({axis.get_ylim() for axis in figure.axes}) == 1


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
    figure = panels.draw(
        [panels.Panel(str(at), [panels.Line("a", [0, 1], [at, 0])], "x", "y") for at in range(count)], NOTE
    )
    assert [axis.get_title() for axis in figure.axes] == [str(at) for at in range(min(count, 60))]
    rows, columns = grid
    assert figure.get_size_inches().tolist() == pytest.approx([max(6.4, 4.2 * columns), 0.9 + 3.4 * rows])
    assert figure.get_size_inches()[1] * 200 < 10_000
    assert figure.legends[0].get_title().get_text() == title
