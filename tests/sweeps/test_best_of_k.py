"""The expected best of k random values of a grid."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import UserError
from pipeline.params import VARIANTS
from pipeline.sweeps.best_of_k import best_of_k, check_best_of_k, expected_best, explain_best_of_k
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from tests.samples import PARAMS

RATES = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_the_mean_of_the_maximum_over_all_draws(k: int) -> None:
    accuracies = np.array([[0.1, 0.9, 0.4], [0.5, 0.5, 0.2]])
    every = [row[list(draw)].max() for row in accuracies for draw in itertools.product(range(3), repeat=k)]
    np.testing.assert_allclose(expected_best(accuracies, k), np.reshape(every, (2, -1)).mean(axis=1))


def test_of_very_many_draws_it_is_the_greatest() -> None:
    np.testing.assert_allclose(expected_best(np.array([[0.3, 0.8, 0.5, 0.8]]), 1000), [0.8])


def outcome(accuracy: list[float], diverged: list[float]) -> Outcome:
    final = np.array(accuracy)
    return Outcome(final[:, None], final[:, None], final[:, None], final, final, np.array(diverged))


def test_the_table_has_intervals_over_seeds_and_counts_divergence_as_chance() -> None:
    points = list_points(PARAMS, {"seeds": "0,1,2"}, {"lr": [*RATES, "6"], "optimizer": ["adam", "sgd"]})
    random = np.random.default_rng(0)
    plain, batchnorm = random.uniform(0.2, 0.9, (2, len(points), 3))
    plain_diverged = np.zeros((len(points), 3))
    plain_diverged[0, 1] = 7
    results = [
        Result(
            point,
            {"plain": outcome(plain[at], plain_diverged[at]), "batchnorm": outcome(batchnorm[at], [0, 0, 0])},
            added=point.values["train.lr"] == "6",
        )
        for at, point in enumerate(points)
    ]
    header, rows = best_of_k(results, [1, 3], 0.95)
    assert header == ["train.optimizer", "k", "plain", "Batch Normalization", "lead"]
    assert [row[:2] for row in rows] == [["adam", "1"], ["adam", "3"], ["sgd", "1"], ["sgd", "3"]]
    plain[0, 1] = 0.1
    per_seed = [expected_best(values[0:10:2].T, 3) for values in (plain, batchnorm)]  # adam, without rate 6
    for cell, values in zip(rows[1][2:], [*per_seed, per_seed[1] - per_seed[0]], strict=True):
        bounds = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert cell == f"{values.mean():.4f} [{bounds.low:.4f}, {bounds.high:.4f}]"
    (words,) = explain_best_of_k(results)
    assert "k values of the learning rate" in words
    assert set(results[0].outcomes) == set(VARIANTS)


def test_it_needs_five_numbers_and_held_out_images() -> None:
    five = list_points(PARAMS, {}, {"lr": RATES})
    check_best_of_k(five, 10)
    with pytest.raises(
        UserError, match=r"^best_of_k: the best is chosen on held-out images; set data\.holdout above 0$"
    ):
        check_best_of_k(five, 0)
    with pytest.raises(UserError, match=r"^best_of_k: the grid's first key, train\.lr, needs at least 5 values$"):
        check_best_of_k(five[1:], 10)
