"""Further values around the best one, and which grids can have them."""

import math

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.refine import check_numeric, further_values, number_of, value_text
from tests.samples import PARAMS

RATES = [0.001, 0.01, 0.1]
HALF = math.sqrt(10)


@pytest.mark.parametrize(
    ("tried", "best", "expected"),
    [
        (RATES, 0.01, [0.01 / HALF, 0.01 * HALF]),
        (RATES, 0.1, [0.1 / HALF, 1]),  # a whole step beyond the edge
        (RATES, 0.001, [0.0001, 0.001 * HALF]),
        ([0.001, 0.01, 0.0316228, 0.1], 0.01, [0.01 / HALF]),
        ([0.001, 0.01, 0.0316228, 0.1], 0.0316228, []),
        ([0.001, 0.01, 0.1, 1], 0.1, [0.1 / HALF, 0.1 * HALF]),  # the edge was a step inwards before
        ([0.001, 0.01, 0.1, 1], 1, [1 / HALF, 10]),
    ],
)
def test_a_geometric_grid_is_refined_by_half_a_step_of_its_logarithms(
    tried: list[float], best: float, expected: list[float]
) -> None:
    assert further_values(RATES, tried, best) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("grid", "best", "expected"),
    [
        ([1, 2, 3], 2, [1.5, 2.5]),
        ([0, 0.5, 1], 0.5, [0.25, 0.75]),
        ([0, 0.5, 1], 0, [-0.5, 0.25]),  # which a parameter may refuse
        ([0.1, 0.2, 0.4], 0.2, [0.2 / math.sqrt(2), 0.2 * math.sqrt(2)]),
        ([4, 9], 4, [4 * 4 / 9, 6]),
        ([1, 2, 3, 3.5], 3, [2.5]),  # the median step is 1, and 3.5 is near enough
    ],
)
def test_other_grids_are_refined_by_half_a_step(grid: list[float], best: float, expected: list[float]) -> None:
    scaled = further_values(grid, grid, best)
    assert scaled == pytest.approx(expected)


def test_what_is_zero_but_for_rounding_is_zero() -> None:
    assert further_values([0.3, 0.6, 0.9], [0.3, 0.6, 0.9], 0.3)[0] == 0


def test_a_value_is_written_as_grids_do() -> None:
    rate, size = (list_points(PARAMS, {}, {key: ["60", "2000"]})[0] for key in ("lr", "batch_size"))
    assert value_text(0.1 / np.sqrt(np.sqrt(10)), rate) == "0.0562341"
    assert value_text(346.41, size) == "346"
    assert number_of(size) == 60


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"activation": ["tanh", "relu"]}, "refine: the values of the grid's first key, model.activation, must be"),
        ({"initial_deviation": ["null", "0.1"]}, "refine: the values of the grid's first key, model.initial_devia"),
        ({"binary_input": ["true", "false"]}, "refine: the values of the grid's first key, model.binary_input, "),
        ({"lr": ["0.1"]}, "refine: the grid's first key, train.lr, needs at least 2 values"),
        (
            {"lr": ["0.1"], "optimizer": ["sgd"]},
            "refine: the grid's first key, train.lr, needs at least 2 values at opt",
        ),
    ],
)
def test_a_grid_without_a_scale_is_refused(grid: dict[str, list[str]], words: str) -> None:
    with pytest.raises(UserError) as caught:
        check_numeric("refine", list_points(PARAMS, {}, grid), 2)
    assert str(caught.value).startswith(words)
    check_numeric("refine", list_points(PARAMS, {}, {"lr": ["0.1", "1"], "optimizer": ["sgd"]}), 2)
