"""The reports of the studies: numbers, verdicts, figures and words, from hand-made outcomes."""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.analysis import figures
from pipeline.files import to_csv
from pipeline.params import Params
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from studies.internal_covariate_shift import report as internal_covariate_shift
from studies.internal_covariate_shift.report import shift
from studies.lab_revisited import report as lab_revisited
from studies.loss_landscape import report as loss_landscape
from studies.position import report as position
from studies.running_statistics import report as running_statistics
from tests.samples import PARAMS, ROOT

Make = Callable[..., Params]
Floats = NDArray[np.float64]


def outcome(
    accuracy: Sequence[float], probed: dict[str, Floats] | None = None, test: Sequence[float] | None = None
) -> Outcome:
    """Two epochs; 0.1, half of the final accuracy, and the final accuracy per seed; a loss of 1 less the accuracy."""
    final = np.array(accuracy, float)
    curve = np.stack([np.full_like(final, 0.1), final / 2, final], axis=1)
    tested = final if test is None else np.array(test, float)
    return Outcome(1 - curve[:, 1:], 1 - curve, curve, 1 - tested, tested, np.zeros_like(final), probed or {})


def results(spans: dict[str, list[str]], plain: list[Outcome], batchnorm: list[Outcome]) -> list[Result]:
    points = list_points(PARAMS, {"seeds": "0,1", "epochs": "2"}, spans)
    return [Result(point, {"plain": p, "batchnorm": b}) for point, p, b in zip(points, plain, batchnorm, strict=True)]


def table(report: Report, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(*report.tables[name]))))


def check(report: Report, study: str) -> None:
    """Every figure can be rendered, with labels on every axis; the text is the committed one, but for numbers."""
    for figure in report.figures.values():
        assert figures.png(figure, dpi=30).startswith(b"\x89PNG")
        assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    for header, rows in report.tables.values():
        assert all(f"| {' | '.join(row)} |" in report.lines for row in (header, *rows))
    assert not any("nan" in line for line in report.lines)
    if not (ROOT / "studies" / study / "results" / "per_seed.csv").exists():
        return  # results of an earlier version, whose words were others
    committed = (ROOT / "studies" / study / "results" / "answer.md").read_text(encoding="utf-8")
    expected = outline(report.lines)
    assert outline(committed.splitlines())[: len(expected)] == expected


def outline(lines: Sequence[str]) -> list[str]:
    """The sentences, and the first line of every table, without their numbers."""
    first = [line for before, line in pairwise(["", *lines]) if not (before.startswith("|") and line.startswith("|"))]
    return [re.sub(r"\d+", "#", line) for line in first]


def test_positions_are_compared_at_their_own_best_rates_on_the_test_images(params: Make) -> None:
    spans = {
        "train.lr": ["0.01", "0.1"],
        "model.activation": ["sigmoid", "relu"],
        "model.norm_position": ["after_activation", "before_activation"],
    }
    plain = [outcome([0.5, 0.5])] * 8
    held = {("0.1", "sigmoid", "after"): [0.7, 0.7], ("0.01", "sigmoid", "before"): [0.8, 0.8]}
    tested = {("0.1", "sigmoid", "after"): [0.61, 0.63], ("0.01", "sigmoid", "before"): [0.66, 0.68]}
    keys = [
        (lr, f, p.split("_")[0])
        for lr in spans["train.lr"]
        for f in ("sigmoid", "relu")
        for p in spans["model.norm_position"]
    ]
    batchnorm = [outcome(held.get(key, [0.3, 0.4]), test=tested.get(key, [0.2, 0.9])) for key in keys]
    report = position.report(results(spans, plain, batchnorm), params(), 0, None)
    sigmoid, relu = table(report, "positions")
    assert sigmoid["activation"] == "sigmoid"
    assert (sigmoid["after the activation: best lr"], sigmoid["before the activation: best lr"]) == ("0.1", "0.01")
    assert sigmoid["before minus after"].startswith("0.0500 [0.0500, 0.0500]")
    assert sigmoid["verdict"] == "before is better"
    assert (relu["before minus after"], relu["verdict"]) == (
        "0.0000 [0.0000, 0.0000]",
        "equivalent within 0.002",
    )
    assert sigmoid["after the activation: failed"] == "2/2 [0.16, 1.00]"
    assert len(report.figures["positions"].axes) == 2
    check(report, "position")


def test_positions_are_compared_on_the_seeds_that_confirm_them(params: Make) -> None:
    spans = {
        "train.lr": ["0.01", "0.1"],
        "model.activation": ["sigmoid"],
        "model.norm_position": ["after_activation", "before_activation"],
    }
    held = [[0.95, 0.95], [0.9, 0.9], [0.8, 0.8], [0.96, 0.96]]  # after is best at 0.01, before at 0.1
    swept = results(spans, [outcome([0.5, 0.5])] * 4, [outcome(values, test=[0.1, 0.2]) for values in held])
    fresh = {0: [0.91, 0.92, 0.93], 3: [0.92, 0.93, 0.94]}
    swept = [
        replace(result, confirmed={"batchnorm": outcome(fresh[at])}, seeds=(7, 8, 9)) if at in fresh else result
        for at, result in enumerate(swept)
    ]
    report = position.report(swept, params(), 0, None)
    (row,) = table(report, "positions")
    assert row["pairs"] == "3"
    assert row["before minus after"] == "0.0100 [0.0100, 0.0100]"
    assert row["after the activation: failed"] == "0/3 [0.00, 0.71]"
    assert any("with seeds 0, 1, and confirmed with fresh seeds 7 to 9" in line for line in report.lines)


def test_the_labs_sentences_are_judged_pair_by_pair(params: Make) -> None:
    spans = {"model.norm_position": ["after_activation", "before_activation"]}

    def seen(mean: float, deviation: float) -> dict[str, Floats]:
        units = mean + deviation * np.array([-1.0, 0.0, 1.0])
        farther = math.copysign(0.1, mean)
        stack = np.stack([np.full((2, 3), 99.0), np.stack([units, units + farther])], axis=1)
        ends = {"network_mean": (mean, farther), "network_deviation": (deviation, 0.1)}
        return {"lab": stack, "network": stack} | {
            name: np.array([[99.0, value], [99.0, value + more]]) for name, (value, more) in ends.items()
        }

    plain = [outcome([0.5, 0.6], seen(-8, 2))] * 2
    batchnorm = [outcome([0.9, 1], seen(1, 3)), outcome([0.5, 0.6], seen(-9, 1))]
    report = lab_revisited.report(results(spans, plain, batchnorm), params(), 150, None)
    rows = table(report, "verdicts")
    after, before = ([row["verdict"] for row in rows[at : at + 7]] for at in (0, 7))
    assert after == ["holds", "holds", "the opposite holds", "the opposite holds", "holds", "holds", "holds"]
    none = "no difference is shown"
    assert before == [
        "the opposite holds",
        "the opposite holds",
        "holds",
        "holds",
        none,
        *["equivalent within 0.002"] * 2,
    ]
    assert rows[0]["plain"] == "8.0500 (median 8.0500)"
    assert rows[0]["batchnorm"] == "1.0500 (median 1.0500)"
    assert rows[3]["difference"] == "1.0000 [1.0000, 1.0000]"
    assert rows[6]["difference"].startswith("0.4000 ")
    assert len(report.figures["activations"].axes) == 6
    check(report, "lab_revisited")


def test_statistics_are_compared_at_the_end_of_every_epoch(params: Make) -> None:
    running = np.array([[0.1, 0.2, 0.5, 0.6, 0.8], [0.1, 0.2, 0.6, 0.6, 0.9]])
    kinds = {"running": running, "batch": running + 0.01, "recomputed": running + np.array([0, 0, 0.1, 0, 0])}
    lags = {name: np.array([[9.0, 5, 4, 2, 1], [9, 5, 4, 2, 1.5]]) for name in ("lag_mean", "lag_deviation")}
    given = [outcome([0.8, 0.9], kinds | lags)] * 2
    report = running_statistics.report(results({"lr": ["0.1", "1"]}, given, given), params(epochs="2"), 5, None)
    rows = table(report, "statistics")
    assert [(row["learning rate"], row["epoch"]) for row in rows] == [
        ("0.1", "1"),
        ("0.1", "2"),
        ("1", "1"),
        ("1", "2"),
    ]
    assert (rows[0]["running"], rows[0]["batch"], rows[0]["recomputed"]) == tuple(
        f"{mean} (median {mean})" for mean in ("0.5500", "0.5600", "0.6500")
    )
    assert rows[0]["running minus recomputed"] == "-0.1000 [-0.1000, -0.1000]"
    assert rows[0]["verdict"] == "recomputed ones are better"
    assert (rows[1]["running minus recomputed"], rows[1]["verdict"]) == (
        "0.0000 [0.0000, 0.0000]",
        "equivalent within 0.002",
    )
    assert rows[1]["lag of the means"] == "1.2500 (median 1.2500)"
    check(report, "running_statistics")
    assert report.figures["statistics"].axes[0].lines[1].get_xdata()[-1] == 20  # type: ignore[index]


def test_the_landscape_is_compared_by_ratios_of_geometric_means(params: Make) -> None:
    def seen(factor: float) -> dict[str, Floats]:
        low = np.array([[9.0, 1, 1], [9, 1, 1]])
        high = low + factor * np.array([[9.0, 1, 4], [9, 2, 8]])
        names = ("loss", "loss_low", "gradient_low")
        return dict.fromkeys(names, low) | {
            "loss_high": high,
            "gradient_high": factor * high,
            "smoothness": factor * low,
        }

    spans = {"train.lr": ["0.1"], "model.noise": ["false", "true"]}
    plain = [outcome([0.6, 0.6], seen(2)), outcome([0.4, 0.4], seen(2))]
    batchnorm = [outcome([0.95, 0.95], seen(1)), outcome([0.9, 0.9], seen(2))]
    report = loss_landscape.report(results(spans, plain, batchnorm), params(), 5, None)
    rows = table(report, "landscape")
    assert [row["measure"] for row in rows[:3]] == [
        "range of the loss",
        "change of the gradient",
        "effective smoothness",
    ]
    assert rows[0]["batchnorm"] == f"{math.exp(np.mean([math.log(2), math.log(4)])):.4f}"  # √(1·4) and √(2·8)
    assert (rows[0]["batchnorm / plain"], rows[0]["verdict"]) == ("0.500 [0.500, 0.500]", "smaller")
    assert (rows[2]["plain"], rows[2]["batchnorm"]) == ("2.0000", "1.0000")
    assert [row["weights"] for row in rows] == 3 * ["trained"] + 3 * ["untrained"] + 3 * ["trained"]
    assert (rows[3]["plain"], rows[3]["batchnorm"]) == ("18.0000", "9.0000")  # the first measurement alone
    assert [row["verdict"] for row in rows[3:]] == 3 * ["smaller"] + 3 * ["no difference is shown"]
    noise = table(report, "noise")
    assert [(row["first"][:6], row["second"][:6]) for row in noise] == [
        ("0.9000", "0.6000"),
        ("0.9000", "0.9500"),
        ("0.4000", "0.6000"),
    ]
    assert [row["verdict"] for row in noise] == ["higher", "lower", "lower"]
    assert [row["where both learn"] for row in noise] == ["no pair", "-0.0500 [-0.0500, -0.0500], 2 pairs", "no pair"]
    check(report, "loss_landscape")


def test_the_shift_is_travel_over_width() -> None:
    # Two units, three measurements: medians travel 1 + 2 and 0 + 1; widths after each step are 2, 2 and 1, 3.
    middle = np.array([[[0.0, 5.0], [1.0, 5.0], [3.0, 4.0]]])
    width = np.array([[[7.0, 7.0], [2.0, 1.0], [2.0, 3.0]]])
    percentiles = np.stack([middle - width / 4, middle, middle + 3 * width / 4], axis=-1)
    assert shift(outcome([0.5], {"percentiles": percentiles})) == pytest.approx([4 / 8])


def test_shifts_and_accuracies_are_compared(params: Make) -> None:
    def seen(scale: float) -> dict[str, Floats]:
        middle = scale * np.array([0.0, 1.0, 3.0]).reshape(1, 3, 1) * np.ones((2, 3, 4))
        percentiles = np.stack([middle - 1, middle, middle + 1], axis=-1)
        named = {
            f"{view}_{level}": percentiles[:, :, 0, at]
            for view in ("unit", "all")
            for at, level in enumerate((15, 50, 85))
        }
        return {"percentiles": percentiles, **named}

    spans = {"train.optimizer": ["sgd"], "train.lr": ["0.1", "1"], "model.initial_deviation": ["0.1"]}
    plain = [outcome([0.5, 0.6], seen(1))] * 2
    batchnorm = [outcome([0.8, 0.9], seen(0.5)), outcome([0.5, 0.6], seen(1))]
    report = internal_covariate_shift.report(results(spans, plain, batchnorm), params(), 500, None)
    rows = table(report, "shift")
    assert (rows[0]["plain"], rows[0]["batchnorm"], rows[0]["verdict"]) == (
        "0.7500 (median 0.7500)",
        "0.3750 (median 0.3750)",
        "smaller",
    )
    assert (rows[1]["measure"], rows[1]["verdict"]) == ("final test accuracy", "larger")
    assert [row["verdict"] for row in rows[2:]] == ["no difference is shown", "equivalent within 0.002"]
    assert report.figures["accuracy_over_steps"].axes[0].lines[0].get_xdata()[-1] == 1000  # type: ignore[index]
    assert len(report.figures["percentiles"].axes) == 8
    check(report, "internal_covariate_shift")
