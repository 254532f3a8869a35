"""The report on depth: best rates, vanishing gradients, verdicts and figures, from hand-made outcomes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.params import Params
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from studies.depth import report as depth
from tests.samples import PARAMS
from tests.studies.outcomes import Floats, check, outcome, primary_of, table

Make = Callable[..., Params]

HIDDEN = {count: f"[{', '.join(['100'] * count)}]" for count in (1, 2, 16, 64)}
TRAINED = {  # accuracies of both seeds by depth and rate: plain, then with Batch Normalization
    (1, "0.001"): ([0.94, 0.95], [0.96, 0.97]),
    (1, "0.004"): ([0.95, 0.96], [0.95, 0.96]),
    (2, "0.001"): ([0.92, 0.93], [0.96, 0.97]),
    (2, "0.004"): ([0.96, 0.97], [0.96, 0.9695]),
    (16, "0.001"): ([0.1, 0.11], [0.95, 0.93]),
    (16, "0.004"): ([0.11, 0.11], [0.3, 0.99]),
}


def seen(layers: int, decay: float) -> dict[str, Floats]:
    """A gradient that falls tenfold to the power of `decay` from layer to layer, more so for the second seed."""
    powers = np.array([[1.0], [1.1]]) * decay * np.arange(layers - 1, -1, -1)
    sizes = np.stack([10.0**-powers, np.ones((2, layers))], axis=1)
    return {"layers": sizes, "log_ratio": np.stack([-powers[:, 0], np.zeros(2)], axis=1)}


def swept() -> list[Result]:
    keys = ("train.lr", "model.hidden", "model.activation", "train.epochs")
    grids = [
        (["0.001", "0.004"], [HIDDEN[count] for count in (1, 2, 16)], ["sigmoid"], ["2"]),
        (["0.001"], [HIDDEN[count] for count in (2, 64)], ["relu"], ["1"]),
        (["0.001"], [HIDDEN[64]], ["sigmoid"], ["1"]),
    ]
    points = list_points(PARAMS, {"seeds": "0,1"}, *(dict(zip(keys, grid, strict=True)) for grid in grids))
    results = []
    for point in points:
        layers, vanishing = len(point.params.model.hidden), point.params.model.activation == "sigmoid"
        given = TRAINED.get((layers, point.values["train.lr"])) if vanishing else None
        plain, batchnorm = given or ([0.1, 0.1], [0.1, 0.1])
        results.append(
            Result(
                point,
                {
                    "plain": outcome(plain, seen(layers, 1 if vanishing else 0.4)),
                    "batchnorm": outcome(batchnorm, seen(layers, -0.1)),
                },
            )
        )
    return results


def test_depths_are_compared_at_their_best_rates(params: Make) -> None:
    report = depth.report(swept(), params(seeds="0,1"), [0, 1], primary_of("depth"))
    rows = {row["layers"]: row for row in table(report, "depth")}
    assert list(rows) == ["1", "2", "16"]
    assert [rows["2"][f"{name}: best learning rate"] for name in ("plain", "Batch Normalization")] == ["0.004", "0.001"]
    assert rows["2"]["difference"] == "0.0000 [0.0000, 0.0000]"
    assert rows["2"]["verdict"] == "equivalent within 0.002"
    assert rows["16"]["plain: best learning rate"] == "0.004"
    assert rows["16"]["Batch Normalization: best learning rate"] == "0.001"
    assert (rows["16"]["plain: failed"], rows["16"]["Batch Normalization: failed"]) == (
        "2/2 [0.16, 1.00]",
        "0/2 [0.00, 0.84]",
    )
    assert rows["16"]["p"] == "0.5"
    assert rows["16"]["verdict"] == "higher"
    assert any("all trainings learn: 2 (plain) and 16 (Batch Normalization)." in line for line in report.lines)
    check(report, "depth")


def test_gradients_are_compared_before_training_at_every_depth_above_one(params: Make) -> None:
    report = depth.report(swept(), params(seeds="0,1"), [0, 1], None)
    rows = table(report, "gradients")
    assert [(row["activation"], row["layers"]) for row in rows] == [
        *(("sigmoid", "2"), ("sigmoid", "16"), ("sigmoid", "64")),
        *(("ReLU", "2"), ("ReLU", "64")),
    ]
    assert rows[2]["plain"].startswith("-66.15 [")  # the mean of 63 and 69.3
    assert rows[2]["Batch Normalization"].startswith("6.62 [")
    assert rows[2]["difference"].startswith("72.77 [")
    names = [row["outcome"] for row in table(report, "pairs")[::2]]
    assert names[-2:] == ["gradient, relu, 2 layers", "gradient, relu, 64 layers"]
    assert "1 layer" in names
    figure = report.figures["gradients"]
    assert [axis.get_title() for axis in figure.axes] == [
        *("sigmoid, first by last layer", "ReLU, first by last layer"),
        *("sigmoid, 64 layers, each by the last", "ReLU, 64 layers, each by the last"),
    ]
    drawn = np.asarray(figure.axes[2].lines[1].get_ydata(), float)
    assert (np.log10(drawn[0]), drawn[-1]) == pytest.approx((-66.15, 1))


def test_a_training_that_diverged_has_no_accuracy(params: Make) -> None:
    def diverged(given: Outcome) -> Outcome:
        return replace(given, diverged_at=np.array([3.0, 0.0]))

    results = [replace(one, outcomes={**one.outcomes, "plain": diverged(one.outcomes["plain"])}) for one in swept()]
    report = depth.report(results, params(seeds="0,1"), [0, 1], None)
    row = table(report, "depth")[0]
    assert (row["plain: failed"], row["pairs"]) == ("1/2 [0.01, 0.99], 1 diverged", "1")
    assert table(report, "gradients")[0]["pairs"] == "2"
