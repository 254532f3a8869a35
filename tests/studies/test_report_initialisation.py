"""The report on initialisation, from hand-made accuracies."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.params import Params
from pipeline.sweeps.result import Result
from studies.initialisation import report as initialisation
from tests.studies.outcomes import check, outcome, primary_of, results, table

Make = Callable[..., Params]
RATES = ["0.003", "0.03"]
SEEDS = "3,4,5"


def swept() -> list[Result]:
    """Two deviations and PyTorch's initialisation at two rates: plain networks learn in two settings of six."""
    spans = {"model.initial_deviation": ["0.01", "1", "null"], "train.lr": RATES}
    plain = [
        *(outcome([0.95, 0.95, 0.5]), outcome([0.6, 0.7, 0.94])),
        *(outcome([0.2, 0.2, 0.2]), outcome([0.1, 0.1, 0.1])),
        *(outcome([0.7, 0.7, 0.7]), outcome([0.96, 0.96, 0.96])),
    ]
    batchnorm = [outcome([0.95, 0.95, 0.95]), outcome([0.94, 0.94, 0.94])] * 3
    return results(spans, plain, batchnorm, SEEDS)


def test_settings_that_learn_and_the_spread_are_counted_seed_by_seed(params: Make) -> None:
    report = initialisation.report(swept(), params(seeds=SEEDS, epochs="2"), [], primary_of("initialisation"))
    learning, spread = table(report, "overall")
    assert (learning["plain"], learning["Batch Normalization"]) == ("0.3333 (median 0.3333)", "1.0000 (median 1.0000)")
    assert (learning["difference"], learning["verdict"]) == ("0.6667 [0.6667, 0.6667]", "more settings learn")
    # At deviation 0.01, seeds 3 and 4 are best at 0.03 for the others (0.82 against 0.725), seed 5 at 0.003 (0.95).
    assert spread["plain"] == f"{np.mean([0.6 - 0.2, 0.7 - 0.2, 0.5 - 0.2]):.4f} (median 0.4000)"
    assert (spread["Batch Normalization"], spread["verdict"]) == (
        "0.0000 (median 0.0000)",
        "the deviation matters less",
    )
    pairs = table(report, "pairs")
    assert {"outcome": "settings that learn", "seed": "4", "plain": "0.333333333", "batchnorm": "1"} in pairs
    assert {"outcome": "initial deviation 0.01", "seed": "5", "plain": "0.5", "batchnorm": "0.95"} in pairs


def test_each_initialisation_is_judged_at_the_rate_that_is_best_for_the_other_seeds(params: Make) -> None:
    report = initialisation.report(swept(), params(seeds=SEEDS, epochs="2"), [], None)
    small, large, default = table(report, "deviations")
    assert small["plain: rate"] == "0.03 (2), 0.003 (1)"
    assert small["plain: accuracy"] == "0.6000 (median 0.6000)"
    assert small["plain: failed"] == "3/3 [0.29, 1.00]"
    assert large["initial deviation"] == "1"
    assert default["initial deviation"] == "PyTorch's initialisation"
    assert (default["plain: rate"], default["Batch Normalization: rate"]) == ("0.03", "0.003")
    assert (default["difference"], default["verdict"]) == ("-0.0100 [-0.0100, -0.0100]", "lower")


def test_a_training_that_diverged_has_not_learned_and_is_never_chosen_for_others(params: Make) -> None:
    found = swept()
    lost = replace(found[0].outcomes["batchnorm"], diverged_at=np.array([9.0, 0, 0]))
    found[0] = replace(found[0], outcomes={**found[0].outcomes, "batchnorm": lost})
    tuned = initialisation.tune(found[:2], "batchnorm")
    assert tuned.rates == ["0.003", "0.03", "0.03"]
    assert np.isnan(tuned.accuracy[0])
    assert tuned.accuracy[1:].tolist() == [0.94, 0.94]
    report = initialisation.report(found, params(seeds=SEEDS, epochs="2"), [], None)
    assert table(report, "overall")[0]["Batch Normalization"] == f"{17 / 18:.4f} (median 1.0000)"
    assert table(report, "deviations")[0]["Batch Normalization: failed"] == "1/3 [0.01, 0.91], 1 diverged"


def test_the_figure_shows_errors_and_shares_of_each_rate_with_pytorchs_own_apart(params: Make) -> None:
    report = initialisation.report(swept(), params(seeds=SEEDS, epochs="2"), [], primary_of("initialisation"))
    axes = report.figures["initialisation"].axes
    assert [axis.get_title() for axis in axes] == [f"learning rate {rate}" for rate in RATES] * 2
    plain = axes[0].lines[0]
    assert np.asarray(plain.get_xdata()) == pytest.approx([0.01, 1])
    assert np.asarray(plain.get_ydata()) == pytest.approx([5, 80])
    own = next(line for line in axes[1].lines if line.get_marker() == "D")
    assert np.asarray(own.get_xdata()) == pytest.approx([1 / np.sqrt(3 * 784), 1 / np.sqrt(3 * 100)])
    assert np.asarray(own.get_ydata()) == pytest.approx([4, 4])
    assert np.asarray(axes[2].lines[0].get_ydata()) == pytest.approx([200 / 3, 0])
    check(report, "initialisation")
