"""The report on budgets, from hand-made accuracies."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.params import Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from studies.budget import report as budget
from tests.studies.outcomes import check, outcome, primary_of, results, table

Make = Callable[..., Params]
STEPS = [0, 25, 50, 1250]
SPANS = {"train.lr": ["0.001", "0.01", "0.1"]}


def curve(held_out: Sequence[float], test: Sequence[Sequence[float]] = ((0, 0, 0), (0, 0, 0))) -> Outcome:
    """Trainings with these held-out accuracies after each budget, and own test accuracies, after an untrained 0.99."""
    tested = np.insert(np.array(test, float), 0, 0.99, axis=1)
    held = np.tile([0.99, *held_out], (len(tested), 1))
    return outcome([*tested[:, -1]], {"held_out": held, "test": tested})


def swept() -> list[Result]:
    """Plain is best at 0.1, 0.01 and 0.001 after the three budgets, Batch Normalization at 0.01 after all."""
    plain = [curve([0.1, 0.2, 0.97]), curve([0.2, 0.8, 0.9]), curve([0.3, 0.4, 0.5])]
    batchnorm = [curve([0.1, 0.1, 0.9]), curve([0.5, 0.9, 0.98]), curve([0.5, 0.9, 0.98])]
    found = results(SPANS, plain, batchnorm)
    fresh = [[0.80, 0.90, 0.965], [0.82, 0.92, 0.966]]
    confirmed: list[dict[Variant, Outcome]] = [
        {"plain": curve([0, 0, 0], [[0, 0, 0.965], [0, 0, 0.966]])},
        {"plain": curve([0, 0, 0], [[0, 0.85, 0], [0, 0.9, 0]]), "batchnorm": curve([0, 0, 0], fresh)},
        {"plain": curve([0, 0, 0], [[0.6, 0, 0], [0.62, 0, 0]])},
    ]
    return [replace(one, confirmed=own, seeds=(7, 8)) for one, own in zip(found, confirmed, strict=True)]


def test_each_budget_has_its_own_best_rates_and_is_judged_on_the_test_images_of_fresh_seeds(params: Make) -> None:
    report = budget.report(swept(), params(epochs="50"), STEPS, primary_of("budget"))
    rows = table(report, "budgets")
    assert [row["epochs"] for row in rows] == ["1", "2", "50"]
    assert [row["plain: rate"] for row in rows] == ["0.1 (edge)", "0.01", "0.001 (edge)"]
    assert [row["Batch Normalization: rate"] for row in rows] == ["0.01"] * 3
    assert rows[0]["difference"] == "0.2000 [0.2000, 0.2000]"
    assert [row["verdict"] for row in rows] == ["higher", "no difference is shown", "equivalent within 0.002"]
    assert rows[0]["plain: median"] == "0.6100"
    assert rows[1]["plain: below 0.9"] == "1/2 [0.01, 0.99]"
    assert {"outcome": "1 epoch", "seed": "8", "plain": "0.62", "batchnorm": "0.82"} in table(report, "pairs")
    errors, differences = report.figures["budgets"].axes
    assert np.asarray(errors.lines[0].get_ydata()) == pytest.approx([39, 12.5, 3.45])
    assert np.asarray(differences.lines[1].get_ydata()) == pytest.approx([20, 3.5, 0])
    assert np.asarray(differences.lines[1].get_xdata()) == pytest.approx([1, 2, 50])
    check(report, "budget")


def test_points_are_chosen_for_every_budget_without_the_untrained_network() -> None:
    found = swept()
    chosen = [budget.choose(found, variant) for variant in ("plain", "batchnorm")]
    rates = [[one.point.values["train.lr"] for one in points] for points in chosen]
    assert rates == [["0.1", "0.01", "0.001"], ["0.01"] * 3]  # of equals the first


def test_a_training_that_diverges_counts_as_0_in_the_choice_and_has_no_accuracy() -> None:
    good = curve([0.5, 0.5, 0.5])
    diverging = replace(curve([0.6, 0.9, 0.9]), diverged_at=np.array([0, 1000.0]))
    found = results(SPANS, [diverging, good, good], [good] * 3)
    assert budget.best_at(found, "plain", 1) is found[1]  # 0.3 against 0.5
    assert budget.best_at(found, "plain", 2) is found[1]  # 0.45 against 0.5
