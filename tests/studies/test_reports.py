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
from pipeline.sweeps.study import load_study
from studies.internal_covariate_shift import report as internal_covariate_shift
from studies.internal_covariate_shift.report import drift, jitter
from studies.lab_revisited import report as lab_revisited
from studies.loss_landscape import report as loss_landscape
from studies.loss_landscape.report import movement
from studies.position import report as position
from studies.running_statistics import report as running_statistics
from tests.samples import PARAMS, ROOT
from tests.studies.committed import committed

Make = Callable[..., Params]
Floats = NDArray[np.float64]
POSITIONS = tuple(lab_revisited.POSITIONS.values())


def outcome(
    accuracy: Sequence[float], probed: dict[str, Floats] | None = None, test: Sequence[float] | None = None
) -> Outcome:
    """Two epochs; 0.1, half of the final accuracy, and the final accuracy per seed; a loss of 1 less the accuracy."""
    final = np.array(accuracy, float)
    curve = np.stack([np.full_like(final, 0.1), final / 2, final], axis=1)
    tested = final if test is None else np.array(test, float)
    return Outcome(1 - curve[:, 1:], 1 - curve, curve, 1 - tested, tested, np.zeros_like(final), probed or {})


def results(
    spans: dict[str, list[str]], plain: list[Outcome], batchnorm: list[Outcome], seeds: str = "0,1"
) -> list[Result]:
    points = list_points(PARAMS, {"seeds": seeds, "epochs": "2"}, spans)
    return [Result(point, {"plain": p, "batchnorm": b}) for point, p, b in zip(points, plain, batchnorm, strict=True)]


def table(report: Report, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(*report.tables[name]))))


def primary_of(study: str) -> str | None:
    """The primary outcome as the study names it: a report refuses a name that is not one of its outcomes."""
    return load_study(ROOT / "studies" / study).primary


def check(report: Report, study: str) -> None:
    """Every figure can be rendered, with labels on every axis; the text is the committed one, but for numbers."""
    for figure in report.figures.values():
        assert figures.png(figure, dpi=30).startswith(b"\x89PNG")
        assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    for name, (header, rows) in report.tables.items():
        assert name == "pairs" or all(f"| {' | '.join(row)} |" in report.lines for row in (header, *rows))
    assert not any("nan" in line for line in report.lines)
    expected = outline(report.lines)
    assert outline(committed(f"studies/{study}/results/answer.md").splitlines())[: len(expected)] == expected


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
    report = position.report(results(spans, plain, batchnorm), params(), [], None)
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


def test_positions_are_compared_on_the_seeds_that_confirm_them(params: Make) -> None:
    spans = {
        "train.lr": ["0.01", "0.1"],
        "model.activation": ["sigmoid"],
        "model.norm_position": ["after_activation", "before_activation"],
    }
    held = [0.95, 0.9, 0.8, 0.96]  # after is best at 0.01, before at 0.1
    trained = [outcome([accuracy] * 3, test=[0.1, 0.2, 0.3]) for accuracy in held]
    swept = results(spans, [outcome([0.5] * 3)] * 4, trained, "0,1,2")
    fresh = {0: [0.91, 0.92, 0.93], 3: [0.92, 0.93, 0.94]}
    swept = [
        replace(result, confirmed={"batchnorm": outcome(fresh[at])}, seeds=(7, 8, 9)) if at in fresh else result
        for at, result in enumerate(swept)
    ]
    report = position.report(swept, params(), [], "sigmoid")
    (row,) = table(report, "positions")
    assert row["pairs"] == "3"
    assert row["before minus after"] == "0.0100 [0.0100, 0.0100]"
    assert row["after the activation: failed"] == "0/3 [0.00, 0.71]"
    assert any("with seeds 0 to 2, and confirmed with fresh seeds 7 to 9" in line for line in report.lines)
    check(report, "position")


def test_the_labs_claims_are_tested_in_both_layers_within_and_between_units(params: Make) -> None:
    spans = {"model.norm_position": ["after_activation", "before_activation"]}

    def seen(mean: float, pooled: float, within: float, between: float) -> dict[str, Floats]:
        units = mean + pooled * np.array([-1.0, 0.0, 1.0])
        stack = np.stack([np.full((2, 3), 99.0), np.stack([units, units])], axis=1)
        measures = {"mean": mean, "pooled": pooled, "within": within, "between": between}
        probed = {"lab": stack, "network": stack}
        for layer in (1, 2):
            for name, value in measures.items():
                probed[f"layer{layer}_{name}"] = layer * np.array([[99.0, value], [99.0, value]])
        return probed

    plain = [outcome([0.5, 0.6], seen(-8, 2, 1, 2))] * 2
    batchnorm = [outcome([0.9, 1], seen(1, 3, 4, 1)), outcome([0.5, 0.6], seen(-9, 1, 1, 2))]
    primary = primary_of("lab_revisited")
    report = lab_revisited.report(results(spans, plain, batchnorm), params(), [0, 150], primary)
    rows = table(report, "verdicts")
    assert len(rows) == 26
    by_measure = {(row["position"], row["measured"]): row for row in rows}
    after, before = (
        {measured: row for (at, measured), row in by_measure.items() if at == place} for place in POSITIONS
    )
    in_words = {
        "layer 2 as the lab computes it, one image: distance of the mean from 0": "holds",
        "layer 2: distance of the mean from 0": "holds",
        "layer 2 as the lab computes it, one image: deviation over units": "the opposite holds",
        "layer 1: deviation over units and images together": "the opposite holds",
        "layer 2: deviation over images, mean over units": "the opposite holds",
        "layer 2: deviation over units of their means": "holds",
        "training loss, mean over all iterations": "holds",
        "test accuracy after the last epoch": "holds",
    }
    assert {measured: after[measured]["verdict"] for measured in in_words} == in_words
    assert before["layer 1: distance of the mean from 0"]["verdict"] == "the opposite holds"
    assert before["layer 1: deviation over units and images together"]["verdict"] == "holds"
    assert before["layer 1: deviation over images, mean over units"]["verdict"] == "no difference is shown"
    assert before["test accuracy after the last epoch"]["verdict"] == "equivalent within 0.002"
    pooled = after["layer 2: deviation over units and images together"]
    assert (pooled["plain"], pooled["Batch Normalization"]) == ("4.0000 (median 4.0000)", "6.0000 (median 6.0000)")
    assert pooled["difference"] == "2.0000 [2.0000, 2.0000]"
    one = {"outcome": f"{POSITIONS[0]}, accuracy", "seed": "1", "plain": "0.6", "batchnorm": "1"}
    assert one in table(report, "pairs")
    assert len(report.figures["activations"].axes) == 6
    check(report, "lab_revisited")


def test_statistics_are_compared_at_the_end_of_every_epoch(params: Make) -> None:
    running = np.array([[0.1, 0.2, 0.5, 0.6, 0.8], [0.1, 0.2, 0.6, 0.6, 0.9]])
    kinds = {"running": running, "batch": running + 0.01, "recomputed": running + np.array([0, 0, 0.1, 0, 0])}
    lags = {name: np.array([[9.0, 5, 4, 2, 1], [9, 5, 4, 2, 1.5]]) for name in ("lag_mean", "lag_deviation")}
    given = [outcome([0.8, 0.9], kinds | lags)] * 2
    report = running_statistics.report(
        results({"lr": ["0.1", "1"]}, given, given),
        params(epochs="2"),
        [0, 5, 10, 15, 20],
        "learning rate 0.1, epoch 2",
    )
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


def test_the_landscape_is_compared_at_equal_losses_and_at_equal_iterations(params: Make) -> None:
    def seen(factor: float, losses: Sequence[float], step: float) -> dict[str, Floats]:
        low = np.array([[9.0, 1, 1], [9, 1, 1]])
        high = low + factor * np.array([[9.0, 1, 4], [9, 2, 8]])
        moments = np.ones((2, 3, 5, 2)) + step * np.array([0, 5, 6]).reshape(1, 3, 1, 1) * np.array([1.0, 0.0])
        return {
            "loss": np.array([losses, losses]),
            "loss_low": low,
            "gradient_low": low,
            "loss_high": high,
            "gradient_high": factor * high,
            "smoothness": factor * low,
            "training": moments,
            "evaluation": moments / 2,
        }

    spans = {"train.lr": ["0.1"], "model.noise": ["false", "true"], "model.norm_position": ["after_activation"]}
    plain = [outcome([0.6, 0.6], seen(2, [2, 1, 0.45], 1)), outcome([0.4, 0.4], seen(2, [2, 2, 2], 1))]
    batchnorm = [outcome([0.95, 0.95], seen(1, [2, 1, 0.3], 1)), outcome([0.9, 0.9], seen(2, [2, 1, 1], 3))]
    primary = primary_of("loss_landscape")
    report = loss_landscape.report(results(spans, plain, batchnorm), params(), [0, 5, 10], primary)
    rows = table(report, "landscape")
    views = ["at a loss of 0.5", "at a loss of 0.4", "at equal iterations", "untrained"]
    assert [row["compared"] for row in rows[::3]] == views
    assert [row["measure"] for row in rows[:3]] == [
        "range of the loss",
        "change of the gradient",
        "effective smoothness",
    ]
    # The range grows fourfold while the loss falls from 1 to 0.3, or to 0.45 without Batch Normalization.
    shares = math.log(2) / math.log(1 / 0.3), math.log(2) / math.log(1 / 0.45)
    of_batchnorm, of_plain = (math.sqrt(2) * factor * 4**share for factor, share in zip((1, 2), shares, strict=True))
    assert (rows[0]["Batch Normalization"], rows[0]["plain"]) == (f"{of_batchnorm:.4f}", f"{of_plain:.4f}")
    assert rows[0]["ratio"].startswith(f"{of_batchnorm / of_plain:.3f} ")
    assert (rows[0]["pairs"], rows[3]["pairs"]) == ("2", "0")  # the plain network never falls to 0.4
    assert rows[6]["Batch Normalization"] == f"{math.exp(np.mean([math.log(2), math.log(4)])):.4f}"  # √(1·4) and √(2·8)
    assert (rows[6]["ratio"], rows[6]["verdict"]) == ("0.500 [0.500, 0.500]", "smoother")
    assert (rows[9]["Batch Normalization"], rows[9]["plain"]) == ("9.0000", "18.0000")
    noise = table(report, "noise")
    assert [(row["first accuracy"][:6], row["second accuracy"][:6]) for row in noise] == [
        ("0.9500", "0.6000"),
        ("0.9000", "0.6000"),
        ("0.9000", "0.9500"),
        ("0.4000", "0.6000"),
    ]
    assert [row["verdict"] for row in noise] == ["higher", "higher", "lower", "lower"]
    assert [row["where both learn"] for row in noise] == [
        *("no pair", "no pair"),
        *("-0.0500 [-0.0500, -0.0500], 2 pairs", "no pair"),
    ]
    stability = {(row["first"], row["computed as in"]): row for row in table(report, "stability") if row["ratio"]}
    noisy = stability["Batch Normalization with noise", "training"]
    assert (noisy["first movement"], noisy["second movement"]) == ("3.0000", "1.0000")
    assert (noisy["ratio"], noisy["verdict"]) == ("3.000 [3.000, 3.000]", "less stable")
    assert len(report.figures["landscape"].axes) == 3
    assert report.figures["landscape"].axes[0].lines[1].get_xdata()[-1] == 10  # type: ignore[index]
    check(report, "loss_landscape")


def test_movement_is_of_whole_distributions_between_equally_spaced_measurements() -> None:
    mean = np.array([9.0, 0, 7, 3, 3])
    deviation = np.array([9.0, 1, 7, 5, 2])
    moments = np.stack([mean, deviation], axis=-1).reshape(1, 5, 1, 2)
    # From step 10 on, in tens: from (0, 1) to (3, 5) and to (3, 2), over deviations 5 and 2.
    assert movement(moments, [0, 10, 15, 20, 30]) == pytest.approx([(5 + 3) / (5 + 2)])


def test_jitter_and_drift_are_travel_over_width() -> None:
    # Two units; steps 0, 500, 1000, 1100, 1500; jitter does not see step 1100, and drift starts at step 1000.
    middle = np.array([[[0.0, 5.0], [1.0, 5.0], [3.0, 4.0], [8.0, 8.0], [2.0, 4.5]]])
    width = np.array([[[7.0, 7.0], [2.0, 1.0], [2.0, 3.0], [1.0, 2.0], [3.0, 1.0]]])
    percentiles = np.stack([middle - width / 4, middle, middle + 3 * width / 4], axis=-1)
    steps = [0, 500, 1000, 1100, 1500]
    assert jitter(percentiles, steps) == pytest.approx([(1 + 0 + 2 + 1 + 1 + 0.5) / (3 + 5 + 4)])
    assert drift(percentiles, steps) == pytest.approx(np.array([[(5 + 4) / 3, (1 + 0.5) / 4]]))


def test_movement_and_learning_are_compared_by_both_statistics(params: Make) -> None:
    steps = [0, 100, 300, 500, 1000, 1500]

    def seen(running: float, recomputed: float, late: float) -> dict[str, Floats]:
        probed = {}
        for kind, scale in (("running", running), ("recomputed", recomputed)):
            middle = scale * np.array([0.0, 9, 9, 1, 3, 4]).reshape(1, 6, 1) * np.ones((2, 6, 4))
            percentiles = np.stack([middle - 1, middle, middle + 1], axis=-1)
            probed[kind] = percentiles
            probed |= {f"{kind}_{level}": percentiles[:, :, 0, at] for at, level in enumerate((15, 50, 85))}
            probed[f"{kind}_accuracy"] = np.array([[0.1, 0.5, late, 0.93, 0.94, 0.96]] * 2)
        return probed

    spans = {"train.optimizer": ["sgd"], "train.lr": ["0.1", "1"], "model.initial_deviation": ["0.1"]}
    plain = [outcome([0.5, 0.6], seen(1, 1, 0.6))] * 2
    batchnorm = [outcome([0.8, 0.9], seen(2, 0.5, 0.9)), outcome([0.5, 0.6], seen(1, 1, 0.6))]
    primary = primary_of("internal_covariate_shift")
    report = internal_covariate_shift.report(results(spans, plain, batchnorm), params(), steps, primary)
    rows = table(report, "shift")
    assert [(row["measured"], row["statistics"]) for row in rows[:4]] == [
        *(("jitter", "running"), ("jitter", "recomputed")),
        *(("drift", "running"), ("drift", "recomputed")),
    ]
    assert [row["verdict"] for row in rows[:4]] == ["moves more", "moves less", "moves more", "moves less"]
    assert (rows[1]["plain"], rows[1]["Batch Normalization"]) == (
        "0.6667 (median 0.6667)",
        "0.3333 (median 0.3333)",
    )
    assert rows[2]["difference"] == "0.5000 [0.5000, 0.5000]"
    assert [row["verdict"] for row in rows[4:]] == ["no difference is shown"] * 4
    learning = {(row["measured"], row["statistics"]): row for row in table(report, "learning")[:10]}
    assert {measured for measured, _ in learning} == {
        *(f"accuracy after {step} steps" for step in (100, 300, 1000)),
        *(f"first step with an accuracy of {target}" for target in (0.9, 0.95)),
    }
    assert learning["accuracy after 300 steps", "running"]["verdict"] == "higher"
    assert learning["accuracy after 1000 steps", "running"]["verdict"] == "equivalent within 0.002"
    first = learning["first step with an accuracy of 0.9", "recomputed"]
    assert (first["plain"], first["difference"], first["verdict"]) == (
        "500 (median 500)",
        "-200 [-200, -200]",
        "sooner",
    )
    assert len(table(report, "pairs")) == 2 * 2 * (2 + 5) * 2  # points, statistics, measures, seeds
    assert report.figures["accuracy_over_steps"].axes[0].lines[0].get_xdata()[-1] == 1500  # type: ignore[index]
    assert [len(report.figures[name].axes) for name in ("movement", "percentiles")] == [4, 6]
    check(report, "internal_covariate_shift")
