"""The report on steps to an accuracy, from hand-made curves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.params import Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from studies.steps_to_accuracy import report as steps_to_accuracy
from tests.studies.outcomes import check, outcome, primary_of, results, table

Make = Callable[..., Params]
STEPS = [0, 10, 20, 30, 40]
SPANS = {"train.lr": ["0.1", "1", "10"], "train.optimizer": ["sgd"]}
NEVER = 50


def curves(*first: int, top: float = 0.955) -> Outcome:
    """A training for each first step at which its accuracy is `top`, up from 0.5; there is no step 50."""
    accuracy = np.where(np.array(STEPS) >= np.array(first)[:, None], top, 0.5)
    return outcome([*accuracy[:, -1]], {"accuracy": accuracy})


def swept(
    plain: Sequence[Outcome], batchnorm: Sequence[Outcome], fresh: dict[Variant, dict[int, Outcome]]
) -> list[Result]:
    found = results(SPANS, [*plain], [*batchnorm])
    for variant, outcomes in fresh.items():
        for at, confirmed in outcomes.items():
            found[at] = replace(found[at], confirmed={**found[at].confirmed, variant: confirmed}, seeds=(7, 8, 9))
    return found


def test_steps_are_those_of_fresh_seeds_at_the_rate_that_was_soonest(params: Make) -> None:
    plain = [curves(NEVER, NEVER), curves(30, 40), curves(20, NEVER)]  # means of 40, 35 and 30
    batchnorm = [curves(10, 10), curves(10, 10), curves(20, 10)]
    slow = curves(NEVER, NEVER, NEVER)  # at the first rate, which is that of targets that no training reaches
    found = swept(plain, batchnorm, {"plain": {0: slow, 2: curves(40, 20, 40)}, "batchnorm": {0: curves(10, 20, 10)}})
    report = steps_to_accuracy.report(found, params(epochs="2"), STEPS, primary_of("steps_to_accuracy"))
    rows = {row["accuracy"]: row for row in table(report, "steps")}
    assert [*rows] == ["0.9", "0.95", "0.96", "0.97"]
    row = rows["0.95"]
    assert (row["plain: rate"], row["Batch Normalization: rate"]) == ("10 (edge)", "0.1 (edge)")
    assert (row["plain: reached"], row["plain: median steps"]) == ("3/3 [0.29, 1.00]", "40")
    assert row["plain: mean steps"].startswith("33.3 [")
    ratio = math.exp(np.mean([math.log(40 / 10), math.log(20 / 20), math.log(40 / 10)]))
    assert row["plain / Batch Normalization"].startswith(f"{ratio:.2f} [")
    assert (row["the ratio is"], row["verdict"]) == ("measured", "no difference is shown")
    assert {"outcome": "SGD: steps to 0.95", "seed": "8", "plain": "20", "batchnorm": "20"} in table(report, "pairs")


def test_a_training_that_never_gets_there_makes_the_ratio_a_bound(params: Make) -> None:
    found = swept(
        [curves(20, 20)] * 3,
        [curves(20, 20)] * 3,
        {"plain": {0: curves(40, NEVER, NEVER)}, "batchnorm": {0: curves(10, 10, 10)}},
    )
    report = steps_to_accuracy.report(found, params(epochs="2"), STEPS, None)
    rows = {row["accuracy"]: row for row in table(report, "steps")}
    row = rows["0.95"]
    assert (row["plain: reached"], row["plain: median steps"], row["plain: mean steps"]) == (
        "1/3 [0.01, 0.91]",
        "> 40",
        "40.0 [40.0, 40.0]",
    )
    assert row["plain / Batch Normalization"] == "4.00 [4.00, 4.00]"
    assert (row["the ratio is"], row["verdict"]) == ("at least this", "sooner")
    assert (row["plain: rate"], rows["0.96"]["plain: rate"]) == ("0.1 (edge)", "0.1 (none)")
    assert (rows["0.96"]["the ratio is"], rows["0.96"]["verdict"]) == ("not bounded", "no difference is shown")


def test_points_are_chosen_for_every_target_by_the_mean_with_the_last_step_for_never() -> None:
    fast = curves(10, 10, top=0.955)  # never at 0.96
    good = curves(30, 40, top=0.98)
    late = curves(40, NEVER, top=0.98)
    group = results(SPANS, [late, good, fast], [fast, fast, fast])
    assert [one.point.values["train.lr"] for one in steps_to_accuracy.choose(group, "plain")] == ["10", "10", "1", "1"]
    assert all(one is group[0] for one in steps_to_accuracy.choose(group, "batchnorm"))  # of equals the first


def test_figures_have_a_panel_for_every_optimizer_and_target(params: Make) -> None:
    found = swept(
        [curves(20, 20)] * 3,
        [curves(20, 20)] * 3,
        {
            "plain": {0: curves(30, 40, NEVER)},
            "batchnorm": {0: replace(curves(10, 10, 10), diverged_at=np.array([0, 35.0, 0]))},
        },
    )
    report = steps_to_accuracy.report(found, params(epochs="2"), STEPS, primary_of("steps_to_accuracy"))
    reached, errors = (report.figures[name].axes for name in ("reached", "errors"))
    assert (len(reached), len(errors)) == (4, 4)
    plain, batchnorm = reached[1].lines
    assert np.asarray(plain.get_ydata()) == pytest.approx([0, 0, 100 / 3, 200 / 3])
    assert np.asarray(batchnorm.get_ydata()) == pytest.approx([100] * 4)
    check(report, "steps_to_accuracy")
